"""Simulated coverage: the truths are true, intervals hold them, and tests keep their level."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import simulate_coverage
from multical import files
from multical.errors import InputError
from multical.metrics.definitions import METRICS
from multical.metrics.params import Coverage
from multical.params import parse
from support import checkout, forks

PARAMS: dict[str, Any] = {
    "simulations": 400,
    "replicates": 100,
    "seed": 0,
    "level": 0.95,
    "bins": 15,
    "languages": 2,
    "questions": [100],
    "powers": [1.0, 2.5],
}
#: Whose intervals hold the truth whatever it is
UNBIASED = ["accuracy", "confidence", "auroc"]


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_truths_are_those_of_very_many_questions(power: float) -> None:
    generator = np.random.default_rng(0)
    ((one,), _) = simulate_coverage.readouts(generator, 400_000, power, 1)
    truth = simulate_coverage.truths(power, 15)
    for name, value in truth.items():
        noise = 0.006 if name in ("ece", "rmsce") else 0.003  # the bias of so many questions
        assert METRICS[name](one, None, 15)[0] == pytest.approx(value, abs=noise), name


def test_languages_and_runs_share_questions() -> None:
    generator = np.random.default_rng(0)
    runs = list(simulate_coverage.readouts(generator, 50_000, 1.0, 2))
    cells = [one for run in runs for one in run]
    for name, least in (("confidence", 0.4), ("correct", 0.2)):
        shared = np.corrcoef([getattr(one, name) for one in cells])
        assert shared[np.triu_indices(4, 1)].min() > least


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return simulate_coverage.simulate(Coverage.model_validate(PARAMS))


def in_limits(table: pd.DataFrame) -> None:
    """What must hold of a simulation, be it the committed one or that of this test."""
    intervals = table[table["kind"] == "interval"]
    change = intervals["of"] == "change of the mean"
    covered = intervals["metric"].isin([*UNBIASED, "debiased_ece2"]) | change
    # too wide near 0: a bootstrap of a degenerate statistic
    wide = intervals["metric"] == "debiased_ece2"
    assert (intervals.loc[covered, "share"] >= 0.90).all()
    assert (intervals.loc[covered & ~wide, "low"] <= 0.98).all()  # by more than chance
    assert (intervals.loc[covered & ~wide & (intervals["power"] > 1), "share"] <= 0.98).all()
    biased = intervals["metric"].isin(["ece", "rmsce"]) & (intervals["power"] == 1) & ~change
    assert (intervals.loc[biased, "share"] < 0.05).all()
    assert (table.loc[table["kind"] == "test", "share"] <= 0.07).all()
    sharpness = table[table["kind"] == "sharpness"].set_index("metric")["share"]
    assert (sharpness["debiased_ece2"] <= 0.07).all()
    assert (sharpness["ece"] > 0.3).all()  # of 2 languages; in 40 languages always


def test_intervals_hold_the_truth_and_tests_keep_their_level(table: pd.DataFrame) -> None:
    assert len(table) == 6 * 6 * 2 + 3  # kinds, metrics, powers; sharpness
    in_limits(table)


def test_the_committed_simulation_and_its_figure() -> None:
    docs = checkout.REPO / "docs"
    table = pd.read_csv(docs / "coverage.csv")
    assert table.groupby("questions").size().to_dict() == {100: 111, 1000: 111}
    in_limits(table)
    sidecar = json.loads((docs / "coverage.json").read_text("utf-8"))
    assert sidecar["inputs"] == {"docs/coverage.csv": files.sha256(docs / "coverage.csv")}
    assert sidecar["outputs"]["docs/coverage.png"] == files.sha256(docs / "coverage.png")


def test_the_programs(tmp_path: Path) -> None:
    few = PARAMS | {"simulations": 3, "replicates": 10, "questions": [20, 30]}
    scripts, made = checkout.REPO / "scripts", []
    for name in ("a.csv", "b.csv"):
        command = [sys.executable, str(scripts / "simulate_coverage.py")]
        command += ["--params", json.dumps(few), "--output", str(tmp_path / name)]
        forks.run(command, check=True)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    outputs = {end: tmp_path / f"c.{end}" for end in ("pdf", "png", "json")}
    command = [sys.executable, str(scripts / "plot_coverage.py")]
    command += ["--coverage", str(tmp_path / "a.csv"), "--code", "abc", "--params"]
    command += [json.dumps({"study": "docs", "seed": 0})]
    for option, end in (("pdf", "pdf"), ("png", "png"), ("sidecar", "json")):
        command += [f"--{option}", str(outputs[end])]
    forks.run(command, check=True)
    assert all(path.stat().st_size > 500 for path in outputs.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"questions": []}, "questions: List should have at least 1 item"),
        ({"powers": [0.5]}, "powers.0: found 0.5, expected: Input should be greater"),
        ({"seed": 0.5}, "seed: found 0.5, expected: Input should be a valid integer"),
        ({"colour": 1}, "unknown keys .'colour'."),
    ],
)
def test_bad_parameters_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(Coverage, json.dumps(PARAMS | changes))
