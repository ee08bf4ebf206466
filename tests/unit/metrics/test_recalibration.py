"""Recalibration: known truths, other libraries, and what is awkward to fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

import compute_metrics
import compute_recalibration
from multical.errors import InputError
from multical.metrics import recalibration
from multical.metrics.bootstrap import Bootstrap
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import READOUTS, SCORES, option_scores
from multical.metrics.recalibration import METHODS, Answers, folds
from multical.stats.params import MetricsJob, RecalibrationJob
from support import forks
from support.synthetic import make_records, written

SCRIPT = Path(__file__).parents[3] / "scripts/compute_recalibration.py"
EVERY = pytest.mark.parametrize("method", METHODS)


def calibrated(rows: int, seed: int = 0, options: int = 4) -> Answers:
    """Answers whose right options are drawn from the softmax of their scores."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(rows, options)) * 1.5
    p = special.softmax(scores, axis=1)
    gold = (p.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    return Answers(scores, np.minimum(gold, options - 1))


# One fit


@pytest.mark.parametrize("power", [0.2, 1.0, 2.5, 20.0])
def test_a_known_temperature_is_found(power: float) -> None:
    answers = calibrated(20_000)
    hot = Answers(answers.scores * power + 7, answers.gold)
    assert recalibration.fit_temperature(hot) == pytest.approx(power, rel=0.03)


def test_questions_with_fewer_options_have_the_same_temperature() -> None:
    two, four = calibrated(20_000, 1, 2), calibrated(20_000, 2)
    both = recalibration.pooled([Answers(one.scores * 2.5, one.gold) for one in (two, four)])
    assert recalibration.fit_temperature(both) == pytest.approx(2.5, rel=0.03)


def test_the_temperature_is_that_of_torch() -> None:
    answers = calibrated(500, 1)
    scores = torch.tensor(answers.scores * 3)
    beta = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([beta], max_iter=200, tolerance_grad=1e-12)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(scores * beta, torch.tensor(answers.gold))
        value.backward()
        return value

    optimizer.step(loss)
    ours = recalibration.fit_temperature(Answers(answers.scores * 3, answers.gold))
    assert ours == pytest.approx(1 / beta.item(), rel=1e-6)


def test_the_temperature_of_two_options_in_closed_form() -> None:
    """Three of four answers are right, each by a margin of 2: sigmoid(2 / T) = 3 / 4."""
    scores = np.tile([0.0, -2.0], (8, 1))
    answers = Answers(scores, np.array([0, 0, 0, 1] * 2))
    assert recalibration.fit_temperature(answers) == pytest.approx(2 / np.log(3))


def test_platt_scaling_is_logistic_regression_on_the_logit() -> None:
    answers = calibrated(5000, 2)
    confidence, right = answers.readout.confidence, answers.readout.correct
    logit = special.logit(confidence)
    theirs = LogisticRegression(C=np.inf, tol=1e-8).fit(logit[:, None], right)
    ours = METHODS["platt"](answers)(answers).confidence
    # but for Platt's targets, which are not quite 0 and 1
    np.testing.assert_allclose(ours, theirs.predict_proba(logit[:, None])[:, 1], atol=1e-3)


def test_isotonic_regression_pools_what_is_out_of_order() -> None:
    scores = special.logit(np.array([0.6, 0.7, 0.8, 0.9]))[:, None] * [1, 0]
    answers = Answers(scores, np.array([0, 1, 0, 0]))  # right, wrong, right, right
    made = METHODS["isotonic"](answers)
    np.testing.assert_allclose(made(answers).confidence, [0.5, 0.5, 1, 1])
    beyond = Answers(
        special.logit(np.array([0.51, 0.75, 0.99]))[:, None] * [1, 0], np.zeros(3, int)
    )
    np.testing.assert_allclose(made(beyond).confidence, [0.5, 0.75, 1])


def test_isotonic_regression_is_that_of_scikit_learn_on_confidence() -> None:
    answers = calibrated(300, 3)
    readout = answers.readout
    theirs = IsotonicRegression(out_of_bounds="clip").fit(readout.confidence, readout.correct)
    ours = METHODS["isotonic"](answers)(answers).confidence
    np.testing.assert_allclose(ours, theirs.predict(readout.confidence))


@EVERY
def test_what_is_calibrated_stays(method: str) -> None:
    answers, other = calibrated(20_000), calibrated(2000, 9)
    made = METHODS[method](answers)(other)
    assert np.abs(made.confidence - other.readout.confidence).mean() < 0.015


@EVERY
@pytest.mark.parametrize("power", [0.5, 3.0])
def test_what_is_not_gets_better_on_other_questions(method: str, power: float) -> None:
    answers = calibrated(8000)
    bad = Answers(answers.scores * power, answers.gold)
    made = METHODS[method](bad.of(np.arange(4000)))(bad.of(np.arange(4000, 8000)))
    before, after = (METRICS["ece"](x, None, 15)[0] for x in (bad.readout, made))
    assert after < before / 3


@EVERY
def test_the_answer_stays_and_surer_answers_stay_surer(method: str) -> None:
    answers = calibrated(600, 4)
    made = METHODS[method](answers.of(np.arange(300)))(answers)
    np.testing.assert_array_equal(made.correct, answers.readout.correct)
    order = np.argsort(answers.readout.confidence)
    if method == "temperature":  # of one distribution; of another size another can be surer
        assert made.probabilities is not None
        same = np.argsort(made.probabilities, axis=1) == np.argsort(answers.scores, axis=1)
        assert same.all()
    else:
        assert (np.diff(made.confidence[order]) >= 0).all()


@EVERY
@pytest.mark.parametrize("kind", ["right", "wrong", "alike", "one row", "certain"])
def test_awkward_answers_give_probabilities(method: str, kind: str) -> None:
    answers = calibrated(1 if kind == "one row" else 40, 5)
    best = answers.scores.argmax(axis=1)
    if kind == "right":
        answers = Answers(answers.scores, best)
    if kind == "wrong":
        answers = Answers(answers.scores, answers.scores.argmin(axis=1))
    if kind == "alike":
        answers = Answers(np.zeros_like(answers.scores), answers.gold)
    if kind == "certain":
        answers = Answers(answers.scores * 1e4, answers.gold)
    made = METHODS[method](answers)(calibrated(50, 6))  # a Readout refuses what is none
    assert len(made.confidence) == 50
    if kind in ("right", "wrong") and method != "temperature":
        middle = made.confidence.mean()
        assert middle > 0.9 if kind == "right" else middle < 0.1


def test_temperatures_have_ends() -> None:
    answers = calibrated(100, 7)
    best, worst = answers.scores.argmax(axis=1), answers.scores.argmin(axis=1)
    assert recalibration.fit_temperature(Answers(answers.scores, best)) == recalibration.COLDEST
    assert recalibration.fit_temperature(Answers(answers.scores, worst)) == recalibration.HOTTEST
    assert recalibration.fit_temperature(Answers(answers.scores * 0, best)) == 1


def test_languages_with_different_options_are_pooled() -> None:
    two, four = calibrated(5, 0, 2), calibrated(3)
    both = recalibration.pooled([two, four])
    assert both.scores.shape == (8, 4)
    assert np.isnan(both.scores[:5, 2:]).all()
    np.testing.assert_array_equal(both.readout.confidence[:5], two.readout.confidence)
    np.testing.assert_array_equal(both.readout.confidence[5:], four.readout.confidence)


# Folds


def test_folds_are_of_questions_and_even() -> None:
    ids = [f"q{number}" for number in range(103)]
    one = folds(ids, 5, 0)
    assert sorted(one.value_counts()) == [20, 20, 21, 21, 21]
    pd.testing.assert_series_equal(one, folds([*reversed(ids), "q7"], 5, 0))
    assert (one != folds(ids, 5, 1)).any()
    with pytest.raises(InputError, match="1 folds, expected at least 2"):
        folds(ids, 1, 0)


@EVERY
def test_no_question_has_a_part_in_its_own_confidence(method: str) -> None:
    """Answers of one fold are turned into wrong ones: its own confidences stay as they are."""
    answers, fold = calibrated(60, 8), np.arange(60) % 3
    gold = np.where(fold == 1, (answers.gold + 1) % 4, answers.gold)
    made = []
    for given in (answers, Answers(answers.scores, gold)):
        maps = recalibration.fitted(METHODS[method], given, fold, 3)
        one = recalibration.applied(maps, answers, fold)
        assert one is not None
        made.append(one.confidence)
    np.testing.assert_array_equal(made[0][fold == 1], made[1][fold == 1])
    assert (made[0][fold != 1] != made[1][fold != 1]).any()


def test_a_fold_with_nothing_to_learn_from() -> None:
    answers = calibrated(3)
    fold = np.zeros(3, int)
    maps = recalibration.fitted(METHODS["platt"], answers, fold, 2)
    assert maps[0] is None
    assert maps[1] is not None
    assert recalibration.applied(maps, answers, fold) is None


# The tables


LEVELS = {"en": "high", "fr": "high", "ko": "mid", "yo": "low"}
PARAMS: dict[str, Any] = {
    "readouts": ["text_ppl"],
    "metrics": ["accuracy", "confidence", "ece", "debiased_ece2", "nll", "auroc"],
    "bins": 15,
    "bootstrap": {"replicates": 20, "seed": 1, "level": 0.9},
    "resource_levels": LEVELS,
    "reference_language": "en",
}
JOB = RecalibrationJob.model_validate(PARAMS)
RUNS = ["base", "base.facts.ls0.s0"]
FITS = [("none", "none"), *((m, f) for m in METHODS for f in ("reference", "high", "own"))]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A calibrated base model and one that SFT has made too sure, temperature 2."""
    return make_records(RUNS, list(LEVELS), 400, 0)


@pytest.fixture(scope="module")
def tables(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[pd.DataFrame]:
    return compute_recalibration.compute(written(tmp_path_factory.mktemp("all"), frame), JOB)


def test_scores_are_those_of_the_readouts(frame: pd.DataFrame) -> None:
    alone = [0.3 * row[::-1] for row in frame["text_logliks"]]
    frame = frame.assign(text_logliks_alone=alone)
    for name in SCORES:
        scores, gold = option_scores(frame, name)
        expected = READOUTS[name](frame)
        found = Answers(scores, gold).readout
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        np.testing.assert_array_equal(found.correct, expected.correct)


def test_rows_of_the_tables(tables: list[pd.DataFrame]) -> None:
    by_language, by_group, _ = tables
    for table, place in ((by_language, "language"), (by_group, "group")):
        key = ["run", "benchmark", "readout", "method", "fit", place, "metric"]
        assert not table.duplicated(key).any()
        pairs = table[["method", "fit"]].drop_duplicates().apply(tuple, axis=1)
        assert list(pairs) == FITS
        assert (table["ci_low"] <= table["value"] + 1e-12).all()
        assert (table["value"] <= table["ci_high"] + 1e-12).all()
    assert set(by_language["language"]) == set(LEVELS)
    assert set(by_group["group"]) == {"non-english", "high", "mid", "low", "all"}
    nll = by_group[by_group["metric"] == "nll"]
    assert set(nll["method"]) == {"none", "temperature"}  # the others have no distribution


def test_without_a_method_the_rows_are_those_of_the_metrics(
    frame: pd.DataFrame, tables: list[pd.DataFrame], tmp_path: Path
) -> None:
    job = MetricsJob.model_validate(
        {key: PARAMS[key] for key in MetricsJob.model_fields if key in PARAMS}
    )
    expected = compute_metrics.compute(written(tmp_path, frame), job)
    for table, own in zip(tables[:2], expected, strict=True):
        plain = table[table["method"] == "none"].drop(columns=["method", "fit"])
        pd.testing.assert_frame_equal(plain.reset_index(drop=True), own)


def test_a_fit_in_one_language_serves_the_others_where_truth_is_shared(
    tables: list[pd.DataFrame],
) -> None:
    _, table, _ = tables
    rows = table[(table["group"] == "non-english")].set_index(["run", "metric", "method", "fit"])
    value = rows["value"].sort_index()
    tuned = "base.facts.ls0.s0"
    before = value[tuned, "debiased_ece2", "none", "none"]
    assert before > 0.01
    for method, fit in FITS[1:]:
        most = 0.35 if method == "isotonic" else 0.1  # 320 questions are few for it
        assert abs(value[tuned, "debiased_ece2", method, fit]) < most * before
        assert abs(value["base", "debiased_ece2", method, fit]) < 0.004
        assert value[tuned, "accuracy", method, fit] == value[tuned, "accuracy", "none", "none"]
        if method == "temperature":
            assert value[tuned, "nll", method, fit] < value[tuned, "nll", "none", "none"]


def test_a_cell_by_hand(frame: pd.DataFrame, tables: list[pd.DataFrame]) -> None:
    """The temperature learnt in French and English together, applied to Yoruba."""
    run = frame[frame["run"] == RUNS[1]]
    number = folds(run["question_id"], 5, 0)
    confidence, right = [], []
    for fold in range(5):
        inside = run["question_id"].map(number).to_numpy() == fold
        seen = run[~inside & run["language"].isin(["en", "fr"])]
        found = recalibration.fit_temperature(Answers(*option_scores(seen, "text_ppl")))
        scores, gold = option_scores(run[inside & (run["language"] == "yo")], "text_ppl")
        p = special.softmax(scores / found, axis=1)
        confidence += p.max(axis=1).tolist()
        right += (p.argmax(axis=1) == gold).tolist()
    table = tables[0].query(
        f"run == '{RUNS[1]}' and language == 'yo' and method == 'temperature' and fit == 'high'"
    )
    found_rows = table.set_index("metric")["value"]
    assert found_rows["confidence"] == pytest.approx(np.mean(confidence))
    index = np.minimum((np.array(confidence) * 15).astype(int), 14)
    gaps = np.bincount(index, np.array(confidence) - right, minlength=15)
    assert found_rows["ece"] == pytest.approx(np.abs(gaps).sum() / len(right))


def test_the_table_of_temperatures(frame: pd.DataFrame, tables: list[pd.DataFrame]) -> None:
    table = tables[2]
    keys = table[["run", "fit", "language", "resource_level"]]
    own = [("own", language, level) for language, level in LEVELS.items()]
    places = [("reference", "en", "high"), ("high", "high", "high"), *own]
    assert list(map(tuple, keys.to_numpy())) == [(run, *key) for run in RUNS for key in places]
    for row in table.to_dict(orient="records"):
        languages = ["en", "fr"] if row["language"] == "high" else [row["language"]]
        seen = frame[(frame["run"] == row["run"]) & frame["language"].isin(languages)]
        expected = recalibration.fit_temperature(Answers(*option_scores(seen, "text_ppl")))
        assert row["value"] == pytest.approx(expected, rel=1e-4)
        assert row["n"] == 400 * len(languages)
        assert row["ci_low"] < row["value"] < row["ci_high"]
        assert row["value"] == pytest.approx(2 if row["run"] == RUNS[1] else 1, rel=0.2)
    english = table[table["language"] == "en"].drop(columns="fit").set_index("run")
    assert (english.groupby("run").nunique() <= 1).all(axis=None)  # reference and own


def test_the_interval_of_a_temperature_refits_in_each_replicate(
    frame: pd.DataFrame, tables: list[pd.DataFrame]
) -> None:
    """Both high-resource languages with the same resampled questions, fitted one by one."""
    seen = frame[(frame["run"] == RUNS[1]) & frame["language"].isin(["en", "fr"])]
    questions = seen["question_id"].tolist()
    counts = Bootstrap(questions, 20, 1).counts(questions)
    answers = Answers(*option_scores(seen, "text_ppl"))
    fits = [recalibration.fit_temperature(answers.of(np.repeat(np.arange(800), x))) for x in counts]
    row = tables[2].query(f"run == '{RUNS[1]}' and fit == 'high'").iloc[0]
    np.testing.assert_allclose(
        np.quantile(fits, [0.05, 0.95]), row[["ci_low", "ci_high"]].astype(float), rtol=1e-4
    )


def pairs(table: pd.DataFrame) -> set[str]:
    return set(table["fit"]) - {"none"}


def test_without_the_reference_language_or_a_high_one(frame: pd.DataFrame, tmp_path: Path) -> None:
    paths = written(tmp_path, frame[frame["language"].isin(["ko", "yo"])])
    assert pairs(compute_recalibration.compute(paths, JOB)[1]) == {"own"}
    changed = JOB.model_copy(update={"reference_language": "ko"})
    assert pairs(compute_recalibration.compute(paths, changed)[1]) == {"reference", "own"}


def test_few_rows_in_a_language(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Yoruba has one question, which nothing can be learnt for from Yoruba."""
    rows = (frame["language"] != "yo") | (frame["question_id"] == "q00003")
    table, *_ = compute_recalibration.compute(written(tmp_path, frame[rows]), JOB)
    own = table[table["language"] == "yo"]
    assert pairs(own) == {"reference", "high"}
    assert set(own["n"]) == {1}
    assert pairs(table[table["language"] == "ko"]) == {"reference", "high", "own"}


def test_the_program_gives_the_same_bytes(frame: pd.DataFrame, tmp_path: Path) -> None:
    paths = written(tmp_path, frame[frame["question_id"] < "q00040"])
    made = []
    for order in (paths, paths[::-1]):
        outputs = [tmp_path / f"{name}.csv" for name in "rlt"]
        command = [sys.executable, str(SCRIPT), "--params", json.dumps(PARAMS), "--records", *order]
        command += ["--output", str(outputs[0]), "--by-language", str(outputs[1])]
        command += ["--temperatures", str(outputs[2])]
        forks.run(command, check=True)
        made.append([path.read_bytes() for path in outputs])
    assert made[0] == made[1]


def test_a_readout_without_option_scores_is_refused(tmp_path: Path) -> None:
    for changes, message in (
        ({"readouts": ["max_logit"]}, "readouts.0: found 'max_logit', expected: Input should be"),
        ({"recalibration": {"folds": 1}}, "recalibration.folds: found 1, expected: Input should"),
        ({"recalibration": {"folds": 2.5}}, "recalibration.folds: found 2.5, expected: Input"),
    ):
        records = written(tmp_path, make_records(["base"], ["en"], 5, 0))
        command = [sys.executable, str(SCRIPT), "--params", json.dumps(PARAMS | changes)]
        for option in ("output", "by-language", "temperatures"):
            command += [f"--{option}", str(tmp_path / option[0])]
        done = forks.run([*command, "--records", *records])
        assert done.returncode == 1
        assert message in done.stderr
        assert not (tmp_path / "o").exists()
