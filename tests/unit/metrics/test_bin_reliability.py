"""Points of reliability diagrams: how bins are joined, and whether their bands hold the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special
from statsmodels.stats.proportion import proportion_confint

import bin_reliability
from multical.metrics.bands import band
from multical.stats.blocks import Block
from multical.stats.params import Reliability

RNG = np.random.default_rng


def joined(sizes: list[int], least: int) -> list[int]:
    index = np.repeat(np.arange(len(sizes)), sizes)
    points = bin_reliability.points(index, np.arange(len(index)), len(sizes), least)
    return [int(point) for point in points]


@pytest.mark.parametrize(
    ("sizes", "least", "expected"),
    [
        ([5, 5, 5], 5, [0, 1, 2]),
        ([0, 2, 3, 9, 1, 0], 5, [0, 0, 0, 1, 1, 1]),  # the rest joins the point before it
        ([4, 0, 4, 2, 20], 5, [0, 0, 0, 1, 1]),
        ([1, 0, 2], 5, [0, 0, 0]),  # fewer in all than a point needs
        ([7, 0, 0], 5, [0, 0, 0]),
        ([1, 1, 0], 1, [0, 1, 1]),
        ([3], 5, [0]),
    ],
)
def test_neighbouring_bins_join_until_they_have_enough_questions(
    sizes: list[int], least: int, expected: list[int]
) -> None:
    assert joined(sizes, least) == expected


def test_a_question_in_several_languages_counts_once() -> None:
    index, question = np.repeat([0, 1, 2], 6), np.repeat([0, 1, 1, 1, 2, 3], 3)
    assert bin_reliability.points(index, question, 3, 2).tolist() == [0, 1, 1]
    assert bin_reliability.points(index, question, 3, 3).tolist() == [0, 0, 0]


def test_rows_of_a_point_share_its_numbers() -> None:
    rng = RNG(0)
    confidence = rng.uniform(0.3, 1, 40)
    answered = pd.DataFrame(
        {
            "question": [f"q{number:02d}" for number in range(40)],
            "confidence": confidence,
            "right": (rng.random(40) < confidence).astype(float),
        }
    )
    settings: dict[str, Any] = {"readouts": ["letter"], "bins": 10, "resource_levels": {}}
    params = Reliability(**settings)
    table = pd.DataFrame(bin_reliability.rows(answered, Block({}, {}), "letter", params))
    point = table["point"].to_numpy()[(confidence * 10).astype(int)]
    assert table["n"].sum() == 40
    assert len(np.unique(point)) > 1
    for number, rows in table.groupby("point"):
        own = answered[point == number]
        assert rows["n"].sum() == len(own) >= params.least
        low, high = proportion_confint(own["right"].sum(), len(own), method="wilson")
        expected = [own["confidence"].mean(), own["right"].mean(), low, high]
        for row in rows.filter(like="point_").to_numpy():
            assert row.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_answers_that_are_all_alike_count_as_questions(right: float) -> None:
    """20 languages say no more than one, if all of them answer all 12 questions alike."""
    many = band(np.full(240, right), np.tile(np.arange(12), 20))
    assert many == band(np.full(12, right), np.arange(12))
    assert many == pytest.approx(proportion_confint(12 * right, 12, method="wilson"))
    assert many[0] < right or right == 0
    one = band(np.array([right]), np.array([7]))
    assert one == pytest.approx(proportion_confint(right, 1, method="wilson"))


def test_languages_that_repeat_each_other_add_nothing() -> None:
    once = np.array([1.0] * 30 + [0.0] * 70)
    one = band(once, np.arange(100))
    same = band(np.tile(once, 20), np.tile(np.arange(100), 20))
    assert same == pytest.approx(one, abs=0.003)  # of the estimated variance


@pytest.mark.parametrize("questions", [30, 100])
@pytest.mark.parametrize("chance", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("languages", "correlation", "share"), [(1, 0.0, 1.0), (20, 0.3, 1.0), (20, 0.3, 0.4)]
)
def test_bands_hold_the_chance_of_right_answers(
    questions: int, chance: float, languages: int, correlation: float, share: float
) -> None:
    """Answers to a question are alike (a Gaussian copula), and a share of them is in the point."""
    rng, held, ignoring = RNG(questions), [], []
    for _ in range(800):
        shared, own = rng.normal(size=(1, questions)), rng.normal(size=(languages, questions))
        normal = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own
        inside = rng.random(normal.shape) < share
        question = np.broadcast_to(np.arange(questions), normal.shape)[inside]
        right = (normal < special.ndtri(chance))[inside].astype(float)
        low, high = band(right, question)
        held.append(low <= chance <= high)
        if languages > 1:
            low, high = proportion_confint(right.sum(), len(right), method="wilson")
            ignoring.append(low <= chance <= high)
    assert 0.92 <= np.mean(held) <= 0.98
    if languages > 1:
        assert np.mean(ignoring) < 0.9  # what the design effect mends
