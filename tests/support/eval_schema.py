"""Exports held against the validator of Every Eval Ever, and read back by our own importer."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from compute_metrics import compute
from multical import records
from multical.data import harness_logs
from multical.stats.params import MetricsJob
from support.crates import VALIDATOR

has_validator = pytest.mark.skipif(
    not VALIDATOR.exists(), reason="no validators: make test installs them"
)
KEYS = ["run", "language", "readout", "metric"]


def validated(folder: Path) -> tuple[int, str]:
    """What the validator says of all files below `data/`; it exits with 2 for warnings alone."""
    command = [str(VALIDATOR), "-m", "every_eval_ever.validate", "--format", "github"]
    done = subprocess.run(
        [*command, "data/*/*/*/*.json*"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def read_back(folder: Path, kind: str, run: dict[str, Any], path: Path) -> str:
    """Import the logs of the `kind` letters or texts of a run, write its records; their path."""
    start = f"samples_{run['benchmark']}_"
    languages = {
        log.name.removeprefix(start).partition(f"_{kind}_")[0]: log
        for log in (folder / "lm_eval" / run["run"]).glob(f"{start}*_{kind}_*.jsonl")
    }
    frames = {
        language: harness_logs.read([log], id_field="question_id")
        for language, log in sorted(languages.items())
    }
    records.write(path, harness_logs.records(frames, run))
    return str(path)


def metrics_of(paths: list[str], params: MetricsJob, readouts: list[str]) -> pd.Series:
    """The values of metrics.csv of some record files, for some readouts."""
    params = params.model_copy(update={"readouts": readouts})
    return compute(paths, params)[0].set_index(KEYS)["value"].astype(float).sort_index()
