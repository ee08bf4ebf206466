"""compute_culture.py: the same metrics, of the questions of each label, and how they differ."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import compute_culture
import compute_metrics
from multical import records
from multical.errors import InputError
from multical.metrics.bootstrap import Bootstrap, interval, recentred
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import READOUTS
from multical.stats.params import MetricsJob
from support import forks
from support.synthetic import make_records, written

SCRIPT = Path(__file__).parents[3] / "scripts/compute_culture.py"
LEVELS = {"en": "high", "ko": "mid", "sw": "low", "yo": "low"}
PARAMS: dict[str, Any] = {
    "readouts": ["text_ppl", "letter"],
    "metrics": ["accuracy", "confidence", "gap", "ece", "auroc"],
    "bins": 15,
    "bootstrap": {"replicates": 40, "seed": 1, "level": 0.9},
    "resource_levels": LEVELS,
}
JOB = MetricsJob.model_validate(PARAMS)
KEY = ["run", "benchmark", "group", "languages", "readout", "metric"]
BASE = ["base", "base.facts.ls0.s0"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Two runs on a benchmark of which a third each is CS, CA and unlabelled; another has none.

    In Yoruba no question is labelled CS.
    """
    whole = make_records(BASE, list(LEVELS), 60, 0)
    label = np.array(["CS", "CA", None], object)[whole["question_id"].str[1:].astype(int) % 3]
    label[(whole["language"] == "yo").to_numpy() & (label == "CS")] = None
    other = whole.assign(benchmark="other", culture=None)
    return pd.concat([whole.assign(culture=label), other], ignore_index=True)


@pytest.fixture(scope="module")
def table(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    (table,) = compute_culture.compute(written(tmp_path_factory.mktemp("all"), frame), JOB)
    return table


def test_columns_and_rows(table: pd.DataFrame) -> None:
    columns = "run model sft smoothing seed benchmark culture group languages readout metric"
    assert list(table) == [*columns.split(), "value", "ci_low", "ci_high"]
    assert set(table["benchmark"]) == {"synthetic"}
    assert list(table["culture"].unique()) == ["CS", "CA", "CS-CA"]
    assert list(table["group"].unique()) == ["non-english", "high", "mid", "low", "all"]
    assert not table.duplicated([*KEY, "culture"]).any()
    known = table.dropna(subset=["ci_low"])
    assert (known["ci_low"] <= known["value"] + 1e-12).all()
    assert (known["value"] <= known["ci_high"] + 1e-12).all()
    empty = table[table["ci_low"].isna() & table["value"].notna()]
    assert set(empty["culture"]) == {"CS-CA"}  # differences of an error with a bias
    assert set(empty["metric"]) == {"ece"}


@pytest.mark.parametrize("culture", ["CS", "CA"])
def test_values_are_those_of_the_labelled_records(
    frame: pd.DataFrame, table: pd.DataFrame, culture: str, tmp_path: Path
) -> None:
    paths = written(tmp_path, frame[frame["culture"] == culture])
    _, expected = compute_metrics.compute(paths, JOB)
    found = table[table["culture"] == culture].drop(columns="culture").reset_index(drop=True)
    pd.testing.assert_frame_equal(found[[*KEY, "value"]], expected[[*KEY, "value"]])


def test_a_difference_and_its_interval(frame: pd.DataFrame, table: pd.DataFrame) -> None:
    labelled = frame[frame["culture"].notna()]
    bootstrap = Bootstrap(list(labelled["question_id"]), 40, 1)
    values, replicates = [], []
    for language in ("en", "ko", "sw"):
        pair = []
        for culture in ("CS", "CA"):
            rows = labelled[(labelled["run"] == "base") & (labelled["language"] == language)]
            rows = rows[rows["culture"] == culture]
            readout = READOUTS["letter"](rows)
            counts = bootstrap.counts(list(rows["question_id"]))
            accuracy = METRICS["accuracy"]
            pair.append((accuracy(readout, None, 15)[0], accuracy(readout, counts, 15)))
        values.append(pair[0][0] - pair[1][0])
        replicates.append(pair[0][1] - pair[1][1])
    value = np.mean(values)
    around = recentred(np.mean(replicates, axis=0), float(value), 20, (-1.0, 1.0))
    found = table.query(
        "run == 'base' and culture == 'CS-CA' and group == 'all' and readout == 'letter' "
        "and metric == 'accuracy'"
    )
    assert found["languages"].tolist() == [3]  # Yoruba has no CS question
    expected = [value, *interval(around, 0.9)]
    np.testing.assert_allclose(found[["value", "ci_low", "ci_high"]].iloc[0], expected, rtol=1e-12)


def test_no_labelled_question(frame: pd.DataFrame, tmp_path: Path) -> None:
    paths = written(tmp_path, frame[frame["benchmark"] == "other"])
    with pytest.raises(
        InputError, match=r"no question is labelled, expected some of .*columns.culture"
    ):
        compute_culture.compute(paths, JOB)


def test_the_program(frame: pd.DataFrame, table: pd.DataFrame, tmp_path: Path) -> None:
    paths = [tmp_path / f"{run}.parquet" for run in BASE]
    for path, run in zip(paths, BASE, strict=True):
        own = frame[(frame["run"] == run) & (frame["benchmark"] == "synthetic")]
        records.write(path, own)
    made = []
    for order in (paths, paths[::-1]):
        output = tmp_path / "culture.csv"
        command: list[Any] = [
            sys.executable,
            SCRIPT,
            "--params",
            json.dumps(PARAMS),
            "--output",
            output,
        ]
        forks.run([*command, "--records", *order], check=True)
        made.append(output.read_bytes())
    assert made[0] == made[1]
    read = pd.read_csv(output)
    assert len(read) == len(table)
    np.testing.assert_array_equal(read["value"], table["value"])
