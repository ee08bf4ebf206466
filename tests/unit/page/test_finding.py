"""The finding of a study, from its tables: in one sentence, and where it does not hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import show_finding
from multical.config import files
from multical.errors import InputError
from multical.files import sha256
from multical.page import finding
from support import figure_data

ROOT = Path(__file__).parents[3]
VERDICTS = {"M1": "reproduced", "M2": "inconclusive", "P1": "reproduced"}
GEMMA, SMOLLM = figure_data.MODELS


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with multical's config, and verdicts of two studies."""
    monkeypatch.chdir(tmp_path)
    for name in ("config.yaml", "config"):
        Path(name).symlink_to(ROOT / name)
    for study in ("demo", "msp_v2"):
        file = tmp_path / "results" / study / "claims" / "verdicts.json"
        file.parent.mkdir(parents=True)
        claims = {name: {"verdict": verdict} for name, verdict in VERDICTS.items()}
        document = {"study": f"results/{study}", "kind": "made up", "claims": claims}
        file.write_text(json.dumps(document))
        outputs = {str(file): sha256(file)}
        file.with_name("provenance.json").write_text(json.dumps({"outputs": outputs}))
    return tmp_path / "results"


def shown(
    study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["show_finding.py", "--study", study])
    show_finding.main()
    return capsys.readouterr().out.splitlines()


def test_paper_1(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure_data.write_tables(results / "demo")
    lines = shown("results/demo", monkeypatch, capsys)
    assert lines[:2] == [
        "Page: results/demo/index.html",
        "Figure: results/demo/figures/ece_by_lang.pdf",
    ]
    summary = pd.read_csv(results / "demo/summary.csv")
    means = summary[summary["group"] == "non-english"].set_index(["run", "metric"])["value"]
    for line, before, after in (
        (lines[3], "", ".facts.ls0.s0"),
        (lines[4], ".facts.ls0.s0", ".facts.ls0.1.s0"),
    ):
        for metric, name in finding.METRICS.items():
            first, second = (
                means[model + after, metric] - means[model + before, metric]
                for model in figure_data.MODELS
            )
            assert f"{name} {first:+.3f} and {second:+.3f}" in line
            if metric == "ece" or before == "":
                assert f"({first:+.3f} and {second:+.3f}" in lines[2]
    assert "means over 40 languages other than English" in lines[3]
    start = "In 40 languages other than English, fine-tuning (SFT) raises the confidence of "
    assert lines[2].startswith(f"{start}{GEMMA} and {SMOLLM} (")
    assert "hardly moves the accuracy (" in lines[2]
    assert "raises the calibration error ECE (" in lines[2]
    assert "label smoothing of 0.1 in that training lowers it again (" in lines[2]
    assert lines[6:] == ["Claims: M1, P1 reproduced; M2 inconclusive"]


def measured(results: Path, values: dict[str, dict[str, list[float]]]) -> None:
    """Write tables of the demo in which languages have these ECEs: before, after, smoothed."""
    written = figure_data.write_tables(results / "demo")
    metrics = pd.read_csv(written["metrics"])
    metrics = metrics[metrics["language"].isin(["en", "fr", "yo"])]
    for model, by_language in values.items():
        for language, eces in by_language.items():
            for suffix, value in zip(("", ".facts.ls0.s0", ".facts.ls0.1.s0"), eces, strict=True):
                own = (metrics["run"] == model + suffix) & (metrics["language"] == language)
                metrics.loc[own & (metrics["metric"] == "ece"), "value"] = value
    metrics.to_csv(written["metrics"], index=False)


def test_the_languages_in_which_it_does_not_hold_are_named(results: Path) -> None:
    holds = [0.1, 0.2, 0.15]
    measured(
        results,
        {
            GEMMA: {"en": holds, "fr": [0.2, 0.2, 0.1], "yo": holds},
            SMOLLM: {"en": holds, "fr": holds, "yo": [0.1, 0.2, 0.3]},
        },
    )
    found = finding.find(files.load(), "results/demo")
    assert [(str(part), part.exceptions) for part in found.parts] == [
        (f"SFT raises the ECE of {GEMMA} in 2 of 3", ["French"]),
        (f"SFT raises the ECE of {SMOLLM} in 3 of 3", []),
        (f"Smoothing 0.1 lowers the ECE of {GEMMA} in 3 of 3", []),
        (f"Smoothing 0.1 lowers the ECE of {SMOLLM} in 2 of 3", ["Yoruba"]),
    ]
    assert found.unit == "languages"


def test_models_that_differ_get_no_common_direction(results: Path) -> None:
    written = figure_data.write_tables(results / "demo")
    summary = pd.read_csv(written["summary"])
    own = (summary["run"] == f"{SMOLLM}.facts.ls0.s0") & (summary["metric"] == "confidence")
    summary.loc[own, "value"] = 0.1
    own = (summary["run"] == f"{SMOLLM}.facts.ls0.s0") & (summary["metric"] == "accuracy")
    summary.loc[own, "value"] = 0.9
    summary.to_csv(written["summary"], index=False)
    lead = finding.find(files.load(), "results/demo").lead
    assert ", fine-tuning (SFT) changes the confidence of " in lead
    assert "raises the accuracy" in lead


def test_base_models_alone(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = figure_data.write_tables(results / "demo")
    for kind in ("metrics", "summary"):
        table = pd.read_csv(written[kind])
        table[table["sft"].isna()].to_csv(written[kind], index=False)
    config = files.load()
    study = config.measured("results/demo")
    figures = {**dict(study.figures), "sft": None, "smoothing": None, "seed": None}
    bare = study.model_copy(update={"figures": study.figures.model_construct(**figures)})
    config = config.model_copy(update={"studies": {**config.studies, "results/demo": bare}})
    found = finding.find(config, "results/demo")
    summary = pd.read_csv(written["summary"])
    means = summary[summary["group"] == "non-english"].set_index(["run", "metric"])["value"]
    gaps = [means[model, "confidence"] - means[model, "accuracy"] for model in (GEMMA, SMOLLM)]
    assert found.lead == (
        f"2 of 2 models ({GEMMA}, {SMOLLM}) claim to be right more often than they are: mean "
        f"confidence minus accuracy is {gaps[0]:+.3f} and {gaps[1]:+.3f} for {GEMMA} and {SMOLLM} "
        "(means over 40 languages other than English)."
    )
    assert [part.says for part in found.parts] == [
        f"{GEMMA} is overconfident", f"{SMOLLM} is overconfident"
    ]  # fmt: skip
    assert {part.total for part in found.parts} == {41}


def answers(results: Path, **changes: Any) -> None:
    """Tables of two models of paper 2."""
    tables = results / "msp_v2" / "tables"
    tables.mkdir()
    points = {
        "dataset": ["all", "all", "arc", "all"], "prompt": [None, None, None, "first_prompt"],
        "model": ["a", "b", "a", "a"], "msp_auroc": [0.5, 0.7, 0.1, 0.2],
        "calibration_error_width": [0.1, 0.3, 0.9, 0.8],
    }  # fmt: skip
    pd.DataFrame(points).to_csv(tables / "points.csv", index=False)
    found = {
        "dataset": "all", "prompt": [None, None, "first_prompt", None],
        "x": ["accuracy", "accuracy", "accuracy", "size"],
        "y": ["msp_auroc", "calibration_error_width", "msp_auroc", "msp_auroc"],
        "r": [0.8, -0.1, 0.3, 0.4], "p": [0.001, 0.9, 0.5, 0.6],
    } | changes  # fmt: skip
    pd.DataFrame(found).to_csv(tables / "correlations.csv", index=False)
    intervals = {
        "dataset": ["all", "all", "all", "arc"], "model": ["a", "b", "a", "a"],
        "method": "msp", "measure": ["auroc", "auroc", "accuracy", "auroc"], "prompt": None,
        "ci_low": [0.45, 0.6, 0.1, 0.1],
    }  # fmt: skip
    pd.DataFrame(intervals).to_csv(tables / "intervals.csv", index=False)


def test_paper_2(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(results)
    lines = shown("results/msp_v2", monkeypatch, capsys)
    assert lines[1:] == [
        "Figure: results/msp_v2/figures/accuracy_vs_auroc.pdf",
        "The confidence of 2 chat models misses their accuracy by 0.200 on average (calibration "
        "error), with no clear link to accuracy (r = -0.10, p = 0.9); it tells right answers from "
        "wrong ones better than a guess in 1 of 2 models (mean AUROC 0.600), better in more "
        "accurate models (r = 0.80, p = 0.001).",
        "Maximum softmax probabilities of 2 models: AUROC 0.600 (0.500 to 0.700), "
        "calibration error 0.200 (0.100 to 0.300)",
        "Correlation with accuracy across models: AUROC (r = 0.80, p = 0.001), "
        "calibration error (r = -0.10, p = 0.9)",
        "The interval of AUROC lies above 0.5, that of a guess, in 1 of 2 models.",
        "Claims: M1, P1 reproduced; M2 inconclusive",
    ]
    (part,) = finding.find(files.load(), "results/msp_v2").parts
    assert part.exceptions == ["a"]


def test_a_link_to_accuracy_is_named_by_its_sign(results: Path) -> None:
    answers(results, r=[-0.8, 0.9, 0, 0], p=[0.01, 0.02, 1, 1])
    lead = finding.find(files.load(), "results/msp_v2").lead
    assert "(calibration error), more in more accurate models (r = 0.90, p = 0.02)" in lead
    assert lead.endswith("worse in more accurate models (r = -0.80, p = 0.01).")


@pytest.mark.usefixtures("results")
def test_an_unknown_study_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"^results/dem: no such study, expected one of"):
        shown("results/dem", monkeypatch, capsys)
