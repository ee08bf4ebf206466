"""A change of sharpness alone is no change of calibration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multical.claims import changes, judge
from multical.metrics.bootstrap import Bootstrap, recentred
from multical.metrics.readouts import Floats, Readout
from multical.metrics.resampling import replicates

QUESTIONS, LANGUAGES, SETS = 104, 8, 60
NAMES = ["debiased_ece2", "ece", "rmsce"]


def calibrated(generator: np.random.Generator, sharpness: float) -> list[Readout]:
    """A calibrated run in all languages, its confidences drawn towards their mean."""
    chance = 0.625 + sharpness * generator.uniform(-0.375, 0.375, (LANGUAGES, QUESTIONS))
    right = generator.random(chance.shape) < chance
    return [Readout(*one, None, None, True) for one in zip(chance, right, strict=True)]


@pytest.fixture(scope="module")
def falls() -> dict[str, float]:
    """How often the one-sided test of the claims says that a metric falls, at 5 %."""
    questions = [f"q{number:03d}" for number in range(QUESTIONS)]
    draws = Bootstrap(questions, 200, 0)
    sample = draws.sample(pd.Series(questions))
    generator = np.random.default_rng(0)
    found = dict.fromkeys(NAMES, 0)
    for _ in range(SETS):
        before, after = (
            [replicates(one, sample, NAMES, 15) for one in calibrated(generator, sharpness)]
            for sharpness in (1.0, 0.2)
        )
        for name in NAMES:
            old, new = (np.mean([one[name] for one in side], axis=0) for side in (before, after))
            found[name] += fell(new - old)
    return {name: count / SETS for name, count in found.items()}


def fell(change: Floats) -> bool:
    return judge.tail(recentred(change[:-1], float(change[-1]), QUESTIONS), 0.0, "below") < 0.05


def test_the_debiased_error_keeps_its_level(falls: dict[str, float]) -> None:
    assert falls["debiased_ece2"] <= 0.13  # 0.05 + 3 standard errors


@pytest.mark.parametrize("metric", ["ece", "rmsce"])
def test_binned_errors_do_not(falls: dict[str, float], metric: str) -> None:
    assert falls[metric] > 0.9


@pytest.mark.parametrize(("trainings", "unit"), [(1, "languages"), (2, "pairs of language and ")])
def test_what_rises_is_counted_by_its_unit(
    monkeypatch: pytest.MonkeyPatch, trainings: int, unit: str
) -> None:
    monkeypatch.setattr(changes, "effect_test", lambda effect: {"p": abs(effect.value)})
    made: Any = [
        SimpleNamespace(by_language=[SimpleNamespace(value=value) for value in (0.001, 0.9, -0.5)])
    ] * trainings
    said = changes._counted(made, 0.05)
    assert said.startswith(f"rises in {2 * trainings} and falls in {trainings} of ")
    assert f" of {3 * trainings} {unit}" in said
    assert said.endswith(f", significantly in {trainings} and 0")
