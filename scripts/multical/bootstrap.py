"""Bootstrap over questions: percentile intervals that respect what shares a question.

The questions of a benchmark are the clusters. A replicate draws as many of them as
there are, with replacement, and takes each drawn question in every language and
every run, so that means over languages and differences of runs keep their pairing.
A replicate is a row of *counts*, how often each question was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multical.errors import InputError
from multical.readouts import Floats


class Bootstrap:
    """Replicates of a benchmark's questions.

    They depend on the set of `questions`, the number of `replicates` and the `seed`
    alone: not on the order of rows, and not on how many languages or runs there are.
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

    def counts(self, questions: Sequence[str]) -> NDArray[np.int32]:
        """(B, n) counts of the given questions, one column per row of a cell."""
        wanted = np.asarray(questions, dtype=str)
        column = np.searchsorted(self._questions, wanted)
        column = np.minimum(column, len(self._questions) - 1)
        unknown = self._questions[column] != wanted
        if unknown.any():
            raise InputError(f"bootstrap: {str(wanted[unknown][0])!r} is none of its questions")
        return self._counts[:, column]


def interval(replicates: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval of (B, ...) replicates: the (1 -+ level) / 2 quantiles, each (...).

    Quantiles are interpolated linearly (`numpy.quantile`). Replicates of NaN, in which
    the metric is not defined, do not count; without any other the interval is NaN.
    Infinite replicates do count.
    """
    if not 0 < level < 1:
        raise InputError(f"bootstrap: level {level}, expected between 0 and 1")
    if not len(replicates):
        nothing = np.full(replicates.shape[1:], np.nan)
        return nothing, nothing
    ordered = np.sort(replicates, axis=0)  # NaN last
    last = (~np.isnan(ordered)).sum(axis=0) - 1
    return _quantile(ordered, last, (1 - level) / 2), _quantile(ordered, last, (1 + level) / 2)


def _quantile(ordered: Floats, last: NDArray[np.int64], share: float) -> Floats:
    position = share * np.maximum(last, 0)
    below = np.floor(position).astype(int)
    low = np.take_along_axis(ordered, below[None], axis=0)[0]
    above = np.minimum(below + 1, np.maximum(last, 0))
    high = np.take_along_axis(ordered, above[None], axis=0)[0]
    exact = (low == high) | (position == below)
    with np.errstate(invalid="ignore"):  # inf - inf and 0 * inf, where the lower one is meant
        return np.where(exact, low, low + (position - below) * (high - low))
