"""Metrics of calibration. Estimate and bootstrap share one definition of each.

A metric takes a readout of n rows and *counts* (B, n): how often each row occurs in each of
B samples. A row of ones stands for the data themselves, the rows of a bootstrap for its
replicates. The metric of a sample equals the metric of its rows written out as often as they
occur. It is returned as (B,) float64. A sample without rows, or one for which the metric is
not defined, gives NaN.

The tables come from `resampling.replicates`, which computes all of `METRICS` at once and far
faster. A test compares the two. A metric without a fast version comes from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multical.errors import InputError
from multical.metrics.readouts import Floats, Readout, check_confidence, entropies

Counts = NDArray[np.integer[Any]]
Scheme = Literal["equal_width", "equal_mass"]
Norm = Literal["l1", "l2", "max"]
Weighting = Literal["mass", "uniform"]

#: Elements of one chunk of counts. Bounds the memory of a metric, and fits in a cache.
CHUNK = 1 << 20
#: Cells of [0, 1] in which `smece` sums residuals, and at whose middles it integrates.
CELLS = 128


def calibration_error(
    confidence: ArrayLike,
    correct: ArrayLike,
    counts: Counts | None = None,
    *,
    bins: int = 15,
    scheme: Scheme = "equal_width",
    norm: Norm = "l1",
    weighting: Weighting = "mass",
    closed: bool = True,
) -> Floats:
    """Distance between confidence and accuracy over the bins that are not empty: (B,).

    `confidence` (n,) lies in [0, 1], `correct` (n,) is true or false, `counts` is
    (B, n), by default one row of ones. Per bin the gap is |mean correct - mean
    confidence|; `norm` combines gaps as their mean (l1), root mean square (l2) or
    maximum (max); `weighting` weighs bins by their rows (mass) or equally (uniform).
    `scheme` and `closed` are as in `bin_sums`.

    l1 gives the expected calibration error (Naeini et al. 2015; Guo et al. 2017), max
    the maximum calibration error of the same papers, l2 the RMS calibration error
    (Hendrycks et al. 2019). The calibration error of Plaut et al. (2024) is
    `bins=10, scheme="equal_mass", weighting="uniform", closed=False`.
    """
    mass, sure, right = bin_sums(
        confidence, correct, counts, bins=bins, scheme=scheme, closed=closed
    )
    filled = mass > 0
    gap = np.abs(right - sure) / np.where(filled, mass, 1)
    weight = mass if weighting == "mass" else filled.astype(float)
    with np.errstate(invalid="ignore"):
        weight = weight / weight.sum(axis=1, keepdims=True)
    if norm == "l1":
        return np.asarray((weight * gap).sum(axis=1))
    if norm == "l2":
        return np.sqrt((weight * gap**2).sum(axis=1))
    return np.where(filled.any(axis=1), gap.max(axis=1), np.nan)


def bin_sums(
    confidence: ArrayLike,
    correct: ArrayLike,
    counts: Counts | None = None,
    *,
    bins: int,
    scheme: Scheme = "equal_width",
    closed: bool = True,
) -> tuple[Floats, Floats, Floats]:
    """Number of rows, sum of confidence, and number of right answers in each bin: (B, bins) each.

    Bins are half-open, [low, high): a value on an edge belongs to the bin above. With
    `closed`, a confidence of exactly 1 falls in the last bin, otherwise in none. The edges of
    equal_width are i / bins. The edges of equal_mass are the quantiles i / bins of each sample,
    interpolated linearly between order statistics (Hyndman and Fan's type 7, `numpy.quantile`),
    with 0 and 1 as outer edges. Equal confidences share a bin, so the order of rows never
    matters.
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, float)
    check_confidence(confidence, correct)
    counts = checked_counts(counts, len(confidence))
    if bins < 1:
        raise InputError(f"bins: {bins}, expected at least 1")
    if scheme == "equal_width":
        index = equal_width(confidence, bins)
    else:
        index = _quantile_bins(confidence, counts, bins)
    # A row that falls in no bin still counts for the quantiles. It is left out only now.
    inside = np.ones(len(confidence)) if closed else (confidence < 1).astype(float)
    columns = np.stack([inside, inside * confidence, inside * correct])
    if index.ndim == 1:
        one_hot, weights = index[:, None] == np.arange(bins), counts.astype(float)
        mass, sure, right = (weights @ (one_hot * column[:, None]) for column in columns)
    else:
        cells = (index + bins * np.arange(len(counts))[:, None]).ravel()
        mass, sure, right = (
            np.bincount(cells, (counts * column).ravel(), len(counts) * bins)
            .astype(float)
            .reshape(-1, bins)
            for column in columns
        )
    return mass, sure, right


def edges(bins: int) -> Floats:
    """(bins + 1,) edges of bins of equal width, each the float nearest to i / bins."""
    return np.arange(bins + 1) / bins


def equal_width(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """(n,) index of the bin of equal width of each confidence (n,): half-open, the last closed."""
    return np.minimum(np.searchsorted(edges(bins), confidence, side="right") - 1, bins - 1)


def checked_counts(counts: Counts | None, rows: int) -> Counts:
    """`counts`, or a row of ones. Raises `InputError` unless (B, rows) non-negative integers."""
    if counts is None:
        return np.ones((1, rows), np.int64)
    if counts.ndim != 2 or counts.shape[1] != rows or counts.dtype.kind not in "iu":
        raise InputError(
            f"counts: shape {counts.shape} of {counts.dtype}, expected (samples, {rows}) integers"
        )
    if counts.size and counts.min() < 0:
        raise InputError(f"counts: {counts.min()}, expected 0 or more")
    return counts


def accuracy(readout: Readout, counts: Counts | None = None) -> Floats:
    """Share of right answers."""
    return _mean(readout.correct.astype(float), counts)


def confidence(readout: Readout, counts: Counts | None = None) -> Floats:
    """Mean confidence."""
    return _mean(readout.confidence, counts)


def confidence_right(readout: Readout, counts: Counts | None = None) -> Floats:
    """Mean confidence in right answers. NaN for a sample without right answers."""
    return _mean_of(readout.confidence, readout.correct, counts)


def confidence_wrong(readout: Readout, counts: Counts | None = None) -> Floats:
    """Mean confidence in wrong answers. NaN for a sample without wrong answers."""
    return _mean_of(readout.confidence, ~readout.correct, counts)


def gap(readout: Readout, counts: Counts | None = None) -> Floats:
    """Mean confidence minus accuracy. Above 0, the model is overconfident."""
    return _mean(readout.confidence - readout.correct, counts)


def ece(readout: Readout, counts: Counts | None = None, bins: int = 15) -> Floats:
    """Expected calibration error of the chosen answer, in bins of equal width."""
    return calibration_error(readout.confidence, readout.correct, counts, bins=bins)


def ece_equal_mass(readout: Readout, counts: Counts | None = None, bins: int = 15) -> Floats:
    """Expected calibration error in bins of equal mass (Nguyen and O'Connor 2015)."""
    return calibration_error(
        readout.confidence, readout.correct, counts, bins=bins, scheme="equal_mass"
    )


def rmsce(readout: Readout, counts: Counts | None = None, bins: int = 15) -> Floats:
    """RMS calibration error, in the same bins of equal width as `ece`.

    Hendrycks et al. (2019) use bins of 100 rows each. Equal width keeps it comparable to ECE.
    """
    return calibration_error(readout.confidence, readout.correct, counts, bins=bins, norm="l2")


def mce(readout: Readout, counts: Counts | None = None, bins: int = 15) -> Floats:
    """Maximum calibration error over the bins of equal width that are not empty."""
    return calibration_error(readout.confidence, readout.correct, counts, bins=bins, norm="max")


def debiased_ece2(readout: Readout, counts: Counts | None = None, bins: int = 15) -> Floats:
    """Mean squared calibration error: the square of `rmsce`, without the bias that noise adds.

    For a bin of m rows, the squared gap is estimated without bias: each of the m (m - 1)
    ordered pairs of rows gives the product of the two rows' confidence - correct, and the
    estimate is their mean. It counts m times. A bin of one row counts as 0. The metric is
    therefore around 0 for a calibrated model however few the rows are, and may be negative. It is
    a debiased plug-in estimator like those of Lee et al. (2023, T-Cal) and Sun et al. (2024). If
    all confidences of a bin are equal, it is the estimator of Kumar et al. (2019) and the
    bias-corrected reliability of Ferro and Fricker (2012).
    """
    wrong = readout.confidence - readout.correct
    mass, sure, right = bin_sums(readout.confidence, readout.correct, counts, bins=bins)
    _, _, squares = bin_sums(readout.confidence, wrong**2, counts, bins=bins)
    pairs = np.where(mass > 1, (sure - right) ** 2 - squares, 0) / np.maximum(mass - 1, 1)
    with np.errstate(invalid="ignore"):
        return np.asarray(pairs.sum(axis=1) / mass.sum(axis=1))


def resolution(readout: Readout, counts: Counts | None = None, bins: int = 15) -> Floats:
    """Variance of accuracy between the bins, without the bias that noise adds: higher is better.

    Murphy (1973) decomposes the Brier score of the chosen answer, the mean of
    (confidence - correct)^2, into reliability - resolution + a (1 - a) with the accuracy a, if all
    confidences of a bin are equal. Products of pairs of rows estimate squared accuracies without
    bias, in each bin and over all bins. The metric is therefore around 0 for confidences that say
    nothing about the answers, and may be negative. It is the bias-corrected resolution of Ferro and
    Fricker (2012), as `debiased_ece2` is their reliability. A bin of one row counts as 0.
    """
    mass, _, right = bin_sums(readout.confidence, readout.correct, counts, bins=bins)
    size, hits = mass.sum(axis=1), right.sum(axis=1)
    whole = hits * (hits - 1) / np.maximum(size * (size - 1), 1)
    inside = mass * (right * (right - 1) / np.maximum(mass * (mass - 1), 1) - whole[:, None])
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(mass > 1, inside, 0).sum(axis=1) / size)


def uncertainty(readout: Readout, counts: Counts | None = None) -> Floats:
    """Variance of whether answers are right, a (1 - a) with the accuracy a (Murphy 1973)."""
    share = accuracy(readout, counts)
    return share * (1 - share)


def smece(readout: Readout, counts: Counts | None = None) -> Floats:
    """Smooth ECE (Blasiok and Nakkiran 2023), which needs no bins.

    The residuals confidence - correct are smoothed over the confidences by a Gaussian kernel of
    width sigma, reflected at 0 and 1. smECE_sigma is the integral over [0, 1] of the absolute
    value of their smoothed sum, divided by the number of rows. It falls as sigma rises, so one
    sigma equals its own smECE_sigma, and this is the metric. Here a residual lies at the middle of
    one of `CELLS` cells of [0, 1], and the kernel is no narrower than a cell. Smoothing multiplies
    the cosine of k half-waves by exp(-(pi k sigma)^2 / 2).
    """
    _, sure, right = bin_sums(readout.confidence, readout.correct, counts, bins=CELLS)
    size = checked_counts(counts, len(readout.correct)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, smoothed((sure - right) / size[:, None]), np.nan)


def smoothed(residuals: Floats) -> Floats:
    """(B,) smooth errors of residuals (B, CELLS), summed in each cell and divided by all rows."""
    waves = cosines()
    strength = residuals @ waves.T
    strength[:, 1:] *= 2
    low, high = np.zeros(len(residuals)), np.ones(len(residuals))
    for _ in range(48):
        sigma = (low + high) / 2
        width = np.maximum(sigma, 1 / CELLS)[:, None]
        damped = strength * np.exp(-((np.pi * np.arange(CELLS) * width) ** 2) / 2)
        above = np.abs(damped @ waves).mean(axis=1) > sigma
        low, high = np.where(above, sigma, low), np.where(above, high, sigma)
    return np.asarray((low + high) / 2)


@cache
def cosines() -> Floats:
    """(CELLS, CELLS) values of the cosine of 0, 1, ... half-waves (rows) at middles of cells."""
    return np.cos(np.pi * np.outer(np.arange(CELLS), (np.arange(CELLS) + 0.5) / CELLS))


def ece_classwise(readout: Readout, counts: Counts | None = None, bins: int = 15) -> Floats:
    """Mean over option positions of the ECE of "this option is right" (Kull et al. 2019).

    It is also the static calibration error of Nixon et al. (2019). The ECE of a position is over
    the questions that have it. A position that no question of a sample has is left out.
    """
    probabilities, gold = distribution(readout)
    counts = checked_counts(counts, len(gold))
    total, positions = np.zeros((2, len(counts)))
    for option in range(probabilities.shape[1]):
        present = ~np.isnan(probabilities[:, option])
        if not present.any():
            continue
        error = calibration_error(
            probabilities[present, option],
            gold[present] == option,
            counts[:, present],
            bins=bins,
        )
        total += np.nan_to_num(error)
        positions += ~np.isnan(error)
    with np.errstate(invalid="ignore"):
        return total / positions


def ece_all(readout: Readout, counts: Counts | None = None, bins: int = 15) -> Floats:
    """ECE over all options of all questions, each taken as a prediction that it is right."""
    probabilities, gold = distribution(readout)
    row, option = np.nonzero(~np.isnan(probabilities))
    counts = checked_counts(counts, len(gold))
    return calibration_error(
        probabilities[row, option], gold[row] == option, counts[:, row], bins=bins
    )


def brier(readout: Readout, counts: Counts | None = None) -> Floats:
    """Brier score (1950): squared error summed over the options, between 0 and 2."""
    probabilities, gold = distribution(readout)
    right = np.arange(probabilities.shape[1]) == gold[:, None]
    return _mean(np.nansum((probabilities - right) ** 2, axis=1), counts)


def nll(readout: Readout, counts: Counts | None = None) -> Floats:
    """Mean negative log-likelihood (nats) of the right option.

    It is infinite for a sample with a right option of probability 0, which is not clipped.
    """
    probabilities, gold = distribution(readout)
    counts = checked_counts(counts, len(gold))
    likelihood = probabilities[np.arange(len(gold)), gold]
    possible = likelihood > 0
    mean = _mean(-np.log(np.where(possible, likelihood, 1.0)), counts)
    return np.where(counts[:, ~possible].any(axis=1), np.inf, mean)


def entropy(readout: Readout, counts: Counts | None = None) -> Floats:
    """Mean predictive entropy (nats) of the distribution over the options."""
    return _mean(entropies(distribution(readout)[0]), counts)


def normalised_entropy(readout: Readout, counts: Counts | None = None) -> Floats:
    """Mean over questions of the entropy as a share of that of a uniform guess: 1 is a guess.

    That is the entropy divided by ln k for a question of k options, so that questions of different
    k can be compared.
    """
    return _mean(shares_of_uniform(distribution(readout)[0]), counts)


def shares_of_uniform(probabilities: Floats) -> Floats:
    """(n,) entropies of (n, k) probabilities, divided by the largest that a question can have."""
    options = (~np.isnan(probabilities)).sum(axis=1)
    # the sum of a uniform distribution is rounded, and a question with one option has no entropy
    return np.minimum(entropies(probabilities) / np.log(np.maximum(options, 2)), 1.0)


def auroc(readout: Readout, counts: Counts | None = None) -> Floats:
    """Probability that a right answer is more confident than a wrong one. Ties count half.

    NaN for a sample whose answers are all right or all wrong.
    """
    right, wrong = _tie_groups(readout, counts)
    below = np.cumsum(wrong, axis=1) - wrong
    pairs = right.sum(axis=1) * wrong.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((right * (below + wrong / 2)).sum(axis=1) / pairs)


def aurc(readout: Readout, counts: Counts | None = None) -> Floats:
    """Area under the risk-coverage curve (Geifman et al. 2019): lower is better.

    The mean over i = 1..n of the share of wrong answers among the i most confident ones.
    Answers of equal confidence have no order, so the mean over all their orders is taken: each
    step into a group of equals adds the group's share of wrong answers.
    """
    right, wrong = (group[:, ::-1] for group in _tie_groups(readout, counts))
    size = right + wrong
    ends = np.cumsum(size, axis=1)
    starts, wrong_before = ends - size, np.cumsum(wrong, axis=1) - wrong
    share = wrong / np.maximum(size, 1)
    # sum over j = 1..size of (wrong_before + j share) / (starts + j), by harmonic numbers
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, ends.max(initial=0) + 1))])
    steps = harmonic[ends] - harmonic[starts]
    area = wrong + (wrong_before - starts * share) * steps
    with np.errstate(invalid="ignore"):
        return np.asarray(area.sum(axis=1) / ends[:, -1])


def augrc(readout: Readout, counts: Counts | None = None) -> Floats:
    """Area under the generalized risk-coverage curve (Traub et al. 2024): lower is better.

    The mean over coverages of the share of questions that are answered, and wrongly. With accuracy
    a it is (1 - AUROC) a (1 - a) + (1 - a)^2 / 2, so that a confidence that says nothing has
    (1 - a) / 2. Unlike `aurc` it does not weigh the most confident wrong answers most.
    """
    right, wrong = _tie_groups(readout, counts)
    above = wrong.sum(axis=1, keepdims=True) - np.cumsum(wrong, axis=1)
    inverted = (right * (above + wrong / 2)).sum(axis=1)
    total, errors = (right + wrong).sum(axis=1), wrong.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((inverted + errors**2 / 2) / total**2)


@dataclass(frozen=True)
class Metric:
    """A metric: what it needs from a readout, its range, and whether it takes `bins`.

    Its changes are tested if `tested`. A binned ECE is not: it is biased, and the more so the less
    sharp the confidences are, so that a test of its change would find sharpness. It is computed
    after recalibration if `recalibrated`. Metrics of ranking, as AUROC, would hardly change.
    """

    function: Callable[..., Floats]
    needs: Literal["score", "probability", "distribution"]
    bounds: tuple[float, float] = (0.0, 1.0)
    binned: bool = False
    tested: bool = False
    recalibrated: bool = False

    def applies(self, readout: Readout) -> bool:
        """Whether `readout` has what this metric needs."""
        if self.needs == "distribution":
            return readout.probabilities is not None
        return self.needs == "score" or readout.is_probability

    def __call__(self, readout: Readout, counts: Counts | None, bins: int) -> Floats:
        """(B,) values, computed in chunks of samples to bound the memory."""
        counts = checked_counts(counts, len(readout.correct))
        options = {"bins": bins} if self.binned else {}
        chunks = np.array_split(counts, max(1, -(-counts.size // CHUNK)))
        return np.concatenate([self.function(readout, chunk, **options) for chunk in chunks])


#: Every metric by its name in the config and in the results, in the order of the tables. The lists
#: of metrics in the config's schema and elsewhere are read from here (`metrics.declared`).
METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, needs="score", tested=True, recalibrated=True),
    "confidence": Metric(confidence, needs="probability", tested=True, recalibrated=True),
    "confidence_right": Metric(confidence_right, needs="probability"),
    "confidence_wrong": Metric(confidence_wrong, needs="probability"),
    "gap": Metric(gap, needs="probability", bounds=(-1.0, 1.0), recalibrated=True),
    "ece": Metric(ece, needs="probability", binned=True, recalibrated=True),
    "ece_equal_mass": Metric(ece_equal_mass, needs="probability", binned=True),
    "rmsce": Metric(rmsce, needs="probability", binned=True, recalibrated=True),
    "mce": Metric(mce, needs="probability", binned=True),
    "debiased_ece2": Metric(
        debiased_ece2,
        needs="probability",
        bounds=(-1.0, 1.0),
        binned=True,
        tested=True,
        recalibrated=True,
    ),
    "resolution": Metric(resolution, needs="probability", bounds=(-1.0, 1.0), binned=True),
    "uncertainty": Metric(uncertainty, needs="score", bounds=(0.0, 0.25)),
    "smece": Metric(smece, needs="probability"),
    "ece_classwise": Metric(ece_classwise, needs="distribution", binned=True),
    "ece_all": Metric(ece_all, needs="distribution", binned=True),
    "brier": Metric(brier, needs="distribution", bounds=(0.0, 2.0), tested=True, recalibrated=True),
    "nll": Metric(nll, needs="distribution", bounds=(0.0, np.inf), recalibrated=True),
    "entropy": Metric(entropy, needs="distribution", bounds=(0.0, np.inf), tested=True),
    "normalised_entropy": Metric(normalised_entropy, needs="distribution"),
    "auroc": Metric(auroc, needs="score"),
    "aurc": Metric(aurc, needs="score"),
    "augrc": Metric(augrc, needs="score"),
}


#: Metrics that sum absolute gaps, so that noise makes them too large, and that are 0 where
#: `debiased_ece2` is. Their levels have intervals of their own (`bootstrap.around_biased`)
BIASED = frozenset({"ece", "ece_equal_mass", "rmsce", "smece"})
#: The same, but no interval of their levels covers: they have none
WITHOUT_INTERVAL = frozenset({"mce", "ece_classwise", "ece_all"})


def _quantile_bins(confidence: Floats, counts: Counts, bins: int) -> NDArray[np.int64]:
    """(B, n) bin of each row between its sample's quantiles, in exact integer arithmetic.

    The quantile i / bins lies at position i (N - 1) / bins of a sorted sample of N rows.
    A row is not below it iff the last row of equal confidence is not before that position.
    """
    order = np.argsort(confidence, kind="stable")
    last_equal = np.searchsorted(confidence[order], confidence, side="right") - 1
    up_to = np.cumsum(counts[:, order], axis=1, dtype=np.int64)
    position = up_to[:, last_equal] - 1
    index = bins * position // np.maximum(up_to[:, -1:] - 1, 1)
    return np.clip(index, 0, bins - 1)


def _tie_groups(readout: Readout, counts: Counts | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """(B, g) numbers of right and of wrong answers at the g distinct confidences, ascending."""
    counts = checked_counts(counts, len(readout.correct))
    order = np.argsort(readout.confidence, kind="stable")
    starts = np.flatnonzero(np.diff(readout.confidence[order], prepend=-np.inf) > 0)
    counts, right = counts[:, order].astype(np.int64), readout.correct[order]
    return (
        np.add.reduceat(counts * right, starts, axis=1),
        np.add.reduceat(counts * ~right, starts, axis=1),
    )


def _mean(values: Floats, counts: Counts | None) -> Floats:
    counts = checked_counts(counts, len(values))
    with np.errstate(invalid="ignore"):
        return np.asarray((counts @ values) / counts.sum(axis=1))


def _mean_of(values: Floats, chosen: NDArray[np.bool_], counts: Counts | None) -> Floats:
    return _mean(values[chosen], checked_counts(counts, len(values))[:, chosen])


def distribution(readout: Readout) -> tuple[Floats, NDArray[np.int64]]:
    """The (n, k) distribution and the (n,) right options. Raises `InputError` if there are none."""
    if readout.probabilities is None or readout.gold is None:
        raise InputError("readout: no distribution over the options, which this metric needs")
    return readout.probabilities, readout.gold
