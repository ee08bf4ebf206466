from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from compute_metrics import compute
from multical import records
from multical.metrics.bands import band
from multical.metrics.bootstrap import Bootstrap, around_biased, interval, recentred
from multical.metrics.definitions import BIASED, METRICS, WITHOUT_INTERVAL
from multical.metrics.readouts import READOUTS
from multical.stats.params import MetricsJob
from support import forks
from support.synthetic import make_records, written

SCRIPTS = Path(__file__).parents[3] / "scripts"
RUNS = ["base", "base.facts.ls0.s0", "base.facts.ls0.1.s0"]
LEVELS = {"en": "high", "fr": "high", "ko": "mid", "sw": "low", "yo": "low"}
LANGUAGES = list(LEVELS)
POINT = ["point", "point_confidence", "point_accuracy", "point_low", "point_high"]


def params(**changes: Any) -> dict[str, Any]:
    return {
        "readouts": ["text_ppl", "letter"],
        "metrics": list(METRICS),
        "bins": 15,
        "bootstrap": {"replicates": 40, "seed": 1, "level": 0.9},
        "resource_levels": LEVELS,
        **changes,
    }


def run(
    script: str, folder: Path, settings: Any, paths: list[Path], good: bool = True
) -> subprocess.CompletedProcess[str]:
    outputs = (
        ["--metrics", folder / "m.csv", "--summary", folder / "s.csv"]
        if script == "compute_metrics"
        else ["--output", folder / "r.csv", "--by-language", folder / "l.csv"]
    )
    text = settings if isinstance(settings, str) else json.dumps(settings)
    command = [sys.executable, SCRIPTS / f"{script}.py", "--params", text, *outputs]
    done = forks.run([str(part) for part in [*command, "--records", *paths]])
    assert (done.returncode == 0) == good, done.stderr
    return done


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Three runs; Yoruba has only the first six questions."""
    whole = make_records(RUNS, LANGUAGES, 60, 0)
    return whole[(whole["language"] != "yo") | (whole["question_id"] < "q00006")]


@pytest.fixture(scope="module")
def made(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the records in two files, both tables and the reliability bins."""
    folder = tmp_path_factory.mktemp("made")
    base = frame["run"] == "base"
    paths = [folder / "base.parquet", folder / "tuned.parquet"]
    for path, part in zip(paths, (frame[base], frame[~base]), strict=True):
        records.write(path, part)
    run("compute_metrics", folder, params(), paths)
    binning = {key: params()[key] for key in ("readouts", "bins", "resource_levels")}
    run("bin_reliability", folder, binning, paths)
    return folder


def test_metrics_have_a_row_per_cell_and_metric(frame: pd.DataFrame, made: Path) -> None:
    table = pd.read_csv(made / "m.csv")
    columns = "run model sft smoothing seed benchmark language resource_level readout metric"
    assert list(table) == [*columns.split(), "value", "ci_low", "ci_high", "n"]
    assert len(table) == 3 * 5 * 2 * len(METRICS)
    assert not table.duplicated(["run", "benchmark", "language", "readout", "metric"]).any()
    assert table.groupby("language")["n"].first().to_dict() == {
        language: 6 if language == "yo" else 60 for language in LANGUAGES
    }
    assert (table["language"].map(LEVELS) == table["resource_level"]).all()
    tuned = table["run"] == "base.facts.ls0.1.s0"
    keys = table.loc[tuned, ["model", "sft", "smoothing", "seed"]].drop_duplicates()
    assert keys.to_numpy().tolist() == [["base", "facts", 0.1, 0]]
    assert table.loc[table["run"] == "base", ["sft", "smoothing", "seed"]].isna().all(axis=None)
    assert "base.facts.ls0.1.s0,base,facts,0.1,0,synthetic," in (made / "m.csv").read_text()


def test_a_cell_and_its_interval(frame: pd.DataFrame, made: Path) -> None:
    table = pd.read_csv(made / "m.csv")
    rows = frame[(frame["run"] == RUNS[1]) & (frame["language"] == "sw")]
    readout = READOUTS["text_ppl"](rows)
    counts = Bootstrap(list(frame["question_id"]), 40, 1).counts(list(rows["question_id"]))
    found = table[(table["run"] == RUNS[1]) & (table["language"] == "sw")]
    found = found[found["readout"] == "text_ppl"].set_index("metric")
    for name, metric in METRICS.items():
        value = float(found["value"][name])
        assert value == pytest.approx(metric(readout, None, 15)[0], rel=1e-12), name
        replicates = metric(readout, counts, 15)
        expected: Any = interval(recentred(replicates, value, len(rows), metric.bounds), 0.9)
        if name in WITHOUT_INTERVAL:
            expected = (np.nan, np.nan)
        if name in BIASED:
            debiased = [METRICS["debiased_ece2"](readout, count, 15) for count in (counts, None)]
            expected = around_biased(value, replicates, np.concatenate(debiased), len(rows), 0.9)
        interval_found = found.loc[name, ["ci_low", "ci_high"]].astype(float)
        np.testing.assert_allclose(interval_found, expected, rtol=1e-12, atol=1e-12)


def test_summary_is_the_mean_over_languages(frame: pd.DataFrame, made: Path) -> None:
    metrics, summary = pd.read_csv(made / "m.csv"), pd.read_csv(made / "s.csv")
    columns = "run model sft smoothing seed benchmark group languages readout metric"
    assert list(summary) == [*columns.split(), "value", "ci_low", "ci_high"]
    members = {
        "non-english": ["fr", "ko", "sw", "yo"],
        "high": ["en", "fr"],
        "mid": ["ko"],
        "low": ["sw", "yo"],
        "all": LANGUAGES,
    }
    assert list(summary["group"].unique()) == list(members)
    for group, languages in members.items():
        part = metrics[metrics["language"].isin(languages)]
        expected = part.groupby(["run", "readout", "metric"])["value"].agg(["mean", "count"])
        found = summary[summary["group"] == group].set_index(["run", "readout", "metric"])
        found = found.reindex(expected.index)
        np.testing.assert_allclose(found["value"], expected["mean"], rtol=1e-12)
        assert (found["languages"] == expected["count"]).all()


def test_intervals_of_a_group_pair_the_languages_by_question(
    frame: pd.DataFrame, made: Path
) -> None:
    bootstrap = Bootstrap(list(frame["question_id"]), 40, 1)
    replicates, most = [], 0
    for language in ("sw", "yo"):
        rows = frame[(frame["run"] == "base") & (frame["language"] == language)]
        counts = bootstrap.counts(list(rows["question_id"]))
        replicates.append(METRICS["accuracy"](READOUTS["letter"](rows), counts, 15))
        most = max(most, len(rows))
    found = pd.read_csv(made / "s.csv").query(
        "run == 'base' and group == 'low' and readout == 'letter' and metric == 'accuracy'"
    )
    around = recentred(np.nanmean(replicates, axis=0), found["value"].item(), most)
    expected = interval(around, 0.9)
    np.testing.assert_allclose(found[["ci_low", "ci_high"]].iloc[0], expected, rtol=1e-12)


def test_every_interval_holds_its_value_in_the_range_of_its_metric(made: Path) -> None:
    for name in ("m.csv", "s.csv"):
        table = pd.read_csv(made / name).dropna(subset=["value"])
        low, high = np.array([METRICS[metric].bounds for metric in table["metric"]]).T
        known = ~table["metric"].isin(WITHOUT_INTERVAL)
        assert (table["ci_low"].isna() == ~known).all()
        assert (table["ci_low"] <= table["value"] + 1e-12)[known].all()
        assert (table["value"] <= table["ci_high"] + 1e-12)[known].all()
        assert (low <= table["ci_low"])[known].all()
        assert (table["ci_high"] <= high)[known].all()


def test_known_calibration_is_found(tmp_path: Path) -> None:
    """Base and b = 0.2 are calibrated, by construction; less smoothing is overconfident."""
    smoothed = [f"base.facts.ls{b}.s0" for b in (0, 0.1, 0.2)]
    settings = params(metrics=["gap", "ece"], resource_levels={"en": "high"})
    paths = written(tmp_path, make_records(["base", *smoothed], ["en"], 4000, 0))
    _, summary = compute(paths, MetricsJob.model_validate(settings))
    everything = summary[summary["group"] == "all"]
    for readout in ("letter", "text_ppl"):
        own = everything[everything["readout"] == readout]
        table = own.pivot(index="run", columns="metric", values="value")
        gap, ece = table["gap"], table["ece"]
        # Four standard errors of an accuracy over 4,000 questions.
        assert gap[["base", smoothed[2]]].abs().max() < 4 * 0.5 / np.sqrt(4000)
        assert gap[smoothed[0]] > gap[smoothed[1]] > 0.05
        assert ece[smoothed[0]] > ece[smoothed[1]] > ece["base"]


def test_bytes_do_not_depend_on_the_order_of_files(made: Path, tmp_path: Path) -> None:
    run("compute_metrics", tmp_path, params(), [made / "tuned.parquet", made / "base.parquet"])
    for name in ("m.csv", "s.csv"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


def test_another_run_or_language_changes_no_row(made: Path, tmp_path: Path) -> None:
    base = records.read(made / "base.parquet")
    records.write(tmp_path / "few.parquet", base[base["language"].isin(["fr", "yo"])])
    run("compute_metrics", tmp_path, params(), [tmp_path / "few.parquet"])
    whole = (made / "m.csv").read_text().splitlines()
    few = (tmp_path / "m.csv").read_text().splitlines()
    assert set(few) < set(whole)


def test_no_replicates_leave_intervals_empty(made: Path, tmp_path: Path) -> None:
    settings = params(bootstrap={"replicates": 0, "seed": 0, "level": 0.95})
    run("compute_metrics", tmp_path, settings, [made / "base.parquet"])
    for name in ("m.csv", "s.csv"):
        table = pd.read_csv(tmp_path / name)
        assert table[["ci_low", "ci_high"]].isna().all(axis=None)
        assert table["value"].notna().any()


def test_metrics_that_do_not_apply_are_left_out(made: Path, tmp_path: Path) -> None:
    settings = params(readouts=["max_logit", "letter_full"])
    run("compute_metrics", tmp_path, settings, [made / "base.parquet"])
    found = pd.read_csv(tmp_path / "m.csv").groupby("readout")["metric"].unique()
    assert list(found["max_logit"]) == ["accuracy", "uncertainty", "auroc", "aurc", "augrc"]
    assert "ece" in found["letter_full"]
    assert "brier" not in found["letter_full"]


def test_reliability_bins_are_pooled_and_complete(frame: pd.DataFrame, made: Path) -> None:
    table = pd.read_csv(made / "r.csv")
    columns = "run model sft smoothing seed benchmark group readout bin low high n"
    assert list(table) == [*columns.split(), "confidence", "accuracy", *POINT]
    assert len(table) == 3 * 5 * 2 * 15
    rows = frame[(frame["run"] == "base") & frame["language"].isin(["sw", "yo"])]
    readout = READOUTS["letter"](rows)
    part = table[(table["run"] == "base") & (table["group"] == "low")]
    part = part[part["readout"] == "letter"]
    assert part["n"].sum() == len(rows)
    for low, high, n, confidence, accuracy in part.iloc[:, -10:-5].itertuples(index=False):
        inside = (readout.confidence >= low) & (readout.confidence < high)
        assert n == inside.sum()
        if n:
            assert confidence == pytest.approx(readout.confidence[inside].mean())
            assert accuracy == pytest.approx(readout.correct[inside].mean())
        else:
            assert np.isnan(confidence)
            assert np.isnan(accuracy)
    ece = (part["n"] * (part["confidence"] - part["accuracy"]).abs()).sum() / part["n"].sum()
    assert ece == pytest.approx(METRICS["ece"](readout, None, 15)[0])
    for _, bins in part.groupby("point"):
        inside = (readout.confidence >= bins["low"].min()) & (
            readout.confidence < bins["high"].max()
        )
        assert rows.loc[inside, "question_id"].nunique() >= 10
        assert bins["point_accuracy"].to_numpy() == pytest.approx(readout.correct[inside].mean())
        ends = band(
            readout.correct[inside].astype(float),
            pd.factorize(rows.loc[inside, "question_id"])[0],
        )
        assert bins[["point_low", "point_high"]].to_numpy().tolist() == [list(ends)] * len(bins)


def test_reliability_bins_of_a_language(frame: pd.DataFrame, made: Path) -> None:
    table = pd.read_csv(made / "l.csv")
    columns = "run model sft smoothing seed benchmark language resource_level readout bin low high"
    assert list(table) == [*columns.split(), "n", "confidence", "accuracy", *POINT]
    assert len(table) == 3 * 5 * 2 * 15
    assert (table["language"].map(LEVELS) == table["resource_level"]).all()
    for (run, language, name), part in table.groupby(["run", "language", "readout"]):
        readout = READOUTS[str(name)](
            frame[(frame["run"] == run) & (frame["language"] == language)]
        )
        index = np.minimum((readout.confidence * 15).astype(int), 14)
        assert part["n"].tolist() == np.bincount(index, minlength=15).tolist()
        for column, values in (("confidence", readout.confidence), ("accuracy", readout.correct)):
            sums = part["n"] * part[column].fillna(0)
            np.testing.assert_allclose(sums, np.bincount(index, values, minlength=15), atol=1e-9)
        gaps = part["n"] * (part["confidence"] - part["accuracy"]).abs()
        ece = gaps.sum() / part["n"].sum()
        assert ece == pytest.approx(METRICS["ece"](readout, None, 15)[0])
    pooled = pd.read_csv(made / "r.csv")
    keys = ["run", "readout", "bin"]
    whole = pooled[pooled["group"] == "all"].set_index(keys)["n"]
    assert whole.eq(table.groupby(keys)["n"].sum().reindex(whole.index)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "expected a JSON object"),
        ("[]", "found '[]', expected a JSON object"),
        (params(extra=1), "unknown keys ['extra']"),
        (
            params(readouts=["lettre"]),
            "readouts.0: found 'lettre', expected: Input should be 'letter'",
        ),
        (
            params(readouts=["letter", "letter"]),
            "readouts: found 'letter' twice, expected different values",
        ),
        (params(metrics=[]), "metrics: List should have at least 1 item"),
        (params(bins=0), "bins: found 0, expected: Input should be greater than or equal to 1"),
        (params(bins=1.5), "bins: found 1.5, expected: Input should be a valid integer"),
        (params(bootstrap={"replicate": 10}), "bootstrap: unknown keys ['replicate'], expected"),
        (params(bootstrap={"level": 95.0}), "bootstrap.level: found 95.0, expected: Input should"),
        (params(resource_levels=LEVELS | {"fr": "top"}), "resource_levels.fr: found 'top', expect"),
    ],
)
def test_bad_parameters_give_one_sentence_and_no_file(
    settings: Any, message: str, made: Path, tmp_path: Path
) -> None:
    done = run("compute_metrics", tmp_path, settings, [made / "base.parquet"], good=False)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", ["compute_metrics", "bin_reliability"])
def test_bad_records_are_named(script: str, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    base = records.read(made / "base.parquet")
    two_prompts = pd.concat([base, base.assign(prompt="other")])
    no_letters = base.assign(letter_logits=None)
    two_models = base.assign(model=["a", *["b"] * (len(base) - 1)])
    settings = params()
    if script == "bin_reliability":
        settings = {key: settings[key] for key in ("readouts", "bins", "resource_levels")}
    for broken, message in (
        (two_prompts, "prompt is ['other', 'plain'], expected one value"),
        (two_models, "model is ['a', 'b'], expected one value"),
        (no_letters, "letter_logits is empty in 6 of 6 rows"),
    ):
        records.write(tmp_path / "broken.parquet", broken)
        done = run(script, folder, settings, [tmp_path / "broken.parquet"], good=False)
        assert message in done.stderr
        assert not list(folder.iterdir())
