"""Abstaining below a confidence threshold that is chosen on a few labelled questions.

An answer scores +1 when right and -penalty when wrong, an abstention 0; the score is
100 times the mean over all questions. The rule abstains iff confidence < threshold.
Definitions are those of Plaut, Nguyen and Trinh (arXiv 2402.13213) and of their code.
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

#: The released files hold this many questions each, and the split depends on their order.
SLICE = 500
#: Below every threshold of a grid: with it, nothing is abstained from.
MARGIN = 1e-4


def file_order(number: NDArray[np.int64], prompt: Sequence[str]) -> NDArray[np.int64]:
    """Order in which the authors' code read the rows: by file name, then by line.

    `number` (n,) is each row's question number, `prompt` (n,) its phrasing. A file name
    holds `q{from}to{to}` and then the phrasing, so that q1000to1500 comes before
    q500to1000, and both phrasings of a slice before the next slice. The seeded split
    is only the authors' when it starts from this order.
    """
    starts = number // SLICE * SLICE
    names = np.char.add(np.char.add("q", np.char.add(starts.astype(str), "to")), np.asarray(prompt))
    return np.lexsort((number, names))


@lru_cache(maxsize=8)
def permutation(size: int, seed: int) -> NDArray[np.int64]:
    """Python's `random.shuffle` of range(size) after `random.seed(seed)`, as the authors split."""
    order = list(range(size))
    random.Random(seed).shuffle(order)
    return np.array(order)


def training_size(k: int | str, size: int) -> int:
    """How many rows train: `k`, or half of all. Raises `InputError` if none is left to test."""
    if not can_train(k, size):
        raise InputError(f"abstention: k = {k} of {size} answers, expected some to train and test")
    return _training_size(k, size)


def can_train(k: int | str, size: int) -> bool:
    """Whether `k` training answers out of `size` leave some to test on."""
    return 0 < _training_size(k, size) < size


def _training_size(k: int | str, size: int) -> int:
    return size // 2 if k == "half" else int(k)


class Ranked:
    """Answers, sorted by confidence, that many thresholds can be tried on."""

    def __init__(self, confidence: Floats, correct: NDArray[np.bool_]) -> None:
        order = np.argsort(confidence, kind="stable")
        self.confidence = confidence[order]
        self.right = np.append(0, np.cumsum(correct[order]))

    def __len__(self) -> int:
        return len(self.confidence)

    def counts(self, thresholds: Floats) -> Counts:
        """(3, T) at each threshold: right and wrong answers given, and abstentions."""
        below = np.searchsorted(self.confidence, thresholds, side="left")
        right = self.right[-1] - self.right[below]
        return np.stack([right, len(self) - below - right, below])


def scores(counts: Counts, penalty: float) -> Floats:
    """(T,) score of `Ranked.counts`: 100 times the mean over all questions."""
    right, wrong, _ = counts
    return np.asarray(100 * ((right - penalty * wrong) / counts.sum(axis=0)))


def abstained(counts: Counts) -> Floats:
    """(T,) per cent of abstentions of `Ranked.counts`."""
    return np.asarray(100 * (counts[2] / counts.sum(axis=0)))


def grid(training: Sequence[Ranked], start: str = "zero") -> Floats:
    """Candidate thresholds, ascending, for the training answers of *all* models.

    200 evenly spaced ones up to the highest confidence, and 100 more in [0.99, 1] if
    that is within 0.01 of 1. start "zero", generation v2: from 0, with -1e-4 before it;
    "min", generation v4: from 1e-4 below the lowest confidence.
    """
    high = max(float(part.confidence[-1]) for part in training)
    if start == "zero":
        points = np.append(-MARGIN, np.linspace(0, high, 200))
    else:
        low = min(float(part.confidence[0]) for part in training)
        points = np.linspace(low - MARGIN, high, 200)
    if abs(high - 1) < 0.01:
        points = np.append(points, np.linspace(0.99, 1, 100))
    return np.unique(points)


def choose(training: Sequence[Counts], points: Floats, penalty: float) -> float:
    """The first threshold of the highest score, averaged over the data sets' training parts.

    `training` has the counts at `points` of one model, a data set each.
    """
    return float(points[np.argmax(np.mean([scores(part, penalty) for part in training], axis=0))])
