"""Temperatures of bootstrap samples: one fit after another, another optimiser, and coverage."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import optimize, special

from multical.metrics import temperatures
from multical.metrics.bootstrap import around, interval
from multical.metrics.readouts import Floats
from multical.metrics.recalibration import COLDEST, HOTTEST, Answers, fit_temperature, pooled
from multical.metrics.resampling import Sample, table
from multical.metrics.temperatures import fit_temperatures


def answers(
    rng: np.random.Generator, rows: int, power: float, spread: float = 1.5, options: int = 4,
    luck: Floats | None = None,
) -> Answers:  # fmt: skip
    """Answers whose temperature is `power`. Those with the same `luck` (rows, 1) go together."""
    scores = rng.normal(size=(rows, options)) * spread
    p = special.softmax(scores, axis=1)
    luck = rng.random((rows, 1)) if luck is None else luck
    gold = (p.cumsum(axis=1) < luck).sum(axis=1)
    return Answers(scores * power, np.minimum(gold, options - 1))


def drawn(rng: np.random.Generator, rows: int, replicates: int) -> np.ndarray:
    """Counts of a bootstrap, and of the rows themselves as the last sample."""
    counts = rng.multinomial(rows, np.full(rows, 1 / rows), size=replicates)
    return np.vstack([counts, np.ones_like(counts[:1])])


def one_by_one(parts: list[Answers], places: list[np.ndarray], counts: np.ndarray) -> list[float]:
    """`fit_temperature` of each sample's rows, written out as often as they occur."""
    return [
        fit_temperature(
            pooled([x.of(np.repeat(np.arange(len(at)), row[at]))
                    for x, at in zip(parts, places, strict=True) if row[at].any()])
        )
        for row in counts
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [3, 20, 400])
@pytest.mark.parametrize("power", [0.05, 0.5, 1.0, 5.0, 60.0])
def test_it_is_the_fit_of_each_sample(rows: int, power: float) -> None:
    rng = np.random.default_rng(rows)
    one, counts, places = answers(rng, rows, power), drawn(rng, rows, 60), np.arange(rows)
    found = fit_temperatures([one], [Sample(table(counts), places)])
    expected = np.array(one_by_one([one], [places], counts))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for end in (COLDEST, HOTTEST):
        np.testing.assert_array_equal(found == end, expected == end)


def test_another_optimiser_finds_the_same() -> None:
    rng = np.random.default_rng(1)
    one, counts = answers(rng, 80, 2.0), drawn(rng, 80, 25)
    found = fit_temperatures([one], [Sample(table(counts), np.arange(80))])

    def loss(log_temperature: float, row: np.ndarray) -> float:
        log_p = special.log_softmax(one.scores / np.exp(log_temperature), axis=1)
        return float(-row @ log_p[np.arange(80), one.gold])

    for row, temperature in zip(counts, found, strict=True):
        best = optimize.minimize_scalar(loss, (-1, 2), args=(row,), options={"xtol": 1e-10})
        assert temperature == pytest.approx(np.exp(best.x), rel=1e-4)


def test_languages_are_pooled_with_the_questions_that_each_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Languages with other numbers of options and questions, one twice, in any order."""
    rng = np.random.default_rng(2)
    counts, places = drawn(rng, 50, 30), [rng.permutation(50)[:40], np.array([7, 3, 3, 49])]
    parts = [answers(rng, 40, 2.0), answers(rng, 4, 0.7, options=2)]
    samples = [Sample(table(counts), at) for at in places]
    found = fit_temperatures(parts, samples)
    np.testing.assert_allclose(found, one_by_one(parts, places, counts), rtol=1e-4)
    monkeypatch.setattr(temperatures, "CHUNK", 100)
    monkeypatch.setattr(temperatures, "ROWS", 7)
    np.testing.assert_allclose(fit_temperatures(parts, samples), found, rtol=1e-9)


def test_awkward_samples() -> None:
    """All right, all wrong, only scores that are alike, and none; extreme scores; all of them."""
    scores = np.array([[0.0, -1.0], [0.0, -2.0], [3.0, 3.0], [0.0, -1e4]])
    counts = np.array([[1, 0, 0, 0], [0, 3, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 2]])
    sample = Sample(table(counts), np.arange(4))
    one = Answers(scores, np.array([0, 1, 0, 0]))
    expected = [COLDEST, HOTTEST, 1.0, np.nan, COLDEST]
    np.testing.assert_array_equal(fit_temperatures([one], [sample]), expected)
    alone = Sample(table(counts[:1]), np.arange(4))
    np.testing.assert_array_equal(fit_temperatures([one], [alone]), [COLDEST])


@cache
def coverage(
    simulations: int,
    rows: int,
    power: float,
    spread: float = 1.5,
    languages: int = 1,
    replicates: int = 199,
) -> dict[str, float]:
    """Shares of simulations whose intervals hold the true temperature.

    Languages have other scores and the same luck: a question is right in all of them or in none.
    `alone` draws the answers of each language independently.
    """
    rng = np.random.default_rng([rows, int(100 * power)])
    held = {"plain": 0, "recentred": 0, "alone": 0}
    for _ in range(simulations):
        luck = rng.random((rows, 1))
        parts = [answers(rng, rows, power, spread, luck=luck) for _ in range(languages)]
        counts = drawn(rng, rows, replicates)
        together = fit_temperatures(parts, [Sample(table(counts), np.arange(rows))] * languages)
        ends = {"plain": interval(together[:-1])}
        logs, bounds = np.log(together), tuple(np.log([COLDEST, HOTTEST]))
        low, high = np.exp(around(logs[-1], logs[:-1], rows, 0.95, (bounds[0], bounds[1])))
        ends["recentred"] = low, high
        if languages > 1:
            whole = pooled(parts)
            sample = Sample(
                table(drawn(rng, len(whole.gold), replicates)), np.arange(len(whole.gold))
            )
            ends["alone"] = interval(fit_temperatures([whole], [sample])[:-1])
        for name, (low, high) in ends.items():
            held[name] += bool(low <= power <= high)
    return {name: number / simulations for name, number in held.items()}


def test_an_interval_holds_the_true_temperature() -> None:
    assert 0.91 <= coverage(300, 100, 2.0)["plain"] <= 0.98


def test_languages_share_their_questions() -> None:
    """Intervals that draw questions hold the truth, those that draw answers seldom do."""
    held = coverage(300, 60, 2.0, languages=6)
    assert held["plain"] >= 0.9
    assert held["alone"] < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("rows", "simulations", "least"), [(20, 1000, 0.85), (100, 1000, 0.91), (1000, 300, 0.91)]
)
def test_intervals_hold_true_temperatures(
    rows: int, simulations: int, least: float, power: float
) -> None:
    assert least <= coverage(simulations, rows, power, replicates=500)["plain"] <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "least"), [(20, 0.9), (100, 0.92)])
def test_recentring_would_harm_models_whose_scores_say_little(rows: int, least: float) -> None:
    held = coverage(1000, rows, 2.0, spread=0.15, replicates=500)
    assert held["plain"] >= least
    assert held["recentred"] < 0.89
