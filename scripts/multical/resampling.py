"""Metrics of bootstrap replicates, fast: the same numbers as multical.metrics of the counts.

A paper has thousands of cells of ten thousand questions, and a thousand replicates of each.
What a metric sums over rows, in bins or not, is a product of counts with values. Values are
taken as whole multiples of 2^-46 of their range (the nearest; a float of 64 bits sums no better)
and cut into digits of eight bits, so that small-integer instructions make the product and
nothing is rounded on the way: no sum depends on the machine or the number of threads. What
depends on ranks needs the counts cumulated in the order of confidence, but only where right
answers change to wrong ones (`_ranked`) or near the edges of bins (`_equal_mass`).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from multical.metrics import METRICS, Counts, edges
from multical.readouts import Floats, Readout, entropies

Ints = NDArray[np.int64]

#: Cells are shared out over processes; threads of one small product cost more than they give.
torch.set_num_threads(1)

BITS = 46
#: Added to a whole number and taken from its bytes, it makes them digits from -128 to 127.
OFFSET = 0x8080_8080_8080
DIGITS = 6
#: Beyond these, digits or their sums would overflow, and `replicates` is as slow as `METRICS`.
MOST_DRAWS, MOST_ROWS = 127, 1 << 16

#: Metrics that need the rows sorted.
RANKED = {"ece_mass", "auroc", "aurc"}

#: Rows whose counts are summed before the edges of bins of equal mass are looked for.
STEP = 16
#: Rows of one slice of cumulated counts, which shall stay in a cache.
SLICE = 64


class Draws:
    """How often each of Q questions occurs in each of B samples, in the layouts that are needed."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.most = int(counts.sum(axis=1, dtype=np.int64).max(initial=0))
        self.is_small = counts.max(initial=0) <= MOST_DRAWS and self.most < MOST_ROWS

    @cached_property
    def factor(self) -> torch.Tensor:
        """(B, Q) int8, a factor of products."""
        return torch.from_numpy(np.ascontiguousarray(self.counts, np.int8))

    @cached_property
    def by_row(self) -> NDArray[np.int8]:
        """(Q, B): a question's counts side by side, to take questions in any order."""
        return np.ascontiguousarray(self.factor.numpy().T)

    @cached_property
    def by_row_to_sum(self) -> NDArray[Any]:
        """`by_row` in the smallest type that holds a sum of all."""
        return self.by_row.astype(np.int16 if self.most < 1 << 15 else np.int32)

    @cached_property
    def by_row_to_weigh(self) -> Ints:
        """`by_row` in the type of sums of values."""
        return self.by_row.astype(np.int64)


class Sample:
    """The draws of a cell: of n rows, which are the questions at `places`, no two the same."""

    def __init__(self, draws: Draws, places: Ints) -> None:
        self.draws, self.places = draws, places

    @cached_property
    def size(self) -> Ints:
        """(B,) rows of each sample."""
        whole = np.array([0, len(self.places)])
        ones = np.ones(len(self.places), np.int8)
        return sum_rows(ones, self.places, whole, self.draws.by_row_to_sum)[0].astype(np.int64)


def replicates(
    readout: Readout, sample: Sample, names: Collection[str], bins: int
) -> dict[str, Floats]:
    """(B,) values of each named metric, as METRICS[name](readout, counts, bins) has them."""
    if not len(sample.draws.counts):
        return {name: np.empty(0) for name in names}
    if not sample.draws.is_small:
        counts = sample.draws.counts[:, sample.places]
        return {name: METRICS[name](readout, counts, bins) for name in names}
    found: dict[str, Floats] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for metrics, function in (
            (METRICS.keys() - RANKED, _sums),
            ({"ece_mass"}, _equal_mass),
            ({"auroc", "aurc"}, _ranked),
        ):
            if not metrics.isdisjoint(names):
                found |= function(readout, sample, names, bins)
    return {name: found[name] for name in names}


class Product:
    """Sums of columns of values over the rows of each sample, by one product of integers."""

    def __init__(self, sample: Sample) -> None:
        self.sample, self.width = sample, 0
        self.parts: list[tuple[Ints, Ints, Ints]] = []
        self.units: list[float] = []

    def add(
        self, values: Floats, *flags: Any, rows: Any = None, column: Any = 0, columns: int = 1
    ) -> None:
        """Sum (m,) `values` and up to two flags of 0 or 1, each row in its own `column`."""
        unit = _unit(values)
        self.add_whole(
            _whole(values, unit), slice(None) if rows is None else rows, column, columns, *flags
        )
        self.units[-columns:] = [unit] * columns

    def add_whole(self, whole: Ints, rows: Any, column: Any, columns: int, *flags: Any) -> None:
        """The same of whole numbers up to 2^46."""
        packed = (whole + OFFSET) ^ OFFSET
        for place, flag in enumerate(flags):
            packed |= np.left_shift(np.asarray(flag, np.int64), 8 * (DIGITS + place))
        self.parts.append((self.sample.places[rows], self.width + column, packed))
        self.units += [1.0] * columns
        self.width += columns

    def sums(self) -> tuple[Floats, Ints, Ints]:
        """(B, width) sums of the values and of both flags."""
        whole, first, second = self.whole_sums()
        return whole * np.array(self.units), first, second

    def whole_sums(self) -> tuple[Ints, Ints, Ints]:
        """`sums`, the values in their units."""
        table = np.zeros((self.sample.draws.factor.shape[1], self.width), "<i8")
        for rows, column, packed in self.parts:
            table[rows, column] = packed
        digits = torch.from_numpy(table.view(np.int8))
        product = torch._int_mm(self.sample.draws.factor, digits).numpy().reshape(-1, self.width, 8)
        total = product[..., DIGITS - 1].astype(np.int64)
        for digit in reversed(range(DIGITS - 1)):
            total = total * 256 + product[..., digit]
        return total, product[..., DIGITS], product[..., DIGITS + 1]


def _unit(values: Floats) -> float:
    """A power of two, of which no value is more than 2^46."""
    return float(np.ldexp(1.0, int(np.frexp(np.abs(values).max(initial=2.0**-900))[1]) - BITS))


def _whole(values: Floats, unit: float) -> Ints:
    return np.rint(values / unit).astype(np.int64)


def _sums(readout: Readout, sample: Sample, names: Collection[str], bins: int) -> dict[str, Floats]:
    """Metrics that are made of sums over rows, or over the rows of bins of equal width."""
    found = _answers(readout, sample, bins)
    if readout.probabilities is not None and readout.gold is not None:
        found |= _distributions(readout.probabilities, readout.gold, sample)
        if not {"ece_classwise", "ece_all"}.isdisjoint(names):
            found |= _options(readout.probabilities, readout.gold, sample, bins)
    return found


def _answers(readout: Readout, sample: Sample, bins: int) -> dict[str, Floats]:
    product, right, size = Product(sample), readout.correct, sample.size
    if not readout.is_probability:
        product.add(right.astype(float))
        return {"accuracy": product.sums()[0][:, 0] / size}
    product.add(
        readout.confidence - right,
        True,
        right,
        column=_bins(readout.confidence, bins),
        columns=bins,
    )
    surplus, mass, hits = product.sums()
    distance, filled = np.abs(surplus), np.maximum(mass, 1)
    gap, accuracy = surplus.sum(axis=1) / size, hits.sum(axis=1) / size
    return {
        "accuracy": accuracy,
        "confidence": (surplus.sum(axis=1) + hits.sum(axis=1)) / size,
        "gap": gap,
        "ece": distance.sum(axis=1) / size,
        "rms": np.sqrt((distance**2 / filled).sum(axis=1) / size),
        "mce": np.where(size > 0, (distance / filled).max(axis=1), np.nan),
    }


def _distributions(probabilities: Floats, gold: Ints, sample: Sample) -> dict[str, Floats]:
    product = Product(sample)
    right = np.arange(probabilities.shape[1]) == gold[:, None]
    product.add(np.nansum((probabilities - right) ** 2, axis=1))
    likelihood = probabilities[np.arange(len(gold)), gold]
    possible = likelihood > 0
    loss = -np.log(np.where(possible, likelihood, 1.0))
    unit = _unit(loss)  # coarse, if one loss is large: what it leaves is a column of its own
    product.add(loss, ~possible)
    product.add(loss - _whole(loss, unit) * unit)
    product.add(entropies(probabilities))
    totals, impossible, _ = product.sums()
    brier, loss, rest, entropy = totals.T / sample.size
    nll = loss + rest
    return {"brier": brier, "nll": np.where(impossible[:, 1], np.inf, nll), "entropy": entropy}


def _options(probabilities: Floats, gold: Ints, sample: Sample, bins: int) -> dict[str, Floats]:
    product, options = Product(sample), probabilities.shape[1]
    for option in range(options):
        rows = np.flatnonzero(~np.isnan(probabilities[:, option]))
        own = probabilities[rows, option]
        product.add(
            own - (gold[rows] == option), True, rows=rows, column=_bins(own, bins), columns=bins
        )
    surplus, mass, _ = (part.reshape(-1, options, bins) for part in product.sums())
    size = mass.sum(axis=2)
    errors = np.abs(surplus).sum(axis=2) / size
    return {
        "ece_classwise": np.nansum(errors, axis=1) / (size > 0).sum(axis=1),
        "ece_all": np.abs(surplus.sum(axis=1)).sum(axis=1) / size.sum(axis=1),
    }


def _bins(confidence: Floats, bins: int) -> Ints:
    """(n,) bin of equal width of each row, as in multical.metrics.bin_sums."""
    return np.minimum(np.searchsorted(edges(bins), confidence, side="right") - 1, bins - 1)


def _equal_mass(
    readout: Readout, sample: Sample, names: Collection[str], bins: int
) -> dict[str, Floats]:
    """ECE in bins of equal mass, their edges found in the cumulated counts of sorted rows.

    A row is above edge i of a sample of N rows iff the rows up to it, its equals among
    them, are at least i (N - 1) / bins, rounded up, and 1 (multical.metrics).
    """
    order = np.argsort(readout.confidence, kind="stable")
    confidence = readout.confidence[order]
    first = np.searchsorted(confidence, confidence)  # of its equals
    values = confidence - readout.correct[order]
    unit, samples, draws = _unit(values), np.arange(len(sample.size)), sample.draws
    starts = np.append(np.arange(0, len(order), STEP), len(order))
    ones = np.ones(len(order), np.int8)
    counts = cumulated(sum_rows(ones, sample.places[order], starts, draws.by_row_to_sum))

    last = np.maximum(sample.size - 1, 1)
    wanted = 1 + -(-np.arange(1, bins)[:, None] * last // bins)  # (bins - 1, B)
    # One ascending sequence of the samples' cumulated counts, so that one search finds all.
    apart = samples * (sample.size.max(initial=0) + bins + 3)
    step = np.searchsorted((counts[1:] + apart).T.ravel(), wanted + apart)
    step = np.minimum(step - (len(starts) - 1) * samples, len(starts) - 2)
    padding = np.zeros((STEP, len(samples)), np.int8)
    table = np.concatenate([draws.by_row[sample.places[order]], padding])
    own = _drawn(table, step, samples)
    reached = counts[step, samples][..., None] + np.cumsum(own, axis=-1, dtype=np.int32)
    edge = step * STEP + (reached < wanted[..., None]).sum(axis=-1)
    below = np.append(first, len(order))[np.minimum(edge, len(order))]

    moved = below // STEP != step  # to the first of its equals
    step = below // STEP
    own[moved] = _drawn(table, step[moved], np.broadcast_to(samples, step.shape)[moved])
    whole = _whole(values, unit)
    rows = step[..., None] * STEP + np.arange(STEP)
    inside = np.where(rows < below[..., None], np.append(whole, padding[:, 0])[rows], 0)
    totals = _totals(whole, order, starts, step, sample)
    total = totals[step, samples] + np.einsum("ebs,ebs->eb", inside, own)
    each = np.diff(total, axis=0, prepend=np.zeros((1, len(samples)), np.int64), append=totals[-1:])
    return {"ece_mass": np.abs(each * unit).sum(axis=0) / sample.size}


def _drawn(table: NDArray[np.int8], step: Ints, samples: Ints) -> NDArray[np.int8]:
    """(..., STEP) how often the rows of a step occur in a sample, both (...)."""
    place = step * STEP * table.shape[1] + samples
    return table.ravel().take(place[..., None] + np.arange(STEP) * table.shape[1], mode="clip")


def _totals(whole: Ints, order: Ints, starts: Ints, wanted: Ints, sample: Sample) -> Ints:
    """(s + 1, B) sums of drawn values before each start, right at the steps that are wanted.

    An edge is in few steps of all samples. Other steps are summed as one, up to the next edge.
    """
    near = np.zeros(len(starts) + 1, bool)
    for steps in wanted:
        near[steps.min() : steps.max() + 1] = True
    near = near[: len(starts) - 1]
    parts = np.zeros((len(starts) - 1, len(sample.size)), np.int64)
    rows_near = np.repeat(near, np.diff(starts))
    if near.any():
        sizes = np.append(0, np.cumsum(np.diff(starts)[near]))
        places = sample.places[order[rows_near]]
        parts[near] = sum_rows(whole[rows_near], places, sizes, sample.draws.by_row_to_weigh)
    if not near.all():
        heads = ~near & np.append(True, near[:-1])
        group = np.repeat(np.cumsum(heads) - 1, np.diff(starts))[~rows_near]
        product = Product(sample)
        product.add_whole(whole[~rows_near], order[~rows_near], group, int(heads.sum()))
        parts[heads] = product.whole_sums()[0].T
    return cumulated(parts)


def sum_rows(values: Any, places: Ints, starts: Ints, table: Any) -> Any:
    """(s, B) sums of rows of `table`, times their value, from each start to the next."""
    shape = len(starts) - 1, len(table)
    return sparse.csr_array((values, places, starts), shape=shape) @ table


def cumulated(parts: Any) -> Any:
    """(s + 1, B) sums of the first 0 to s of (s, B) rows."""
    sums = np.zeros((len(parts) + 1, parts.shape[1]), parts.dtype)
    for before, part, after in zip(sums[:-1], parts, sums[1:], strict=True):
        np.add(before, part, out=after)  # np.cumsum runs down the columns and takes 20 times longer
    return sums


def _ranked(
    readout: Readout, sample: Sample, names: Collection[str], bins: int
) -> dict[str, Floats]:
    """AUROC and AURC, from the counts of the surest rows up to each change of right and wrong.

    Let c be the number of rows at such a change, R and W of all right and all wrong ones,
    N = R + W, H harmonic numbers, and + stand for changes from right to wrong, - for those
    from wrong to right. Summed by parts, the pairs of a right answer and a less sure wrong
    one are -(sum of +-c^2 + W^2) / 2, and N times the AURC is W + sum of +-c (H(c) - H(N)).
    Equals are taken with the right ones first, and then put right (`_ties`).
    """
    order = np.lexsort((~readout.correct, -readout.confidence))
    confidence, right = readout.confidence[order], readout.correct[order]
    starts, tied = _runs(confidence, right)
    answers = right[starts[:-1]]
    sign = np.zeros(len(answers))
    sign[:-1] = answers[:-1].astype(float) - answers[1:]
    sign[-1] = 0.0 if answers[-1] else -1.0

    ones, places = np.ones(len(order), np.int8), sample.places[order]
    counts = sum_rows(ones, places, starts, sample.draws.by_row_to_sum)
    size, most = sample.size, int(sample.size.max())
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])
    table = np.arange(most + 1) * (harmonic - harmonic[-1])
    up_to = cumulated(counts)
    wrong, squares, area = np.zeros((3, len(size)))
    index, values = np.empty((SLICE, len(size)), np.intp), np.empty((SLICE, len(size)))
    for start in range(0, len(sign), SLICE):
        part = up_to[1 + start : 1 + start + SLICE]
        signs = sign[start : start + SLICE]
        own, looked_up = index[: len(part)], values[: len(part)]
        own[:] = part
        table.take(own, out=looked_up, mode="clip")
        area += np.einsum("s,sb->b", signs, looked_up)  # in one order, unlike a library's @
        looked_up[:] = part
        wrong -= np.einsum("s,sb->b", signs, looked_up)
        looked_up *= looked_up
        squares += np.einsum("s,sb->b", signs, looked_up)
    pairs = -(squares + wrong**2) / 2
    area += wrong * (1 - (harmonic[-1] - harmonic[size]))
    if len(tied):
        half, more = _ties(tied, counts, up_to, answers, harmonic)
        pairs, area = pairs - half, area + more
    return {"auroc": pairs / (wrong * (size - wrong)), "aurc": area / size}


def _runs(confidence: Floats, right: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Starts of runs of right or of wrong rows, with the end; and which runs begin a tie.

    Right and wrong rows of equal confidence are two runs of their own: a tie.
    """
    equal = np.append(np.diff(confidence) == 0, False)
    change = np.append(right[1:] != right[:-1], True)
    middle = np.flatnonzero(equal & change)  # last right row of each tie
    cuts = change.copy()
    before = np.searchsorted(-confidence, -confidence[middle], side="left")
    after = np.searchsorted(-confidence, -confidence[middle], side="right")
    cuts[before[before > 0] - 1] = True
    cuts[after - 1] = True
    starts = np.append(0, np.flatnonzero(cuts) + 1)
    return starts, np.searchsorted(starts, before)


def _ties(
    tied: Ints, counts: Any, up_to: Any, answers: NDArray[np.bool_], harmonic: Floats
) -> tuple[Floats, Floats]:
    """What ties take from the pairs, and add to the area, of right answers put first."""
    wrong_up_to = cumulated(counts * ~answers[:, None])
    half, more = np.zeros((2, counts.shape[1]))
    for part in np.array_split(tied, 1 + len(tied) // SLICE):
        r, w = counts[part].astype(np.int64), counts[part + 1].astype(np.int64)
        start, end = up_to[part], up_to[part + 2]
        before = wrong_up_to[part]
        half += (r * w).sum(axis=0) / 2
        share = w / np.maximum(r + w, 1)
        more += ((before - start * share) * (harmonic[end] - harmonic[start])).sum(axis=0)
        first = before * (harmonic[start + r] - harmonic[start])
        then = (start - before + r) * (harmonic[end] - harmonic[start + r])
        more -= (first - then).sum(axis=0)
    return half, more
