"""Languages with fewer questions than the least number are in no mean and no group."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bin_reliability
import compute_effects
import compute_metrics
import verify_claims
from multical import records
from multical.claims import schema
from multical.claims.params import MeasuredClaims
from multical.stats import record_files
from multical.stats.params import MetricsJob, Reliability
from support.synthetic import make_records

LEVELS = {"en": "high", "fr": "high", "sw": "low", "yo": "low"}
RUNS = ["base", "base.facts.ls0.s0"]
JOB: dict[str, Any] = {
    "readouts": ["text_ppl"],
    "metrics": ["accuracy", "confidence"],
    "bootstrap": {"replicates": 40},
    "resource_levels": LEVELS,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Records of a base model and an SFT run, of which yo has five questions, and others 60."""
    file = tmp_path_factory.mktemp("few") / "r.parquet"
    frame = make_records(RUNS, list(LEVELS), 60, 0)
    records.write(file, frame[(frame["language"] != "yo") | (frame["question_id"] < "q00005")])
    return str(file)


def test_groups_of_all_tables(path: str) -> None:
    job = MetricsJob.model_validate(JOB | {"least_questions": 6})
    by_language, summary = compute_metrics.compute([path], job)
    assert set(by_language["language"]) == set(LEVELS), "its own rows stay"
    counts = summary.groupby("group")["languages"].first().to_dict()
    assert counts == {"non-english": 2, "high": 2, "low": 1, "all": 3}
    own = by_language[by_language["language"] == "sw"].set_index(["run", "metric"])["value"]
    low = summary[summary["group"] == "low"].set_index(["run", "metric"])["value"]
    np.testing.assert_array_equal(low, own.loc[low.index])
    _, over = compute_effects.compute([path], job)
    assert over.groupby("group")["languages"].first().to_dict() == counts | {"low-high": 3}
    own_bins = {"readouts": ["text_ppl"], "least_questions": 6, "resource_levels": LEVELS}
    binned, _ = bin_reliability.compute([path], Reliability.model_validate(own_bins))
    sums = binned[binned["run"] == "base"].groupby("group")["n"].sum().to_dict()
    assert sums == {"non-english": 120, "high": 120, "low": 60, "all": 180}


def test_no_number_leaves_the_tables_as_they_were(path: str) -> None:
    plain, one = (
        compute_metrics.compute([path], MetricsJob.model_validate(JOB | more))
        for more in ({}, {"least_questions": 5})
    )
    for before, after in zip(plain, one, strict=True):
        pd.testing.assert_frame_equal(before, after)


def test_claims_are_judged_on_the_same_languages(path: str, tmp_path: Path) -> None:
    claim = {
        "says": "Confidence rises.", "source": "own", "tested_on": ["multilingual"],
        "alpha": 0.05, "correction": "holm",
        "parts": [
            {"statistic": "change", "metric": "confidence", "readout": "text_ppl", "group": "low",
             "before": "base", "after": 0.0, "direction": "above", "threshold": 0.0,
             "test": "paired_bootstrap", "evidence": "summary.csv"}
        ],
    }  # fmt: skip
    raw = JOB | {"least_questions": 6, "kind": "multilingual", "study": "results/own"}
    raw |= schema.dumped(schema.Claims.model_validate({"claims": {"X1": claim}}))
    params = MeasuredClaims.model_validate(raw)
    _, summary = compute_metrics.compute([path], params)
    record_files.write(tmp_path / "summary.csv", summary)
    found = verify_claims.verify(params, [path], {"summary.csv": str(tmp_path / "summary.csv")}, 1)
    said = found["claims"]["X1"]["parts"][0]["detail"]
    assert re.search(r"of 1 languages", said)
