from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multical.errors import InputError
from multical.metrics.bootstrap import Bootstrap, around, around_biased, interval, recentred
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import Readout
from multical.metrics.resampling import replicates

QUESTIONS = [f"q{number}" for number in range(50)]


def test_a_replicate_draws_as_many_questions_as_there_are() -> None:
    counts = Bootstrap(QUESTIONS, 200, 0).counts(QUESTIONS)
    assert counts.shape == (200, 50)
    assert (counts.sum(axis=1) == 50).all()
    assert (counts >= 0).all()
    # Multinomial: mean 1, variance 1 - 1/Q, each over 10,000 counts.
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)


def test_counts_follow_the_question_not_the_row() -> None:
    bootstrap = Bootstrap(QUESTIONS, 20, 3)
    whole = bootstrap.counts(QUESTIONS)
    order = np.random.default_rng(1).permutation(50)
    shuffled = [QUESTIONS[index] for index in order]
    np.testing.assert_array_equal(bootstrap.counts(shuffled), whole[:, order])
    few = bootstrap.counts(["q7", "q49", "q7"])
    np.testing.assert_array_equal(few, whole[:, [7, 49, 7]])


def test_only_the_set_of_questions_and_the_seed_matter() -> None:
    once = Bootstrap(QUESTIONS, 20, 3).counts(QUESTIONS)
    # As of a benchmark with many languages and runs, in any order.
    again = Bootstrap([*reversed(QUESTIONS), *QUESTIONS * 3], 20, 3).counts(QUESTIONS)
    np.testing.assert_array_equal(once, again)
    more = Bootstrap(QUESTIONS, 30, 3).counts(QUESTIONS)
    np.testing.assert_array_equal(once, more[:20])
    assert (Bootstrap(QUESTIONS, 20, 4).counts(QUESTIONS) != once).any()


def test_counts_are_literal_resampling() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(50)
    correct = rng.random(50) < confidence
    readout = Readout(confidence, correct, None, None, True)
    counts = Bootstrap(QUESTIONS, 20, 0).counts(QUESTIONS)
    for name in ("ece", "ece_equal_mass", "auroc", "aurc"):
        draws = np.random.default_rng(0)
        sorted_rows = np.argsort(QUESTIONS)
        for replicate in METRICS[name](readout, counts, 15):
            rows = sorted_rows[draws.integers(50, size=50)]
            literal = Readout(confidence[rows], correct[rows], None, None, True)
            assert replicate == pytest.approx(METRICS[name](literal, None, 15)[0], abs=1e-12)


def test_interval_of_a_mean_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    readout = Readout(values, values > 0, None, None, False)
    questions = [f"q{number}" for number in range(400)]
    counts = Bootstrap(questions, 2000, 0).counts(questions)
    low, high = interval(METRICS["accuracy"](readout, counts, 15))
    share = (values > 0).mean()
    half = stats.norm.ppf(0.975) * np.sqrt(share * (1 - share) / 400)
    np.testing.assert_allclose([low, high], [share - half, share + half], atol=0.1 * half)


def test_interval_equals_numpy_and_is_elementwise() -> None:
    replicates = np.random.default_rng(0).normal(size=(101, 3))
    low, high = interval(replicates, 0.9)
    np.testing.assert_allclose(low, np.quantile(replicates, 0.05, axis=0), rtol=1e-12)
    np.testing.assert_allclose(high, np.quantile(replicates, 0.95, axis=0), rtol=1e-12)


def test_one_column_has_the_interval_that_it_has_among_others() -> None:
    """To the same bits, also where it is computed faster."""
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 50):
        for _ in range(40):
            values = rng.normal(size=count)
            odd = rng.permutation(count)[: rng.integers(count + 1)]
            values[odd] = rng.choice([np.nan, np.inf, -np.inf, 0.0])
            for alone, among in zip(interval(values), interval(values[:, None]), strict=True):
                np.testing.assert_array_equal(alone, among[0])


def test_undefined_replicates_do_not_count_and_infinite_ones_do() -> None:
    values = np.array([3.0, np.nan, 1.0, 2.0, np.nan])
    assert interval(values, 0.5) == (1.5, 2.5)
    infinite = np.array([1.0, 2.0, np.inf, np.inf, np.inf])
    assert interval(infinite, 0.5) == (2.0, np.inf)
    assert np.isnan(interval(np.full(4, np.nan))).all()
    assert np.isnan(interval(np.empty(0))).all()


MANY = 10**9  # questions, so that replicates are not spread


def test_recentred_replicates_have_the_estimate_as_mean() -> None:
    replicates = np.array([0.2, np.nan, 0.4, 0.6])
    np.testing.assert_allclose(recentred(replicates, 0.3, MANY), [0.1, np.nan, 0.3, 0.5])
    np.testing.assert_allclose(recentred(replicates, 0.1, MANY, (0, 1)), [0, np.nan, 0.1, 0.3])
    np.testing.assert_allclose(recentred(replicates, 0.9, MANY, (0, 1)), [0.7, np.nan, 0.9, 1])
    # of few questions, they spread as Student's t
    np.testing.assert_allclose(recentred(replicates, 0.3, 4), [-0.1, np.nan, 0.3, 0.7])
    np.testing.assert_allclose(recentred(replicates, 0.3, 1), [0.1, np.nan, 0.3, 0.5])
    drawn = np.random.default_rng(0).normal(0, np.sqrt(19 / 20), 100_000)
    spread = stats.t(19).std()
    assert recentred(drawn, 0.0, 20).std() == pytest.approx(spread, rel=0.01)


def test_what_is_not_finite_is_not_moved() -> None:
    infinite = np.array([1.0, 2.0, np.inf])
    np.testing.assert_array_equal(recentred(infinite, np.inf, 9), infinite)
    np.testing.assert_array_equal(recentred(infinite, 1.5, 9), infinite)
    np.testing.assert_array_equal(recentred(infinite[:2], np.nan, 9), infinite[:2])
    assert np.isnan(recentred(np.full(3, np.nan), 0.5, 9, (0, 1))).all()
    assert recentred(np.empty(0), 0.5, 9, (0, 1)).shape == (0,)


@pytest.mark.parametrize(
    ("name", "plain", "moved"), [("ece_equal_mass", 0.8, 0.9), ("auroc", 1, 0.9)]
)
def test_intervals_hold_their_value_and_what_they_are_of(
    name: str, plain: float, moved: float
) -> None:
    """Over 100 benchmarks of a calibrated model, where calibration errors are biased most."""
    metric, generator = METRICS[name], np.random.default_rng(0)
    counts = Bootstrap(QUESTIONS, 100, 0).counts(QUESTIONS)
    values, intervals = [], []
    for _ in range(100):
        confidence = generator.uniform(0.25, 1, len(QUESTIONS))
        correct = generator.random(len(QUESTIONS)) < confidence
        readout = Readout(confidence, correct, None, None, True)
        value = float(metric(readout, None, 15)[0])
        drawn = metric(readout, counts, 15)
        values.append(value)
        intervals.append(
            [interval(drawn), interval(recentred(drawn, value, len(QUESTIONS), metric.bounds))]
        )

    def held(targets: np.ndarray | float) -> np.ndarray:
        low, high = np.transpose(intervals, (2, 1, 0))  # each (plain or recentred, benchmarks)
        return ((low <= targets) & (targets <= high)).mean(axis=1)

    own, expected = held(np.array(values)), held(float(np.mean(values)))
    assert own[0] <= plain
    assert own[1] == 1
    assert expected[1] > moved


def test_an_interval_holds_its_estimate_however_skewed_the_replicates() -> None:
    piled = np.array([0.9] * 99 + [0.1])
    low, high = interval(recentred(piled, 0.8, 100, (0, 1)))
    assert 0.8 < low == high
    assert around(0.8, piled, 100, 0.95, (0, 1)) == (0.8, high)
    assert around(0.2, 1 - piled, 100, 0.95, (0, 1)) == (pytest.approx(1 - high), 0.2)
    even = np.random.default_rng(0).normal(size=200)
    assert around(0.3, even, 50, 0.9) == interval(recentred(even, 0.3, 50), 0.9)
    assert np.isnan(around(0.3, np.empty(0), 10, 0.95)).all()
    assert np.isnan(around(np.nan, np.full(3, np.nan), 10, 0.95)).all()


@pytest.mark.parametrize("languages", [1, 20])
@pytest.mark.parametrize("power", [1.0, 1.5, 2.5])
def test_an_interval_of_a_biased_level_covers(languages: int, power: float) -> None:
    """Of 100 questions in languages that share them (.06), of which each answers by chance.

    The recentred interval covers in 0 to 94 %, that of the basic bootstrap in 0 to 95 %.
    """
    generator, n, names = np.random.default_rng(7), 100, ["ece", "debiased_ece2"]
    questions = pd.Series([f"q{number:03d}" for number in range(n)])
    sample = Bootstrap(questions.to_list(), 100, 0).sample(questions)
    chance = 0.25 + 0.75 * (np.arange(1_000_000) + 0.5) / 1_000_000
    bins = pd.Series(chance ** (1 / power) - chance).groupby(np.floor(15 * chance ** (1 / power)))
    truth = bins.sum().abs().sum() / len(chance)
    held = []
    for _ in range(60):
        own, shared = generator.normal(size=(2, languages, n)), generator.normal(size=(2, 1, n))
        uniform = stats.norm.cdf(0.06**0.5 * shared + 0.94**0.5 * own)
        right = 0.25 + 0.75 * uniform[0]
        found = [
            replicates(Readout(*one, None, None, True), sample, names, 15)
            for one in zip(right ** (1 / power), uniform[1] < right, strict=True)
        ]
        ece, debiased = (np.mean([one[name] for one in found], axis=0) for name in names)
        low, high = around_biased(float(ece[-1]), ece[:-1], debiased, n, 0.95)
        held.append(low <= truth <= high)
        assert low <= ece[-1] <= high
    assert np.mean(held) >= 0.95 - 3 * (0.95 * 0.05 / 60) ** 0.5


def test_a_biased_level_without_replicates_has_no_interval() -> None:
    assert np.isnan(around_biased(0.3, np.empty(0), np.array([0.1]), 10, 0.95)).all()
    # replicates below the estimate do not move its lower end up
    low, high = around_biased(0.3, np.full(9, 0.2), np.full(10, 0.09), 10, 0.95)
    assert low == 0.3
    assert high == pytest.approx(0.4)


def test_one_question() -> None:
    assert Bootstrap(["q"], 3, 0).counts(["q"]).tolist() == [[1], [1], [1]]


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="0 questions"):
        Bootstrap([], 10, 0)
    with pytest.raises(InputError, match="-1 replicates"):
        Bootstrap(["q"], -1, 0)
    for name in ("a", "q33x", "zz"):
        with pytest.raises(InputError, match=f"found question '{name}', expected one of its own"):
            Bootstrap(QUESTIONS, 2, 0).counts(["q1", name])
    with pytest.raises(InputError, match=r"level 1.5"):
        interval(np.zeros(3), 1.5)
