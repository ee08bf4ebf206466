"""A whole study on the cluster, with the profile as it is: the same files as a local run's.

The smoke study, or `pytest tests/slurm/test_study.py --study demo`.
"""

from __future__ import annotations

import os
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

import lab
from support import checkout


def digests(folder: Path, root: str) -> dict[str, str]:
    """SHA-256 of the headline figure, and of all that it was made from, by path."""
    patterns = (
        "runs/*/checkpoint/*.safetensors",
        "runs/*/manifest.json",
        "runs/*/loss.jsonl",
        "records/*/*.parquet",
        "metrics.csv",
        "figures/ece_by_lang.p*",
    )
    made = [file for pattern in patterns for file in (folder / root).glob(pattern)]
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in made}


def test_the_same_as_a_local_run(
    cluster: None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = f"results/{request.config.getoption('--study')}"
    here = checkout.made(request.config.getoption("--study"))
    checkout.copy_made(here, tmp_path, "inputs")
    lab.ask_often(tmp_path)
    subprocess.run(
        [lab.SNAKEMAKE, "--profile", "slurm", f"{root}/figures/ece_by_lang.pdf"],
        cwd=tmp_path,
        env={**os.environ, "MULTICAL_PARTITIONS": "gpu"},
        check=True,
    )
    local, made = digests(here, root), digests(tmp_path, root)
    runs = len(list((here / root / "runs").glob("*/manifest.json")))
    records = len(list((here / root / "records").glob("*/*.parquet")))
    assert runs
    assert len(local) == 3 * runs + records + 3
    assert made == local
    # each job at the first attempt
    assert len(lab.job_logs(tmp_path, "train_sft")) == runs
    assert len(lab.job_logs(tmp_path, "score_run")) == records
