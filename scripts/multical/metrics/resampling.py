"""Fast metrics of bootstrap replicates, with the same numbers as multical.metrics.definitions.

A paper has thousands of cells of ten thousand questions, and each cell has a thousand
replicates. The functions in `definitions` define the metrics, but make several passes over
counts (B, n) for each metric. Here all metrics of a cell come from a few sums over its rows,
for all samples at once (`kernels`). The order of addition differs, and so do the last digits.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from multical.metrics import kernels
from multical.metrics.definitions import (
    CELLS,
    METRICS,
    Counts,
    cosines,
    distribution,
    equal_width,
    shares_of_uniform,
)
from multical.metrics.readouts import Floats, Readout, entropies

Ints = NDArray[np.integer[Any]]

#: Metrics with a fast version, by the intermediate values that it needs
DISTRIBUTION = {"brier", "nll", "entropy", "normalised_entropy"}
OPTIONS = {"ece_classwise", "ece_all"}
RANKS = {"ece_equal_mass", "auroc", "aurc", "augrc"}


class Sample:
    """How often the n rows of a cell occur in each of B samples.

    `table` (Q, B) holds how often each question occurs, `places` (n,) the question of each row.
    """

    def __init__(self, table: NDArray[np.unsignedinteger[Any]], places: Ints) -> None:
        self.table, self.places = table, np.asarray(places, np.uint32)
        if len(self.places) and self.places.max() >= len(table):  # compiled code does not check
            raise IndexError(f"sample: row {self.places.max()} of {len(table)} questions")

    @cached_property
    def size(self) -> NDArray[np.int64]:
        """(B,) numbers of rows in each sample."""
        return kernels.count(self.table, self.places).astype(np.int64)

    def sums(self, *values: NDArray[Any]) -> Floats:
        """(k, B) sums of k arrays (n,) of values."""
        return kernels.weigh(self.table, self.places, np.array(values, float))

    def bin_sums(
        self, confidence: Floats, bins: int, *values: Floats
    ) -> tuple[Floats, NDArray[np.int64]]:
        """(k, bins, B) sums of k arrays (n,), and (bins, B) numbers of rows.

        The bins have equal width.
        """
        return self.group_sums(equal_width(confidence, bins), bins, *values)

    def group_sums(
        self, group: Ints, groups: int, *values: Floats
    ) -> tuple[Floats, NDArray[np.int64]]:
        """(k, groups, B) sums of k arrays (n,), and (groups, B) numbers of rows.

        `group` (n,) is that of each row, from 0 on.
        """
        order = np.argsort(group.astype(np.min_scalar_type(groups)), kind="stable")
        ends = np.cumsum(np.bincount(group, minlength=groups))
        starts = np.concatenate([[0], ends]).astype(np.uint32)
        ordered = np.array([column[order] for column in values])
        sums, sizes = kernels.weigh_groups(self.table, self.places[order], starts, ordered)
        return sums, sizes.astype(np.int64)

    @property
    def counts(self) -> Counts:
        """(B, n) how often each row occurs."""
        return self.table[self.places].T.astype(np.int64)

    @property
    def last(self) -> Sample:
        """The last sample alone."""
        return Sample(np.ascontiguousarray(self.table[:, -1:]), self.places)

    def of(self, rows: NDArray[Any]) -> Sample:
        """The same samples of the rows that an index or a mask selects."""
        return Sample(self.table, self.places[rows])


def table(counts: Counts) -> NDArray[np.unsignedinteger[Any]]:
    """Counts (B, Q) as (Q, B), in the smallest type, since sums read it from memory repeatedly."""
    return np.ascontiguousarray(counts.T, np.min_scalar_type(counts.max(initial=0)))


def replicates(
    readout: Readout, sample: Sample, names: Collection[str], bins: int
) -> dict[str, Floats]:
    """(B,) values of each named metric, equal to METRICS[name](readout, counts, bins)."""
    if len(sample.places) != len(readout.correct):
        raise IndexError(f"sample: {len(sample.places)} rows of {len(readout.correct)}")
    wanted = set(names)
    if not wanted:
        return {}
    with np.errstate(invalid="ignore", divide="ignore"):
        metrics = _answers(readout, sample, bins)
        if "smece" in wanted:
            metrics["smece"] = _smooth(readout, sample)
        if wanted & DISTRIBUTION:
            metrics |= _distribution(readout, sample)
        if wanted & OPTIONS:
            metrics |= _options(readout, sample, bins)
        if wanted & RANKS:
            metrics |= _ranks(readout, sample, bins)
        for name in wanted - metrics.keys():  # without a fast version
            metrics[name] = METRICS[name](readout, sample.counts, bins)
    return {name: metrics[name] for name in names}


def _answers(readout: Readout, sample: Sample, bins: int) -> dict[str, Floats]:
    """Metrics of answers and confidences, without bins or in bins of equal width."""
    size = sample.size
    if not readout.is_probability:
        accuracy = sample.of(np.flatnonzero(readout.correct)).size / size
        return {"accuracy": accuracy, "uncertainty": accuracy * (1 - accuracy)}
    squared = (readout.confidence - readout.correct) ** 2
    group = 2 * equal_width(readout.confidence, bins) + readout.correct
    sums, rows = sample.group_sums(group, 2 * bins, readout.confidence, squared)
    unsure, sure, wrong, right = sums[0, 0::2], sums[0, 1::2], rows[0::2], rows[1::2]
    surplus, squares = unsure + sure - right, sums[1, 0::2] + sums[1, 1::2]
    unsure, sure = unsure.sum(axis=0), sure.sum(axis=0)
    mass, hits = wrong + right, right.sum(axis=0)
    alike = hits * (hits - 1) / np.maximum(size * (size - 1.0), 1)
    between = mass * (right * (right - 1) / np.maximum(mass * (mass - 1.0), 1) - alike)
    distance, filled = np.abs(surplus), np.maximum(mass, 1)
    pairs = np.where(mass > 1, surplus**2 - squares, 0) / np.maximum(mass - 1, 1)
    return {
        "accuracy": hits / size,
        "confidence": (sure + unsure) / size,
        "confidence_right": sure / hits,
        "confidence_wrong": unsure / (size - hits),
        "gap": surplus.sum(axis=0) / size,
        "ece": distance.sum(axis=0) / size,
        "rmsce": np.sqrt((distance**2 / filled).sum(axis=0) / size),
        "debiased_ece2": pairs.sum(axis=0) / size,
        "uncertainty": hits / size * (1 - hits / size),
        "resolution": np.where(mass > 1, between, 0).sum(axis=0) / size,
        "mce": np.where(size > 0, (distance / filled).max(axis=0), np.nan),
    }


def _smooth(readout: Readout, sample: Sample) -> Floats:
    """The smooth calibration error."""
    error = readout.confidence - readout.correct
    (surplus,), _ = sample.bin_sums(readout.confidence, CELLS, error)
    waves = dct(np.ascontiguousarray(surplus.T), type=2)
    waves /= np.maximum(sample.size, 1)[:, None]
    waves[:, 0] /= 2
    errors = kernels.fixed_points(waves, cosines())
    return np.where(sample.size > 0, errors, np.nan)


def _distribution(readout: Readout, sample: Sample) -> dict[str, Floats]:
    """Metrics of the distribution over the options."""
    probabilities, gold = distribution(readout)
    right = np.arange(probabilities.shape[1]) == gold[:, None]
    likelihood = probabilities[np.arange(len(gold)), gold]
    possible = likelihood > 0
    sums = sample.sums(
        np.nansum((probabilities - right) ** 2, axis=1),
        -np.log(np.where(possible, likelihood, 1.0)),
        entropies(probabilities),
        shares_of_uniform(probabilities),
    )
    brier, nll, entropy, normalised = sums / sample.size
    nll[sample.of(~possible).size > 0] = np.inf
    return {"brier": brier, "nll": nll, "entropy": entropy, "normalised_entropy": normalised}


def _options(readout: Readout, sample: Sample, bins: int) -> dict[str, Floats]:
    """ECEs that take each option as a prediction that it is right."""
    probabilities, gold = distribution(readout)
    options = []
    for option, probability in enumerate(probabilities.T):
        present = ~np.isnan(probability)
        surplus = probability[present] - (gold[present] == option)
        options.append(sample.of(present).bin_sums(probability[present], bins, surplus))
    apart = np.array([surplus for (surplus,), _ in options])  # (k, bins, B)
    size = np.array([mass.sum(axis=0) for _, mass in options])  # (k, B)
    errors = np.abs(apart).sum(axis=1) / size
    return {
        "ece_classwise": np.nansum(errors, axis=0) / (size > 0).sum(axis=0),
        "ece_all": np.abs(apart.sum(axis=0)).sum(axis=0) / size.sum(axis=0),
    }


def _ranks(readout: Readout, sample: Sample, bins: int) -> dict[str, Floats]:
    """Metrics that need the order of confidences. Of equal ones, right answers come first."""
    order = np.lexsort((~readout.correct, readout.confidence))
    confidence, right = readout.confidence[order], readout.correct[order]
    size, places, metrics = sample.size, sample.places[order], {}
    if readout.is_probability:
        distance = kernels.weigh_quantiles(
            sample.table, places, _starts(np.diff(confidence) > 0), confidence - right, size, bins
        )
        metrics["ece_equal_mass"] = distance / size
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, size.max(initial=0) + 1))])
    right = right[::-1]
    pairs, area, wrong = kernels.rank(
        sample.table, places[::-1], _steps(confidence[::-1], right), right, harmonic
    )
    possible = wrong * (size - wrong)
    return metrics | {
        "auroc": pairs / possible,
        "aurc": area / size,
        "augrc": (possible - pairs + wrong**2 / 2) / size**2,
    }


def _starts(cuts: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Starts of groups of rows, and the end of the last one, from n - 1 cuts between n rows."""
    return np.flatnonzero(np.concatenate([[True], cuts, [True]])).astype(np.uint32)


def _steps(confidence: Floats, right: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Starts of the steps that `kernels.rank` describes, and the end of the last one."""
    unequal, turn = np.diff(confidence) != 0, right[1:] != right[:-1]
    if unequal.all():
        return _starts(turn)
    groups = _starts(unequal)
    hits = np.add.reduceat(right, groups[:-1], dtype=np.int64)
    mixed = np.repeat((hits > 0) & (hits < np.diff(groups)), np.diff(groups))
    return _starts(unequal & (mixed[1:] | mixed[:-1] | turn))
