"""Statistics and abstention of paper 2, against plain definitions and other libraries."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from multical.errors import InputError
from multical.metrics import abstention, correctness, definitions, lines
from multical.metrics.abstention import Ranked
from multical.metrics.readouts import Floats, Readout


def readout(confidence: Floats, correct: np.ndarray) -> Readout:
    return Readout(confidence, correct, None, None, False)


def answers(seed: int, size: int = 300, ties: bool = False) -> tuple[Floats, np.ndarray]:
    rng = np.random.default_rng(seed)
    confidence = rng.random(size)
    correct = rng.random(size) < confidence
    return (np.round(confidence, 1) if ties else confidence), correct


@pytest.mark.parametrize("ties", [False, True])
def test_mann_whitney_is_auroc_times_pairs(ties: bool) -> None:
    confidence, correct = answers(1, ties=ties)
    u, p = correctness.mann_whitney(readout(confidence, correct))
    pairs = correct.sum() * (~correct).sum()
    assert u == pytest.approx(pairs * roc_auc_score(correct, confidence))
    assert u == pytest.approx(pairs * definitions.auroc(readout(confidence, correct))[0])
    assert p == stats.mannwhitneyu(confidence[correct], confidence[~correct]).pvalue


@pytest.mark.parametrize("right", [True, False])
def test_mann_whitney_of_one_kind_is_undefined(right: bool) -> None:
    assert np.isnan(correctness.mann_whitney(readout(np.arange(5.0), np.full(5, right)))).all()


def test_least_squares_is_the_textbook_line() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 12))
    x[3] = np.nan
    known = ~np.isnan(x)
    line = lines.least_squares(x, y)
    slope, intercept = np.polyfit(x[known], y[known], 1)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
    residual = y[known] - slope * x[known] - intercept
    assert line.r**2 == pytest.approx(1 - residual.var() / y[known].var())
    assert line.p == pytest.approx(stats.pearsonr(x[known], y[known]).pvalue)
    assert line.n == 11
    fit = stats.linregress(x[known], y[known])
    of_scipy = (fit.slope, fit.intercept, fit.rvalue, fit.pvalue)
    assert (line.slope, line.intercept, line.r, line.p) == of_scipy
    assert lines.least_squares(y[known][:5], 2 * y[known][:5] + 1).p < 1e-12
    for few in (np.array([1.0, 2.0, 2.0, 1.0]), np.array([3.0, 3.0, 3.0]), np.full(4, np.nan)):
        assert np.isnan(lines.least_squares(few, few).r)


def test_one_sample_takes_wilcoxon_for_aurocs_and_t_for_standard_normal_values() -> None:
    found = correctness.one_sample([0.6, 0.7, 0.8, 0.55, 0.52])
    assert (found.test, found.statistic, found.p) == ("wilcoxon", 15.0, 1 / 32)
    values = stats.norm.ppf(np.arange(1, 30) / 30).tolist()
    assert correctness.one_sample(values).test == "t"
    assert correctness.one_sample([0.5]).test == ""


def test_platt_scaling_is_the_optimum_of_the_regularised_likelihood() -> None:
    score, correct = answers(2)
    logit = 3 * score + 20  # far from the origin and of another scale
    fit = correctness.fit_platt(logit, correct)
    right, wrong = correct.sum(), (~correct).sum()
    target = np.where(correct, (right + 1) / (right + 2), 1 / (wrong + 2))
    error = fit(logit) - target  # the gradient is zero where these are orthogonal to 1 and s
    assert error.sum() == pytest.approx(0, abs=1e-5)
    assert (error * logit).sum() == pytest.approx(0, abs=1e-4)
    assert np.corrcoef(fit(logit), score)[0, 1] > 0.9


@pytest.mark.parametrize("correct", [[True] * 4, [False] * 4, [True, False, True, False]])
def test_platt_scaling_without_anything_to_learn_is_flat(correct: list[bool]) -> None:
    fit = correctness.fit_platt(np.full(4, 7.0), np.array(correct))
    assert fit.a == 0
    assert 0 < fit(np.array([0.0]))[0] < 1
    with pytest.raises(InputError, match="Platt"):
        correctness.fit_platt(np.array([]), np.array([]))


def test_a_perfectly_separated_fit_is_finite() -> None:
    fit = correctness.fit_platt(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    assert np.isfinite([fit.a, fit.b]).all()
    assert (np.diff(fit(np.array([0.1, 0.5, 0.9]))) > 0).all()


def test_files_are_read_by_name() -> None:
    number = np.array([0, 499, 500, 1000, 0, 5999])
    prompt = ["first", "first", "first", "first", "second", "first"]
    # q0to500 first, second; q1000to1500; q500to1000; q5500to6000
    names = ["q0to500_f", "q0to500_f", "q500to1000_f", "q1000to1500_f", "q0to500_s", "q5500to6000"]
    expected = sorted(range(6), key=lambda i: (names[i], number[i]))
    assert abstention.file_order(number, prompt).tolist() == expected


def test_the_split_is_that_of_a_shuffled_list() -> None:
    items = list("abcdefghij")
    random.seed(2549900867)
    shuffled = items.copy()
    random.shuffle(shuffled)
    order = abstention.permutation(10, 2549900867)
    assert [items[i] for i in order] == shuffled


def plain_score(confidence: Floats, correct: np.ndarray, threshold: float, penalty: int) -> float:
    """The definition, question by question."""
    total = 0
    for sure, right in zip(confidence, correct, strict=True):
        if sure >= threshold:
            total += 1 if right else -penalty
    return 100 * (total / len(correct))


@pytest.mark.parametrize("penalty", [1, 2])
@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_the_definition(penalty: int, ties: bool) -> None:
    confidence, correct = answers(3, 80, ties)
    points = np.concatenate([[-np.inf, 0.0, 0.5, 1.0, np.inf], confidence[:20]])
    counts = Ranked(confidence, correct).counts(points)
    expected = [plain_score(confidence, correct, point, penalty) for point in points]
    assert abstention.scores(counts, penalty).tolist() == expected
    share = [100 * np.mean(confidence < point) for point in points]
    assert abstention.abstained(counts) == pytest.approx(share)


def test_the_first_best_threshold_wins_over_all_data_sets() -> None:
    parts = [answers(seed, 20) for seed in (4, 5, 6)]
    ranked = [Ranked(*part) for part in parts]
    points = abstention.grid(ranked)
    chosen = abstention.choose(np.array([part.counts(points) for part in ranked]), points, 2)
    table = [np.mean([plain_score(*part, point, 2) for part in parts]) for point in points]
    assert chosen == points[int(np.argmax(table))]
    all_right = Ranked(np.array([0.4, 0.6]), np.array([True, True]))
    points = abstention.grid([all_right])
    assert abstention.choose(all_right.counts(points)[None], points, 1) == -abstention.MARGIN


def test_grids() -> None:
    logits = Ranked(np.array([-2.0, 30.0]), np.array([True, False]))
    assert len(abstention.grid([logits])) == 201
    assert abstention.grid([logits])[0] == -abstention.MARGIN
    v4 = abstention.grid([logits], "min")
    assert (len(v4), v4[0], v4[-1]) == (200, -2.0 - abstention.MARGIN, 30.0)
    msp = Ranked(np.array([0.5, 0.995]), np.array([True, False]))
    assert (abstention.grid([msp]) >= 0.99).sum() == 100 + 1
    assert len(abstention.grid([Ranked(np.array([0.9]), np.array([True]))])) == 201


def test_training_sizes() -> None:
    assert abstention.training_size("half", 11) == 5
    assert abstention.training_size(10, 11) == 10
    for k, size in ((11, 11), (0, 5), ("half", 1)):
        with pytest.raises(InputError, match="abstention"):
            abstention.training_size(k, size)


def plain_calibration_error(confidence: Floats, correct: np.ndarray, bins: int) -> float:
    """Paper 2's definition, answer by answer: half-open bins, empty ones dropped."""
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1))
    edges[0], edges[-1] = 0, 1
    gaps = []
    for low, high in itertools.pairwise(edges):
        inside = (low <= confidence) & (confidence < high)
        if inside.any():
            gaps.append(abs(correct[inside].mean() - confidence[inside].mean()))
    return float(np.mean(gaps))


@pytest.mark.parametrize("sure", [0, 30, 150])
def test_a_confidence_of_one_falls_in_no_half_open_bin(sure: int) -> None:
    confidence, correct = answers(7, 400)
    confidence[:sure] = 1.0
    found = definitions.calibration_error(
        confidence, correct, bins=10, scheme="equal_mass", weighting="uniform", closed=False
    )
    assert found[0] == pytest.approx(plain_calibration_error(confidence, correct, 10))
