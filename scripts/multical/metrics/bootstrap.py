"""Bootstrap over questions, and intervals from its replicates.

The questions of a benchmark are the clusters. A replicate draws as many questions as there
are, with replacement. It takes each drawn question in every language and every run, so that
means over languages and differences between runs stay paired. A replicate is a row of
*counts*: how often each question was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multical.errors import InputError
from multical.metrics.readouts import Floats
from multical.metrics.resampling import Sample, table


class Bootstrap:
    """Replicates of a benchmark's questions.

    They depend only on the set of `questions`, the number of `replicates` and the `seed`.
    The order of rows and the number of languages or runs do not matter.
    """

    def __init__(self, questions: Sequence[str], replicates: int, seed: int) -> None:
        if not len(questions) or replicates < 0:
            raise InputError(
                f"bootstrap: {len(questions)} questions, {replicates} replicates, "
                "expected at least one question and 0 or more replicates"
            )
        self._questions = np.unique(np.asarray(questions, dtype=str))
        size, generator = len(self._questions), np.random.default_rng(seed)
        self._counts = np.zeros((replicates, size), np.int32)
        for replicate in self._counts:
            replicate[:] = np.bincount(generator.integers(size, size=size), minlength=size)

        self._categories: pd.Index | None = None

    def counts(self, questions: Sequence[str]) -> NDArray[np.int32]:
        """(B, n) counts, one column for each of the n questions, which may repeat."""
        return self._counts[:, self._places(questions)]

    def sample(self, questions: pd.Series) -> Sample:
        """B replicates of a cell's rows, and the rows themselves as the last sample, B + 1.

        The categories of a categorical are looked up once for all cells that share them.
        """
        if not isinstance(questions.dtype, pd.CategoricalDtype):
            return Sample(self._table, self._places(questions.to_list()))
        categories = questions.cat.categories
        if categories is not self._categories:  # some may belong to other benchmarks
            self._known = pd.Index(self._questions).get_indexer(categories)
            self._categories = categories
        places = self._known[questions.cat.codes]
        if (places < 0).any():
            self._places(questions.to_list())  # raises the error that names the question
        return Sample(self._table, places)

    @cached_property
    def _table(self) -> NDArray[Any]:
        return table(np.vstack([self._counts, np.ones_like(self._questions, np.int32)]))

    def _places(self, questions: Sequence[str]) -> NDArray[np.int64]:
        """(n,) columns of `self._counts`."""
        wanted = np.asarray(questions, dtype=str)
        column = np.searchsorted(self._questions, wanted)
        column = np.minimum(column, len(self._questions) - 1)
        unknown = self._questions[column] != wanted
        if unknown.any():
            name = str(wanted[unknown][0])
            raise InputError(f"bootstrap: found question {name!r}, expected one of its own")
        return column


def recentred(
    replicates: Floats,
    estimate: float,
    questions: int,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Floats:
    """(B,) replicates, shifted so that their mean is the `estimate`, and clipped to `bounds`.

    They are spread by sqrt(n / (n - 3)) for n questions. The variance of a bootstrap is too small
    by (n - 1) / n, and Student's t with n - 1 degrees of freedom has one of (n - 1) / (n - 3).

    A calibration error sums absolute gaps, to which the noise of resampling adds. Its replicates
    lie above the estimate, sometimes all of them. Shifted, they are those of a change of the error:
    if both sides have the same bias, it cancels. The interval of a level is `around_biased`. The
    replicates of a metric without such a bias stay where they are, up to the noise of B draws.

    Replicates of NaN stay NaN. If the mean or the estimate is not finite, nothing is shifted.
    """
    defined = ~np.isnan(replicates)
    if not defined.any():
        return replicates
    mean = replicates[defined].mean()
    if np.isfinite(mean) and np.isfinite(estimate):
        spread = (questions / max(questions - 3, 1)) ** 0.5
        replicates = estimate + spread * (replicates - mean)
    return np.clip(replicates, *bounds)


def around(
    estimate: float,
    replicates: Floats,
    questions: int,
    level: float,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Percentile interval of (B,) `recentred` replicates, widened to hold the estimate.

    If most replicates are equal and a few lie far off (the maximum calibration error of 12
    questions), their mean can lie outside their own percentiles. The end next to the estimate
    then becomes the estimate. Shifting the median instead of the mean would hold the estimate
    too, but it shifts every interval. In 300 simulated benchmarks of 12 or 160 questions such
    intervals held the mean estimate no more often (MCE of 12 questions: 0.75 to 0.79 either
    way; ECE of 160 questions: 0.92 to 0.98 either way).
    """
    low, high = interval(recentred(replicates, estimate, questions, bounds), level)
    return (
        estimate if estimate < low else float(low),  # false for NaN
        estimate if estimate > high else float(high),
    )


def around_biased(
    estimate: float,
    replicates: Floats,
    debiased: Floats,
    questions: int,
    level: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[float, float]:
    """Interval of an error that sums absolute gaps, for the error of all questions there could be.

    Such an error is too large by about as much as its (B,) replicates exceed it on average, and by
    up to twice as much where gaps are small. The interval therefore begins at that of the
    `recentred` replicates, less twice that excess. If `debiased`, the (B + 1,) replicates of the
    debiased squared error with its estimate last, does not show that there is any error, the
    interval begins at 0. It ends at the higher end of the basic and the recentred one. This is our
    own, chosen by simulation (docs/statistics.md says where it covers).
    """
    low, high = around(estimate, replicates, questions, level, bounds)
    if np.isnan(low):
        return low, high
    shown, _ = around(float(debiased[-1]), debiased[:-1], questions, level)
    excess = max(0.0, float(np.nanmean(replicates)) - estimate)
    basic = 2 * estimate - float(interval(replicates, level)[0])
    return (
        max(bounds[0], low - 2 * excess) if shown > 0 else bounds[0],
        min(bounds[1], max(high, basic)),
    )


def interval(replicates: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval of (B, ...) replicates: the (1 -+ level) / 2 quantiles, each (...).

    Quantiles are interpolated linearly, as by `numpy.quantile`. Replicates of NaN, for which
    the metric is not defined, do not count. If there are no others, the interval is NaN.
    Infinite replicates count.
    """
    if not 0 < level < 1:
        raise InputError(f"bootstrap: level {level}, expected between 0 and 1")
    if not len(replicates):
        undefined = np.full(replicates.shape[1:], np.nan)
        return undefined, undefined
    ordered = np.sort(replicates, axis=0)  # NaN last
    last = (~np.isnan(ordered)).sum(axis=0) - 1
    return _quantile(ordered, last, (1 - level) / 2), _quantile(ordered, last, (1 + level) / 2)


def _quantile(ordered: Floats, last: NDArray[np.int64], share: float) -> Floats:
    if not last.ndim:
        return np.asarray(_quantile_of_one(ordered, int(last), share))
    position = share * np.maximum(last, 0)
    below = np.floor(position).astype(int)
    low = np.take_along_axis(ordered, below[None], axis=0)[0]
    above = np.minimum(below + 1, np.maximum(last, 0))
    high = np.take_along_axis(ordered, above[None], axis=0)[0]
    exact = (low == high) | (position == below)
    with np.errstate(invalid="ignore"):  # inf - inf and 0 * inf, where `exact` holds
        return np.where(exact, low, low + (position - below) * (high - low))


def _quantile_of_one(ordered: Floats, last: int, share: float) -> float:
    """`_quantile` of a single column, to the same bits: most are, and NumPy takes longer."""
    position = share * max(last, 0)
    below = int(position)
    low, high = float(ordered[below]), float(ordered[min(below + 1, max(last, 0))])
    exact = low == high or position == below
    return low if exact else low + (position - below) * (high - low)
