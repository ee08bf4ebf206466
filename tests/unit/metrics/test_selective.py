"""Trivial orders of answers: constant and perfect confidences, and all orders there are."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from multical.metrics.definitions import METRICS
from multical.metrics.readouts import Readout
from multical.metrics.selective import baselines


def area(metric: str, confidence: np.ndarray, correct: np.ndarray) -> float:
    readout = Readout(confidence, correct, None, None, True)
    return float(METRICS[metric](readout, None, 15)[0])


@pytest.mark.parametrize("metric", ["aurc", "augrc"])
@pytest.mark.parametrize(("questions", "wrong"), [(1, 0), (1, 1), (7, 3), (20, 20), (1000, 321)])
def test_constant_and_perfect_confidences(metric: str, questions: int, wrong: int) -> None:
    correct = np.arange(questions) >= wrong
    found = baselines(questions, wrong)
    says_nothing = area(metric, np.full(questions, 0.5), correct)
    assert found[f"{metric}_random"] == pytest.approx(says_nothing, abs=1e-12)
    best = area(metric, correct * 0.5 + np.linspace(0, 0.1, questions), correct)
    assert found[f"{metric}_oracle"] == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("metric", ["aurc", "augrc"])
def test_all_orders(metric: str) -> None:
    """The random baseline is the mean over all orders of 6 answers, the oracle the lowest."""
    confidence = np.linspace(0.1, 0.9, 6)
    correct = np.array([True, True, True, True, False, False])
    areas = [area(metric, confidence, correct[list(order)]) for order in permutations(range(6))]
    found = baselines(6, 2)
    assert np.mean(areas) == pytest.approx(found[f"{metric}_random"])
    assert np.min(areas) == pytest.approx(found[f"{metric}_oracle"])


def test_very_many_questions_and_arrays() -> None:
    found = baselines(np.array([10**6, 10]), np.array([300_000, np.nan]))
    limit = 0.3 + 0.7 * np.log(0.7)
    assert found["aurc_oracle"][0] == pytest.approx(limit, abs=1e-6)
    assert all(np.isnan(values[1]) for values in found.values())
