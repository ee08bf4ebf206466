"""The smoke study on the cluster, with the profile as it is: the same files as a local run's."""

from __future__ import annotations

import os
import subprocess
from hashlib import sha256
from pathlib import Path

import checkout
import lab

FIGURE = "results/smoke/figures/ece_by_lang.pdf"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of what the figure shows, and of all that it was made from."""
    made = [
        *folder.glob("results/smoke/runs/*/checkpoint/*.safetensors"),
        *folder.glob("results/smoke/runs/*/*.json*"),
        *folder.glob("results/smoke/records/*/*.parquet"),
        folder / "results/smoke/metrics.csv",
        folder / FIGURE,
        folder / FIGURE.replace(".pdf", ".png"),
    ]
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in made}


def test_the_same_as_a_local_run(cluster: None, tmp_path: Path) -> None:
    checkout.make_smoke()
    checkout.copy_made(tmp_path, "inputs")
    subprocess.run(
        [lab.SNAKEMAKE, "--profile", "slurm", FIGURE],
        cwd=tmp_path,
        env={**os.environ, "MULTICAL_PARTITIONS": "gpu"},
        check=True,
    )
    made = digests(tmp_path)
    assert len(made) == 4 + 8 + 6 + 3
    assert made == digests(checkout.REPO)
    assert len(lab.job_logs(tmp_path, "train_sft")) == 4  # each at the first attempt
    assert len(lab.job_logs(tmp_path, "score_run")) == 6
