"""A folder of multical on a healthy cluster, and what doctor.py finds there."""

from __future__ import annotations

import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import doctor
from multical.cluster import checks, cluster, inputs
from multical.cluster.checks import Finding
from support import checkout, fake_slurm
from support.checkout import REPO

SMOKE = "results/smoke"
MSP = "results/msp_v2"
#: What jobs ask for, in numbers of our own, so that the real profile may change
PROFILE = """\
__use_yte__: true
default-resources: {runtime: 30 * attempt, mem_mb: 2000 * attempt}
set-resources:
  train_sft: {runtime: 240 * attempt, mem_mb: 10000 * attempt}
  score_run: {runtime: 2h, mem_mb: 5000 * attempt}
set-threads: {train_sft: 2}
slurm-init-seconds-before-status-checks: 20
"""


def house(folder: Path, monkeypatch: pytest.MonkeyPatch) -> fake_slurm.Slurm:
    """Make `folder` such a place, and go there; the user is ada, and not root."""
    shutil.copy(REPO / "config.yaml", folder)
    shutil.copytree(REPO / "config", folder / "config")
    (folder / "slurm").mkdir()
    (folder / cluster.PROFILE).write_text(PROFILE)
    (folder / "envs").mkdir()
    (folder / doctor.LOCK).write_text(f"snakemake=={metadata.version('snakemake')}\n")
    monkeypatch.chdir(folder)
    for key, value in {
        "PATH": str(folder / "bin"),
        "LOGNAME": "ada",
        "MULTICAL_ACCOUNT": "",
        "MULTICAL_PARTITIONS": "gpu",
        "MULTICAL_GPUS": "gpus",
        "MSP_V2_ARCHIVE": "",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(checks, "PASSING", [])  # where tests have their folders
    # six starts of pip each time: only the tests of them need them
    monkeypatch.setattr(inputs, "_not_found", lambda _: "")
    return fake_slurm.healthy(folder / "bin")


def about(what: str, root: str | None = None) -> list[Finding]:
    """What the whole program finds about one thing."""
    return [one for one in doctor.findings(root) if one.what == what]


def one(what: str, root: str | None = None) -> Finding:
    """The one finding about a thing; a warning or an error must have its cure."""
    (found,) = about(what, root)
    assert bool(found.cure) == (found.level != "ok"), found
    assert "\n" not in str(found)
    return found


def edited(change: dict[str, Any]) -> None:
    """Change the repository's config here; a key is a path, `models:NAME:source`."""
    checkout.write_config(Path(), checkout.config())
    checkout.edit_config(Path(), change)
