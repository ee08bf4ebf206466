"""Made-up readouts: random ones, ones given by their confidences, and ones with ties."""

from __future__ import annotations

import numpy as np

from multical.metrics.readouts import Readout, softmax

RNG = np.random.default_rng


def make(rows: int = 200, options: int = 4, seed: int = 0, ragged: bool = False) -> Readout:
    """A random readout; with `ragged`, some questions have only two options."""
    rng = RNG(seed)
    scores = rng.normal(size=(rows, options)) * 2
    own = np.full(rows, options)
    if ragged:
        own[rng.random(rows) < 0.4] = 2
    scores[np.arange(options) >= own[:, None]] = np.nan
    p = softmax(scores)
    gold = (rng.random(rows) * own).astype(np.int64)
    gold = np.where(rng.random(rows) < 0.4, np.nanargmax(p, axis=1), gold)
    return Readout(np.nanmax(p, axis=1), np.nanargmax(p, axis=1) == gold, p, gold, True)


def simple(confidence: list[float] | np.ndarray, correct: list[int] | np.ndarray) -> Readout:
    return Readout(np.array(confidence, float), np.array(correct, bool), None, None, True)


def tied(rows: int = 200, seed: int = 1) -> Readout:
    rng = RNG(seed)
    confidence = rng.integers(0, 11, rows) / 10  # exact 0 and 1 among them
    return simple(confidence, rng.random(rows) < confidence)
