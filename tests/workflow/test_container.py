"""The container of the lock: its steps run, and the smoke study of one model is made inside."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from support import checkout, container
from support.checkout import REPO, TARGET

WHY = container.impossible()
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slow,
    pytest.mark.skipif(WHY is not None, reason=f"no container can be made: {WHY}"),
]
MODEL = "smollm2-135m-instruct"
VERDICTS = "results/smoke/claims/verdicts.json"


def test_a_study_is_made_in_the_container(tmp_path: Path) -> None:
    """With the libraries of the lock, and nothing else of this machine but its fetched inputs."""
    made = container.Container(tmp_path)
    folder = checkout.copy_made(REPO, tmp_path / "clone", "inputs")
    checkout.edit_config(folder, {"studies:results/smoke:models": [MODEL]})
    made.run(folder, "snakemake", "--cores", "2", "--", TARGET, VERDICTS)
    table = pd.read_csv(folder / "results/smoke/metrics.csv")
    assert sorted(set(table["run"])) == [MODEL, f"{MODEL}.facts.ls0.1.s0", f"{MODEL}.facts.ls0.s0"]
    lock = (REPO / "envs/requirements.lock").read_text(encoding="utf-8")
    sidecar = json.loads((folder / "results/smoke/figures/ece_by_lang.json").read_text("utf-8"))
    assert sidecar["python"].startswith("3.11.")
    for name, version in sidecar["libraries"].items():
        assert f"\n{name}=={version.partition('+')[0]} ".lower() in lock.lower()
