"""The container of the lock: its steps run, and a study is trained, scored and drawn inside."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from support import checkout, container
from support.checkout import REPO
from support.rerun_edits import SMOKE, SMOLLM

WHY = container.impossible()
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slow,
    pytest.mark.skipif(WHY is not None, reason=f"no container can be made: {WHY}"),
]
#: Each library is used by some program that makes one of them
NAMES = ["figures/ece_by_lang.pdf", "figures/ece_vs_fertility.pdf", "tables/recalibration.csv"]
NAMES += ["tables/settings.csv", "tables/p_values.csv", "claims/verdicts.json"]


def test_a_study_is_made_in_the_container(finished: Path, tmp_path: Path) -> None:
    """With the libraries of the lock, and nothing of this machine but a tiny model and data."""
    made = container.Container(tmp_path)
    folder = checkout.copy_made(finished, tmp_path / "clone", "inputs")
    checkout.edit_config(folder, {"studies:results/smoke:models": [SMOLLM]})
    made.run(folder, "snakemake", "--cores", "2", "--", *(f"{SMOKE}/{name}" for name in NAMES))
    table = pd.read_csv(folder / SMOKE / "metrics.csv")
    runs = [SMOLLM, f"{SMOLLM}.facts.ls0.1.s0", f"{SMOLLM}.facts.ls0.s0"]
    assert sorted(set(table["run"])) == runs
    lock = (REPO / "envs/requirements.lock").read_text(encoding="utf-8")
    sidecar = json.loads((folder / SMOKE / "figures/ece_by_lang.json").read_text("utf-8"))
    assert sidecar["python"].startswith("3.11.")
    for name, version in sidecar["libraries"].items():
        assert f"\n{name}=={version.partition('+')[0]} ".lower() in lock.lower()
