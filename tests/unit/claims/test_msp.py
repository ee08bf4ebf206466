"""The tests of paper 2's claims keep their level, also if answers are not independent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from multical.claims import judge, msp
from multical.claims.params import AnswerClaims
from multical.claims.schema import Auroc, Correlation
from multical.metrics import definitions
from multical.metrics.params import Bootstrap
from multical.metrics.readouts import Floats
from support.claim_data import CLAIMS

QUESTIONS, REPEATS = 104, 12
Answered = tuple[Floats, np.ndarray, np.ndarray]


def answered(generator: np.random.Generator, correlation: float, gap: float) -> Answered:
    """Confidence, correctness and question of answers whose true error is `gap` in each bin."""

    def correlated() -> Floats:
        shared = generator.normal(size=(QUESTIONS, 1)) * correlation**0.5
        single = generator.normal(size=(QUESTIONS, REPEATS)) * (1 - correlation) ** 0.5
        return np.asarray(special.ndtr(shared + single).ravel())

    confidence = 0.3 + 0.65 * correlated()
    question = np.repeat(np.arange(QUESTIONS).astype(str), REPEATS)
    return confidence, correlated() < confidence - gap, question


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_repeats_of_a_question_do_not_raise_the_level(correlation: float) -> None:
    """Simulated answers that are independent reject a calibrated model in .24 (.5), .74 (.9)."""
    generator, sets = np.random.default_rng(0), 200
    chance, beyond, below = np.zeros((3, sets), bool)
    for place in range(sets):
        answers = answered(generator, correlation, 0.0)
        error, by_chance, _ = msp.errors(*answers, 10, 200, generator)
        chance[place] = judge.tail(by_chance, error, "below") < 0.05
        found = msp.errors(*answered(generator, correlation, 0.05), 10, 200, generator)
        test = msp.error_test("a", *found, 0.05, 0.05)  # the truth is at the threshold
        beyond[place], below[place] = test.p < 0.05, test.against < 0.05
    for rejected in (chance, beyond, below):
        assert rejected.mean() <= 0.10  # 0.05 + 3 standard errors of 200 sets


def test_a_large_error_is_found_and_a_small_one_is_contrary() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.3, 0.95, 20_000)
    question = np.arange(len(confidence)).astype(str)
    for gap, found in ((0.2, True), (0.0, False)):
        right = generator.random(len(confidence)) < confidence - gap
        error, by_chance, drawn = msp.errors(confidence, right, question, 10, 200, generator)
        plain = definitions.calibration_error(
            confidence, right, bins=10, weighting="uniform", **msp.DEFINITION
        )
        assert error == pytest.approx(plain[0], abs=1e-12)
        test = msp.error_test("a", error, by_chance, drawn, 0.05, 0.05)
        assert (test.p < 0.05, test.against < 0.05) == (found, not found)
        assert test.detectable is not None
        assert 0.05 < test.detectable < 0.07


def test_certain_answers_are_in_no_bin() -> None:
    """A confidence of 1, as in the authors' code."""
    confidence, right = np.array([0.5, 0.5, 1.0, 1.0]), np.array([True, False, True, False])
    question, generator = np.array(list("abcd")), np.random.default_rng(0)
    error, _, drawn = msp.errors(confidence, right, question, 2, 5, generator)
    assert error == 0
    assert set(drawn.round(12)) == {0.0, round(0.5**0.5, 12)}  # 2 answers: 0.5 x sqrt(2 / 1)
    assert np.isnan(msp.errors(confidence[2:], right[2:], question[2:], 2, 5, generator)[0])


def test_a_weak_model_that_is_always_wrong_does_not_count(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    table = pd.DataFrame({
        "dataset": "quiz", "model": ["good", "weak"], "prompt": "first", "method": "msp", "n": 100,
        "accuracy": [0.8, 0.0], "auroc": [0.9, np.nan], "p": [1e-6, np.nan],
    })  # fmt: skip
    path = tmp_path_factory.mktemp("cells") / "cells.csv"
    table.to_csv(path, index=False)
    part = CLAIMS.claims["P2"].parts[0]
    assert isinstance(part, Auroc)
    params = AnswerClaims.model_construct(bootstrap=Bootstrap())
    found = msp.auroc(part, str(path), params, 0.05)
    assert [test.name for test in found.tests] == ["good, quiz, first"]
    assert [one.name for one in found.variants if one.name.startswith("accuracy of 0 or")] == []
    assert len(found.variants) == 4 + 3 + 4


def correlated(tmp_path: pytest.TempPathFactory, r: float, n: int, direction: str) -> judge.Test:
    table = pd.DataFrame({
        "dataset": ["all"] * 2, "prompt": [None, "first"], "x": "accuracy", "y": "msp_auroc",
        "r": [r, 0.0], "n": n,
    })  # fmt: skip
    path = tmp_path.mktemp("r") / "correlations.csv"
    table.to_csv(path, index=False)
    part = (
        CLAIMS.claims["P3"]
        .parts[0]
        .model_copy(
            update={"direction": direction, "threshold": 0.5 if direction == "absent" else 0.7}
        )
    )
    assert isinstance(part, Correlation)
    params = AnswerClaims.model_construct(bootstrap=Bootstrap())
    return msp.correlation(part, str(path), params, 0.05).tests[0]


@pytest.mark.parametrize(
    ("direction", "r", "n", "holds", "contrary"),
    [
        ("above", 0.9, 60, True, False),
        ("above", 0.83, 14, False, False),  # large, and yet not shown to be above 0.7
        ("above", 0.2, 60, False, True),
        ("absent", 0.0, 60, True, False),
        ("absent", 0.0, 10, False, False),  # too few models to show that
        ("absent", 0.45, 14, False, False),
        ("absent", 0.9, 60, False, True),
        ("absent", -0.9, 60, False, True),
    ],
)
def test_correlations(
    tmp_path_factory: pytest.TempPathFactory,
    direction: str, r: float, n: int, holds: bool, contrary: bool,
) -> None:  # fmt: skip
    test = correlated(tmp_path_factory, r, n, direction)
    assert (test.p < 0.05, test.against < 0.05) == (holds, contrary)


def test_correlations_at_the_threshold_are_rarely_found(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """14 models, normal: a true r of 0.7 is not above, one of 0.5 not absent."""
    generator, sets = np.random.default_rng(0), 400
    for direction, truth in (("above", 0.7), ("absent", 0.5)):
        x, noise = generator.normal(size=(2, sets, 14))
        y = truth * x + (1 - truth**2) ** 0.5 * noise
        found = [
            correlated(tmp_path_factory, float(stats.pearsonr(*pair)[0]), 14, direction).p < 0.05
            for pair in zip(x, y, strict=True)
        ]
        assert np.mean(found) <= 0.08  # 0.05 + 3 standard errors
