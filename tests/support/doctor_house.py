"""A clone of multical on a healthy cluster, and what doctor.py finds there."""

from __future__ import annotations

import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import doctor
from multical.cluster import checks, inputs, profile
from multical.cluster.checks import Finding
from support import checkout, fake_slurm
from support.checkout import REPO

SMOKE = "results/smoke"
MSP = "results/msp_v2"
#: What jobs request; in numbers of its own, so that the real profile may change
PROFILE = """\
__use_yte__: true
default-resources: {runtime: 30 * attempt, mem_mb: 2000 * attempt}
set-resources:
  train_sft: {runtime: 240 * attempt, mem_mb: 10000 * attempt}
  score_run: {runtime: 2h, mem_mb: 5000 * attempt}
set-threads: {train_sft: 2}
slurm-init-seconds-before-status-checks: 20
"""


def healthy_clone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> fake_slurm.Slurm:
    """Make `folder` such a clone, and go there; the user is ada, and not root."""
    shutil.copy(REPO / "config.yaml", folder)
    shutil.copytree(REPO / "config", folder / "config")
    (folder / "slurm").mkdir()
    (folder / profile.FILE).write_text(PROFILE)
    (folder / "envs").mkdir()
    (folder / doctor.LOCK).write_text(f"snakemake=={metadata.version('snakemake')}\n")
    monkeypatch.chdir(folder)
    for key, value in {
        "PATH": str(folder / "bin"),
        "LOGNAME": "ada",
        "MULTICAL_ACCOUNT": "",
        "MULTICAL_PARTITIONS": "gpu",
        "MULTICAL_CPU_PARTITIONS": "",
        "MULTICAL_QOS": "",
        "MULTICAL_GPUS": "gpus",
        "MSP_V2_ARCHIVE": "",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(checks, "LOCAL_FOLDERS", [])  # the tests' own folders are there
    # it starts pip six times each time
    monkeypatch.setattr(inputs, "_not_found", lambda _: "")
    return fake_slurm.healthy(folder / "bin")


def findings(subject: str, root: str | None = None) -> list[Finding]:
    """All lines of the report on a subject."""
    return [line for line in doctor.findings(root) if line.subject == subject]


def finding(subject: str, root: str | None = None) -> Finding:
    """The only line on a subject; a warning or an error must have a remedy."""
    (line,) = findings(subject, root)
    assert bool(line.remedy) == (line.level != "ok"), line
    assert "\n" not in str(line)
    return line


def edit_config(change: dict[str, Any]) -> None:
    """Change the repository's config here; a key is a path, `models:NAME:source`."""
    checkout.write_config(Path(), checkout.config())
    checkout.edit_config(Path(), change)
