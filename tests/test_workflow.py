"""The smoke study, for real: its metrics and its report. What runs again: test_rerun_matrix.py."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import checkout
from checkout import SNAKEMAKE, TARGET

pytestmark = pytest.mark.workflow


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake in a folder; its output, or a failed test that shows it."""
    run = subprocess.run(
        [*SNAKEMAKE, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.fixture(scope="session")
def smoke() -> Path:
    """The repository with its smoke study made."""
    checkout.make()
    return checkout.REPO


def test_metrics_cover_every_run_and_language(smoke: Path) -> None:
    import pandas as pd

    table = pd.read_csv(smoke / "results/smoke/metrics.csv")
    assert (
        list(table.columns)
        == (
            "run model sft smoothing seed benchmark language resource_level readout metric "
            "value ci_low ci_high n"
        ).split()
    )
    text = table[table["readout"] == "text_ppl"]
    assert text.groupby(["run", "language"]).size().shape == (6 * 4,)
    assert set(table.loc[table["readout"] == "letter", "language"]) == {"en", "yo"}
    # of 12 questions, replicates of others may pile up on one side of their mean
    usual = text[text["metric"].isin(["accuracy", "confidence", "gap", "ece", "brier"])]
    inside = (usual["ci_low"] <= usual["value"]) & (usual["value"] <= usual["ci_high"])
    assert inside.all()


def test_report_shows_figures_and_provenance(smoke: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    snakemake(smoke, "--report", str(page), TARGET)
    text = page.read_text(encoding="utf-8")
    for name in ("ECE by language", "reliability", "Provenance", "main"):
        assert name in text
    # nothing is loaded from elsewhere
    assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css)"', text)
