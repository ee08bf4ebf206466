"""Abstaining below a confidence threshold that is chosen on a few labelled questions.

A right answer scores +1, a wrong one -penalty, an abstention 0. The score is 100 times
the mean over all questions. A model abstains iff its confidence is below the threshold.
The definitions are those of Plaut, Nguyen and Trinh (arXiv 2402.13213) and their code.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from multical.errors import InputError
from multical.metrics.readouts import Floats

Counts = NDArray[np.int64]

#: Questions in each released file. The split depends on the order of the files.
SLICE = 500
#: How far the lowest threshold of a grid lies below every confidence, so that nothing is abstained
MARGIN = 1e-4


def file_order(number: NDArray[np.int64], prompt: Sequence[str]) -> NDArray[np.int64]:
    """Order in which the authors' code read the rows: by file name, then by line.

    `number` (n,) is each row's question number, `prompt` (n,) its phrasing. A file name is
    `q{from}to{to}` followed by the phrasing. Names sort as text, so q1000to1500 comes before
    q500to1000, and both phrasings of a slice come before the next slice. The seeded split
    equals the authors' only if it starts from this order.
    """
    starts = number // SLICE * SLICE
    names = np.char.add(np.char.add("q", np.char.add(starts.astype(str), "to")), np.asarray(prompt))
    return np.lexsort((number, names))


@lru_cache(maxsize=8)
def permutation(size: int, seed: int) -> NDArray[np.int64]:
    """(size,) indices, shuffled by Python's `random` with the seed, as the authors do."""
    order = list(range(size))
    random.Random(seed).shuffle(order)
    return np.array(order)


def training_size(k: int | str, size: int) -> int:
    """Number of training rows: `k`, or half. Raises `InputError` if none is left to test."""
    if not can_train(k, size):
        raise InputError(f"abstention: k = {k} of {size} answers, expected some to train and test")
    return _training_size(k, size)


def can_train(k: int | str, size: int) -> bool:
    """Whether `k` training answers out of `size` leave some to test on."""
    return 0 < _training_size(k, size) < size


def _training_size(k: int | str, size: int) -> int:
    return size // 2 if k == "half" else int(k)


class Ranked:
    """Answers sorted by confidence, on which many thresholds can be tried."""

    def __init__(self, confidence: Floats, correct: NDArray[np.bool_]) -> None:
        order = np.argsort(confidence, kind="stable")
        self.confidence = confidence[order]
        self.right = np.append(0, np.cumsum(correct[order]))

    def __len__(self) -> int:
        return len(self.confidence)

    def counts(self, thresholds: Floats) -> Counts:
        """(3, T) numbers of right answers, wrong answers and abstentions at T thresholds."""
        below = self.confidence.searchsorted(thresholds)
        right = self.right[-1] - self.right[below]
        return np.array([right, len(self.confidence) - below - right, below])


def scores(counts: Counts, penalty: float) -> Floats:
    """(..., T) scores from (..., 3, T) `Ranked.counts`: 100 times the mean over all questions."""
    right, wrong = counts[..., 0, :], counts[..., 1, :]
    return np.asarray(100 * ((right - penalty * wrong) / counts.sum(axis=-2)))


def abstained(counts: Counts) -> Floats:
    """(..., T) percentages of abstentions from (..., 3, T) `Ranked.counts`."""
    return np.asarray(100 * (counts[..., 2, :] / counts.sum(axis=-2)))


def grid(training: Sequence[Ranked], start: str = "zero") -> Floats:
    """Candidate thresholds, ascending, from the training answers of *all* models.

    There are 200 evenly spaced thresholds up to the highest confidence. If that is within
    0.01 of 1, there are 100 more in [0.99, 1]. With the start "zero" (v2 of the paper) they
    begin at 0, preceded by -1e-4. With "min" (v4) they begin 1e-4 below the lowest confidence.
    """
    high = max(float(ranked.confidence[-1]) for ranked in training)
    if start == "zero":
        points = np.append(-MARGIN, np.linspace(0, high, 200))
    else:
        low = min(float(ranked.confidence[0]) for ranked in training)
        points = np.linspace(low - MARGIN, high, 200)
    if abs(high - 1) < 0.01:
        points = np.append(points, np.linspace(0.99, 1, 100))
    return np.unique(points)


def choose(training: Counts, points: Floats, penalty: float) -> Floats:
    """The threshold of the highest mean score over D data sets, the first among equals.

    `training` (..., D, 3, T) holds counts at the `points` (T,). The result has the shape (...).
    """
    return np.asarray(points[scores(training, penalty).mean(axis=-2).argmax(axis=-1)])
