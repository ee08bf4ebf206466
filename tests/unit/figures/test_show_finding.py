"""show_finding.py: three lines of numbers, those of the tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

import show_finding
from multical.errors import InputError
from multical.files import sha256
from support import figure_data

ROOT = Path(__file__).parents[3]
VERDICTS = {"M1": "reproduced", "M2": "inconclusive", "P1": "reproduced"}


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
        "Report: results/demo/report.html",
        "Figure: results/demo/figures/ece_by_lang.pdf",
    ]
    summary = pd.read_csv(results / "demo/summary.csv")
    means = summary[summary["group"] == "non-english"].set_index(["run", "metric"])["value"]
    for line, before, after in (
        (lines[2], "", ".facts.ls0.s0"),
        (lines[3], ".facts.ls0.s0", ".facts.ls0.1.s0"),
    ):
        for metric, name in show_finding.METRICS.items():
            first, second = (
                means[model + after, metric] - means[model + before, metric]
                for model in figure_data.MODELS
            )
            assert f"{name} {first:+.3f} and {second:+.3f}" in line
    assert "means over 40 languages other than English" in lines[2]
    assert lines[4:] == ["Claims: M1, P1 reproduced; M2 inconclusive"]


def test_paper_2(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
    }  # fmt: skip
    pd.DataFrame(found).to_csv(tables / "correlations.csv", index=False)
    lines = shown("results/msp_v2", monkeypatch, capsys)
    assert lines[1:4] == [
        "Figure: results/msp_v2/figures/accuracy_vs_auroc.pdf",
        "Maximum softmax probabilities of 2 models: AUROC 0.600 (0.500 to 0.700), "
        "calibration error 0.200 (0.100 to 0.300)",
        "Correlation with accuracy across models: AUROC r = 0.80 (p = 0.001), "
        "calibration error r = -0.10 (p = 0.9)",
    ]
    assert len(lines) == 5


@pytest.mark.usefixtures("results")
def test_an_unknown_study_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"^results/dem: no such study, expected one of"):
        shown("results/dem", monkeypatch, capsys)
