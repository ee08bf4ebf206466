from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from multical.errors import InputError
from multical.metrics.definitions import (
    CHUNK,
    METRICS,
    Norm,
    Scheme,
    bin_sums,
    calibration_error,
    edges,
)
from multical.metrics.readouts import Readout
from support.readouts import make, simple, tied

RNG = np.random.default_rng
FLOATS: Any = np.ones((1, 1))


def value(name: str, readout: Readout, bins: int = 15) -> float:
    (number,) = METRICS[name](readout, None, bins)
    return float(number)


# The bins


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("bins", [1, 7, 15])
def test_calibration_error_equals_torchmetrics(norm: Norm, bins: int) -> None:
    readout = make()
    ours = calibration_error(readout.confidence, readout.correct, bins=bins, norm=norm)
    p, gold = torch.tensor(readout.probabilities), torch.tensor(readout.gold)
    theirs = multiclass_calibration_error(p, gold, num_classes=4, n_bins=bins, norm=norm)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # torchmetrics is float32 inside


def test_torchmetrics_agrees_on_edges_but_for_a_bin_of_its_own_at_one() -> None:
    confidence = np.array([0.0, 0.25, 0.25, 0.5, 0.75, 0.8])
    correct = np.array([0, 0, 1, 0, 1, 1])
    theirs = binary_calibration_error(torch.tensor(confidence), torch.tensor(correct), n_bins=4)
    np.testing.assert_allclose(calibration_error(confidence, correct, bins=4), theirs, rtol=1e-6)


def test_equal_width_bins_are_half_open_and_the_last_is_closed() -> None:
    confidence = np.array([0.0, 0.3, 0.6, 0.7, 0.9999, 1.0])  # 0.6 / 0.1 < 6 in floats
    mass, sure, right = bin_sums(confidence, confidence >= 0.6, bins=10)
    assert np.flatnonzero(mass[0]).tolist() == [0, 3, 6, 7, 9]
    assert mass[0, 9] == 2
    assert right[0, 9] == 2
    assert sure[0, 9] == pytest.approx(1.9999)
    assert bin_sums(confidence, confidence > 1, bins=10, closed=False)[0][0, 9] == 1
    assert edges(10).tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]


def by_quantiles(confidence: np.ndarray, correct: np.ndarray, bins: int = 10) -> float:
    """The calibration error of paper 2, as its definition reads."""
    cuts = np.quantile(confidence, np.linspace(0, 1, bins + 1))
    cuts[0], cuts[-1] = 0, 1
    gaps = []
    for low, high in itertools.pairwise(cuts):
        inside = (confidence >= low) & (confidence < high)
        if inside.any():
            gaps.append(abs(correct[inside].mean() - confidence[inside].mean()))
    return float(np.mean(gaps))


@pytest.mark.parametrize("rows", [1, 2, 5, 37, 1000, 1003])
@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_the_error_of_study_2_is_an_option(rows: int, decimals: int) -> None:
    rng = RNG(rows)
    confidence = np.round(rng.random(rows) * 0.9, decimals)
    confidence[1:][rng.random(rows - 1) < 0.2] = 1
    correct = rng.random(rows) < confidence
    ours = calibration_error(
        confidence, correct, bins=10, scheme="equal_mass", weighting="uniform", closed=False
    )
    assert ours == pytest.approx(by_quantiles(confidence, correct), abs=1e-12)


def test_a_confidence_of_one_can_fall_in_no_bin() -> None:
    schemes: tuple[Scheme, ...] = ("equal_width", "equal_mass")
    for scheme in schemes:
        error = calibration_error([1.0, 1.0], [1, 0], bins=10, scheme=scheme, closed=False)
        assert np.isnan(error).all()
        assert calibration_error([1.0, 1.0], [1, 0], bins=10, scheme=scheme) == 0.5


def test_equal_mass_bins_are_those_of_scikit_learn() -> None:
    rows = 1000  # so that no quantile falls on a row: edges are not shared
    confidence = RNG(3).random(rows)
    correct = RNG(4).random(rows) < confidence
    mass, sure, right = bin_sums(confidence, correct, bins=10, scheme="equal_mass")
    true, predicted = calibration_curve(correct, confidence, n_bins=10, strategy="quantile")
    assert mass.tolist() == [[100] * 10]
    np.testing.assert_allclose((right / mass)[0], true)
    np.testing.assert_allclose((sure / mass)[0], predicted)


def test_equal_confidences_share_a_bin_of_equal_mass() -> None:
    confidence = np.array([0.2] * 5 + [0.9] * 3)
    mass, _, _ = bin_sums(confidence, confidence > 0.5, bins=4, scheme="equal_mass")
    assert sorted(mass[0][mass[0] > 0]) == [3, 5]


# The debiased error


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_debiased_error_is_a_mean_over_pairs_of_rows(bins: int) -> None:
    readout = make(60)
    wrong = readout.confidence - readout.correct
    index = np.minimum((readout.confidence * bins).astype(int), bins - 1)
    total = 0.0
    for bin in range(bins):
        own = wrong[index == bin]
        pairs = [one * other for one, other in itertools.permutations(own, 2)]
        total += len(own) * float(np.mean(pairs)) if pairs else 0.0
    assert value("debiased_ece2", readout, bins) == pytest.approx(total / 60)


def test_the_debiased_error_is_the_bias_corrected_reliability_of_forecasts_in_bins() -> None:
    """Ferro and Fricker (2012), equation for REL': a term less per forecast, no pairs of rows."""
    readout = simple(np.repeat([0.25, 0.55, 0.95], [40, 10, 3]), RNG(0).random(53) < 0.6)
    expected = 0.0
    for forecast in (0.25, 0.55, 0.95):
        right = readout.correct[readout.confidence == forecast]
        m, share = len(right), right.mean()
        expected += m / 53 * ((forecast - share) ** 2 - share * (1 - share) / (m - 1))
    assert value("debiased_ece2", readout, 10) == pytest.approx(expected)


@pytest.mark.parametrize(("power", "bins"), [(1.0, 15), (1.5, 15), (3.0, 5)])
def test_the_debiased_error_has_no_bias_where_that_of_rms_is_large(power: float, bins: int) -> None:
    rng = RNG(5)
    chance = rng.uniform(0.25, 1, size=(4000, 200))
    stated = chance ** (1 / power)
    index = np.minimum((stated * bins).astype(int), bins - 1).ravel()
    mass = np.bincount(index, minlength=bins) / index.size
    gap = np.bincount(index, (stated - chance).ravel(), bins) / index.size
    truth = float((gap**2 / np.maximum(mass, 1e-300)).sum())
    found = []
    for sure, right in zip(stated[:600], rng.random((600, 200)) < chance[:600], strict=True):
        readout = simple(sure, right)
        found.append([value("debiased_ece2", readout, bins), value("rmsce", readout, bins) ** 2])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(600)
    assert mean[0] == pytest.approx(truth, abs=3 * error[0])
    assert mean[1] > truth + 4 * error[1]


def test_single_rows_have_no_pairs() -> None:
    assert value("debiased_ece2", simple([0.9], [0])) == 0
    assert value("debiased_ece2", simple([0.2, 0.9], [1, 0])) == 0
    assert value("debiased_ece2", simple([0.9, 0.9], [0, 0])) == pytest.approx(0.81)
    assert value("debiased_ece2", simple([0.9, 0.9], [1, 0])) == pytest.approx(-0.09)


# The resolution


def test_the_brier_score_of_the_answer_decomposes_where_bins_have_one_confidence() -> None:
    """Murphy's parts, and the debiased ones: both add up to the same score."""
    rng = RNG(2)
    confidence = rng.choice([0.25, 0.55, 0.65, 0.95], 80)
    readout = simple(confidence, rng.random(80) < confidence**2)
    score = np.mean((readout.confidence - readout.correct) ** 2)
    accuracy = readout.correct.mean()
    mass, sure, right = (sums[0] for sums in bin_sums(confidence, readout.correct, bins=10))
    filled = mass > 0
    mass, sure, right = mass[filled], sure[filled] / mass[filled], right[filled] / mass[filled]
    reliability = (mass * (sure - right) ** 2).sum() / 80
    between = (mass * (right - accuracy) ** 2).sum() / 80
    assert score == pytest.approx(reliability - between + accuracy * (1 - accuracy))
    debiased = value("debiased_ece2", readout, 10), value("resolution", readout, 10)
    assert score == pytest.approx(debiased[0] - debiased[1] + accuracy * (1 - accuracy) * 80 / 79)
    # Ferro and Fricker (2012), equation for RES'
    noise = (mass * right * (1 - right) / (mass - 1)).sum() / 80
    assert debiased[1] == pytest.approx(between - noise + accuracy * (1 - accuracy) / 79)
    assert debiased[1] < between


def test_the_resolution_has_no_bias() -> None:
    """All answers of 9 questions in 3 bins, each weighed by its probability."""
    confidence = np.array([0.2] * 2 + [0.5] * 3 + [0.9] * 4)

    def expected(chance: np.ndarray) -> tuple[float, float]:
        total = plain = 0.0
        for answers in itertools.product([0, 1], repeat=9):
            right = np.array(answers)
            weight = np.where(right == 1, chance, 1 - chance).prod()
            total += weight * value("resolution", simple(confidence, right), 10)
            share = np.repeat([right[:2].mean(), right[2:5].mean(), right[5:].mean()], [2, 3, 4])
            plain += weight * share.var()
        return total, plain

    for chances in ([0.4, 0.4, 0.4], [0.1, 0.6, 0.8]):
        chance = np.repeat(chances, [2, 3, 4])
        # Pairs of questions of the whole: given the bins, they are not independent of them.
        pairs = (chance.sum() ** 2 - (chance**2).sum()) / 72
        debiased, plain = expected(chance)
        assert debiased == pytest.approx((chance**2).mean() - pairs)
        assert plain > chance.var() + 0.03
    assert expected(np.full(9, 0.4))[0] == pytest.approx(0)


def test_the_resolution_of_drawn_questions_has_no_bias() -> None:
    rng, found = RNG(3), []
    levels, chances = np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.4, 0.8])
    for _ in range(3000):
        kind = rng.integers(0, 3, 30)
        readout = simple(levels[kind], rng.random(30) < chances[kind])
        found.append(value("resolution", readout, 10))
    error = np.std(found) / np.sqrt(3000)
    assert np.mean(found) == pytest.approx(chances.var(), abs=3 * error)
    assert error < chances.var() / 20


def test_the_resolution_of_single_rows_and_of_one_bin_is_zero() -> None:
    assert value("resolution", simple([0.9], [1])) == 0
    assert value("resolution", simple([0.2, 0.9], [0, 1])) == 0
    assert value("resolution", make(), 1) == pytest.approx(0, abs=1e-15)


# The smooth error


def smoothed(readout: Readout, sigma: float) -> float:
    """smECE_sigma by direct quadrature: a Gaussian at each row and at its mirror images."""
    places = (np.arange(4000) + 0.5) / 4000
    total = np.zeros(4000)
    rows = zip(readout.confidence, readout.confidence - readout.correct, strict=True)
    for confidence, residual in rows:
        images = [2 * turn + sign * confidence for turn in range(-3, 4) for sign in (1, -1)]
        distance = (places[:, None] - images) / sigma
        total += residual * np.exp(-(distance**2) / 2).sum(axis=1)
    density = total / (len(readout.correct) * sigma * np.sqrt(2 * np.pi))
    return float(np.abs(density).mean())


@pytest.mark.parametrize(
    "readout",
    [make(30), make(150), tied(80), simple([0.3], [1]), simple([0.01, 0.99, 0.5], [1, 0, 1]),
     simple(np.linspace(0.3, 1, 200), RNG(8).random(200) < np.linspace(0.3, 1, 200))],
)  # fmt: skip
def test_the_smooth_error_is_the_width_that_equals_its_error(readout: Readout) -> None:
    found = value("smece", readout)
    # The error falls as the width rises, so the fixed point lies between these two.
    assert smoothed(readout, found - 1e-3) > found - 1e-3
    assert smoothed(readout, found + 1e-3) < found + 1e-3


def test_the_smooth_error_of_one_confidence_is_its_gap() -> None:
    """All residuals lie in one place, and a kernel does not change their sum."""
    for sure, right in ((0.5, 9), (0.9, 3), (1.0, 0), (0.0, 10)):
        readout = simple(np.full(10, sure), np.arange(10) < right)
        assert value("smece", readout) == pytest.approx(abs(sure - right / 10), abs=1e-12)


def test_the_smooth_error_of_calibrated_answers_goes_to_zero() -> None:
    errors = []
    for rows in (100, 3000, 100_000):
        chance = RNG(rows).uniform(0.25, 1, rows)
        errors.append(value("smece", simple(chance, RNG(9).random(rows) < chance)))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.01


# Scores of distributions


def test_proper_scores_equal_scikit_learn() -> None:
    readout = make()
    labels = list(range(4))
    assert value("brier", readout) == pytest.approx(
        brier_score_loss(readout.gold, readout.probabilities, labels=labels, scale_by_half=False)
    )
    assert value("nll", readout) == pytest.approx(
        log_loss(readout.gold, readout.probabilities, labels=labels)
    )


def test_entropy_of_even_and_of_certain_distributions() -> None:
    for options in (2, 4, 10):
        p = np.full((3, options), 1 / options)
        p[2] = np.eye(options)[0]
        readout = Readout(p.max(axis=1), np.ones(3, bool), p, np.zeros(3, np.int64), True)
        assert value("entropy", readout) == pytest.approx(np.log(options) * 2 / 3)


def test_nll_of_an_impossible_right_option_is_infinite_where_it_occurs() -> None:
    p = np.array([[1.0, 0.0], [0.5, 0.5]])
    readout = Readout(p.max(axis=1), np.array([False, True]), p, np.array([1, 0]), True)
    counts = np.array([[1, 1], [0, 2]])
    assert METRICS["nll"](readout, counts, 15).tolist() == [np.inf, np.log(2)]


def one_ece(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    total = 0.0
    for index in range(bins):
        inside = [
            row
            for row, c in enumerate(confidence)
            if index / bins <= c and (c < (index + 1) / bins or index == bins - 1)
        ]
        if inside:
            total += abs(correct[inside].sum() - confidence[inside].sum())
    return total / len(confidence)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("options", [2, 4, 10])
def test_classwise_and_all_options_against_loops(options: int, ragged: bool) -> None:
    readout = make(90, options, seed=options, ragged=ragged)
    p, gold = readout.probabilities, readout.gold
    assert p is not None
    assert gold is not None
    columns = [(p[~np.isnan(p[:, k]), k], (gold == k)[~np.isnan(p[:, k])]) for k in range(options)]
    each = [one_ece(confidence, right, 15) for confidence, right in columns]
    assert value("ece_classwise", readout) == pytest.approx(np.mean(each))
    pooled = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    assert value("ece_all", readout) == pytest.approx(one_ece(pooled[0], pooled[1], 15))


def test_an_option_that_a_sample_lacks_drops_out() -> None:
    p = np.array([[0.7, 0.3, np.nan], [0.2, 0.2, 0.6]])
    readout = Readout(np.array([0.7, 0.6]), np.array([True, False]), p, np.array([0, 1]), True)
    both, two = METRICS["ece_classwise"](readout, np.array([[1, 1], [2, 0]]), 15)
    assert two == pytest.approx(0.3)
    assert both == pytest.approx(((0.3 + 0.2) / 2 + (0.3 + 0.8) / 2 + 0.6) / 3)


# Ranking


@pytest.mark.parametrize("readout", [make(), tied()], ids=["random", "tied"])
def test_auroc_equals_scikit_learn(readout: Readout) -> None:
    expected = roc_auc_score(readout.correct, readout.confidence)
    assert value("auroc", readout) == pytest.approx(expected, abs=1e-12)


def test_auroc_needs_right_and_wrong_answers() -> None:
    assert np.isnan(value("auroc", simple([0.2, 0.9], [1, 1])))
    assert np.isnan(value("auroc", simple([0.2, 0.9], [0, 0])))
    assert value("auroc", simple([0.5, 0.5], [1, 0])) == 0.5


def one_aurc(correct: np.ndarray) -> float:
    wrong, risks = 0, []
    for covered, right in enumerate(correct, start=1):
        wrong += not right
        risks.append(wrong / covered)
    return float(np.mean(risks))


def test_aurc_equals_a_loop_where_nothing_is_tied() -> None:
    readout = make()
    order = np.argsort(-readout.confidence)
    assert value("aurc", readout) == pytest.approx(one_aurc(readout.correct[order]))


def test_aurc_averages_over_the_orders_of_equals() -> None:
    readout = tied(40)
    rng, values = RNG(0), []
    for _ in range(4000):
        shuffled = rng.permutation(40)
        order = shuffled[np.argsort(-readout.confidence[shuffled], kind="stable")]
        values.append(one_aurc(readout.correct[order]))
    error = 4 * np.std(values) / np.sqrt(len(values))
    assert value("aurc", readout) == pytest.approx(np.mean(values), abs=error)
    exact = (one_aurc(np.array([1, 0])) + one_aurc(np.array([0, 1]))) / 2
    assert value("aurc", simple([0.5, 0.5], [1, 0])) == pytest.approx(exact)


def test_augrc_is_the_area_under_its_curve() -> None:
    """Wrong answers among all questions, as more of these are answered: trapezoids."""
    readout = make(300)
    order = np.argsort(-readout.confidence)
    curve = np.append(0, np.cumsum(~readout.correct[order])) / 300
    assert value("augrc", readout) == pytest.approx(np.trapezoid(curve, dx=1 / 300))
    accuracy, auroc = value("accuracy", readout), value("auroc", readout)
    closed = (1 - auroc) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2
    assert value("augrc", readout) == pytest.approx(closed)
    assert value("augrc", simple([0.5, 0.5, 0.5, 0.5], [1, 1, 1, 0])) == pytest.approx(1 / 8)
    assert value("augrc", simple([0.1, 0.5], [1, 1])) == 0
    assert value("augrc", simple([0.1, 0.5], [0, 0])) == 0.5


def test_aurc_of_all_right_and_all_wrong() -> None:
    assert value("aurc", simple([0.1, 0.5, 0.5], [1, 1, 1])) == 0
    assert value("aurc", simple([0.1, 0.5, 0.5], [0, 0, 0])) == pytest.approx(1)


# All of them


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("readout", [make(60), make(60, 10, 2, True)], ids=["four", "ragged"])
def test_counts_equal_rows_written_out(name: str, readout: Readout) -> None:
    counts = RNG(5).integers(0, 4, size=(6, 60))
    for row, metric in zip(counts, METRICS[name](readout, counts, 15), strict=True):
        again = np.repeat(np.arange(60), row)
        assert readout.probabilities is not None
        assert readout.gold is not None
        literal = Readout(
            readout.confidence[again],
            readout.correct[again],
            readout.probabilities[again],
            readout.gold[again],
            True,
        )
        assert metric == pytest.approx(value(name, literal), abs=1e-12)


@pytest.mark.parametrize("name", [name for name, m in METRICS.items() if m.needs != "distribution"])
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    readout = tied()
    order = RNG(6).permutation(200)
    shuffled = simple(readout.confidence[order], readout.correct[order])
    assert value(name, readout) == pytest.approx(value(name, shuffled), abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_sample_without_rows_is_nan(name: str) -> None:
    counts = np.zeros((2, 200), int)
    counts[1] = 1
    empty, full = METRICS[name](make(), counts, 15)
    assert np.isnan(empty)
    assert full == pytest.approx(value(name, make()), abs=1e-12)


def test_chunks_change_nothing() -> None:
    readout = make(CHUNK // 4)
    counts = RNG(7).integers(0, 3, size=(9, CHUNK // 4)).astype(np.int8)
    for name in ("ece", "aurc"):
        whole = METRICS[name].function(readout, counts)
        np.testing.assert_allclose(METRICS[name](readout, counts, 15), whole, rtol=1e-12)


def test_small_counts_do_not_overflow() -> None:
    readout = simple(np.linspace(0.01, 0.99, 1000), np.arange(1000) % 3 > 0)
    for name in ("ece_equal_mass", "auroc", "aurc", "accuracy"):
        narrow = METRICS[name](readout, np.ones((1, 1000), np.int8), 15)
        assert narrow == pytest.approx(value(name, readout), abs=1e-12)


@pytest.mark.parametrize(
    ("confidence", "correct", "error"),
    [
        ([1.0, 1.0], [1, 1], 0.0),
        ([1.0, 1.0], [0, 0], 1.0),
        ([0.0, 0.0], [0, 0], 0.0),
        ([0.75], [1], 0.25),
        ([0.5, 0.5, 0.5, 0.5], [1, 1, 1, 0], 0.25),
    ],
)
@pytest.mark.parametrize("name", ["ece", "ece_equal_mass", "rmsce", "mce"])
@pytest.mark.parametrize("bins", [1, 15])
def test_awkward_inputs(
    name: str, bins: int, confidence: list[float], correct: list[int], error: float
) -> None:
    assert value(name, simple(confidence, correct), bins) == pytest.approx(error)


def test_one_bin_is_the_absolute_gap() -> None:
    readout = make()
    for name in ("ece", "ece_equal_mass", "rmsce", "mce"):
        assert value(name, readout, 1) == pytest.approx(abs(value("gap", readout)))


def test_what_a_readout_lacks_does_not_apply() -> None:
    right = np.array([True, False])
    logit = Readout(np.array([9.0, 3.0]), right, None, None, False)
    names = [name for name, metric in METRICS.items() if metric.applies(logit)]
    assert names == ["accuracy", "uncertainty", "auroc", "aurc", "augrc"]
    released = simple([0.2, 0.9], [0, 1])
    assert not METRICS["brier"].applies(released)
    assert METRICS["ece"].applies(released)
    with pytest.raises(InputError, match="no distribution"):
        value("brier", released)
    with pytest.raises(InputError, match=r"row 0: 9.0"):
        value("ece", logit)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration_error([0.5, np.nan], [1, 0]), "row 1: nan"),
        (lambda: calibration_error([], []), "no rows"),
        (lambda: calibration_error([0.5], [1, 0]), "one value per row"),
        (lambda: calibration_error([0.5], [1], bins=0), "bins: 0"),
        (lambda: calibration_error([0.5], [1], np.ones((1, 2), int)), r"\(1, 2\)"),
        (lambda: METRICS["ece"](make(1), FLOATS, 15), "float64"),
        (lambda: calibration_error([0.5], [1], -np.ones((1, 1), int)), "-1, expected 0 or more"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
