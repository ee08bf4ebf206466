"""Abstaining below a confidence threshold that is chosen on a few labelled questions.

An answer scores +1 when right and -penalty when wrong, an abstention 0; the score is
100 times the mean over all questions. The rule abstains iff confidence < threshold.
Definitions are those of Plaut, Nguyen and Trinh (arXiv 2402.13213) and of their code.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from multical.errors import InputError
from multical.readouts import Floats, Readout

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


@dataclass(frozen=True)
class Split:
    """Rows of one (data set, model): the first k of the seeded shuffle train, the rest test."""

    train_confidence: Floats  # (k,)
    train_correct: NDArray[np.bool_]
    test_confidence: Floats  # (n - k,)
    test_correct: NDArray[np.bool_]


def training_size(k: int | str, size: int) -> int:
    """Rows that train: `k`, or half of them all; raise `InputError` where none is left to test."""
    count = size // 2 if k == "half" else int(k)
    if not 0 < count < size:
        raise InputError(f"abstention: k = {k} of {size} answers, expected some to train and test")
    return count


def split(readout: Readout, k: int | str, seed: int) -> Split:
    """Split rows that are in `file_order`."""
    order = permutation(len(readout.correct), seed)
    train, test = np.split(order, [training_size(k, len(order))])
    return Split(
        readout.confidence[train],
        readout.correct[train],
        readout.confidence[test],
        readout.correct[test],
    )


def grid(training: Sequence[Floats], start: str = "zero") -> Floats:
    """Candidate thresholds, ascending, for the training confidences of *all* models.

    200 evenly spaced ones up to the highest confidence, and 100 more in [0.99, 1] if
    that is within 0.01 of 1. start "zero", generation v2: from 0, with -1e-4 before it;
    "min", generation v4: from 1e-4 below the lowest confidence.
    """
    high = max(float(part.max()) for part in training)
    if start == "zero":
        points = np.append(-MARGIN, np.linspace(0, high, 200))
    else:
        points = np.linspace(min(float(part.min()) for part in training) - MARGIN, high, 200)
    if abs(high - 1) < 0.01:
        points = np.append(points, np.linspace(0.99, 1, 100))
    return np.unique(points)


def scores(
    confidence: Floats, correct: NDArray[np.bool_], thresholds: Floats, penalty: float
) -> Floats:
    """(T,) score, 100 x mean, at each threshold."""
    right, wrong, _ = _kept(confidence, correct, thresholds)
    return 100 * ((right - penalty * wrong) / len(correct))


def abstained(confidence: Floats, correct: NDArray[np.bool_], thresholds: Floats) -> Floats:
    """(T,) per cent of rows below each threshold."""
    return 100 * _kept(confidence, correct, thresholds)[2] / len(correct)


def choose(training: Mapping[str, tuple[Floats, NDArray[np.bool_]]], points: Floats,
           penalty: float) -> float:  # fmt: skip
    """The first threshold of the highest mean training score over the data sets."""
    table = [scores(*part, points, penalty) for part in training.values()]
    return float(points[np.argmax(np.mean(table, axis=0))])


def _kept(
    confidence: Floats, correct: NDArray[np.bool_], thresholds: Floats
) -> tuple[Floats, Floats, Floats]:
    """Right and wrong answers at or above each threshold, and rows below it; (T,) each."""
    order = np.argsort(confidence, kind="stable")
    below = np.searchsorted(confidence[order], thresholds, side="left")
    right = np.append(0, np.cumsum(correct[order]))
    right_kept = right[-1] - right[below]
    return right_kept, len(correct) - below - right_kept, below
