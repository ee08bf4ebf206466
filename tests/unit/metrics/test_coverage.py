"""Simulated coverage: the truths are true, intervals hold them, and tests keep their level."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

import simulate_coverage
import simulate_tests
from multical import files, paths
from multical.errors import InputError
from multical.metrics.definitions import METRICS
from multical.metrics.params import Coverage, Procedures
from multical.params import parse
from simulate_coverage import Scenario
from support import checkout, forks

#: Shares differ by chance between simulations. Half as many replicates widen that little, since
#: they change an interval by a tenth, and take half the time.
FEW = {"simulations": 150, "replicates": 50}
PARAMS: dict[str, Any] = {
    **FEW,
    "seed": 0,
    "level": 0.95,
    "bins": 15,
    "languages": [1, 4],
    "questions": [100],
    "powers": [1.0, 2.5],
    "shared": [0.3],
}
ERRORS = ["ece", "ece_equal_mass", "rmsce"]


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("noise", [False, True])
def test_truths_are_those_of_very_many_questions(power: float, noise: bool) -> None:
    generator = np.random.default_rng(0)
    scenario = Scenario(1, 400_000, power=power, noise=noise)
    ((one,), _) = simulate_coverage.readouts(generator, scenario)
    truth = simulate_coverage.truths(power, 15, noise)
    assert list(truth) == simulate_coverage.NAMES
    for name, value in truth.items():
        near = 0.006 if name in [*ERRORS, "nll"] else 0.003  # the bias of so many questions
        assert METRICS[name](one, None, 15)[0] == pytest.approx(value, abs=near), name


@pytest.mark.parametrize("shared", [0.06, 0.5, 0.9])
def test_languages_and_runs_share_questions(shared: float) -> None:
    generator = np.random.default_rng(0)
    scenario = Scenario(2, 50_000, shared=shared)
    runs = list(simulate_coverage.readouts(generator, scenario))
    normal = [special.ndtri((one.confidence - 0.25) / 0.75) for run in runs for one in run]
    found = np.corrcoef(normal)
    assert found[0, 1] == pytest.approx(shared, abs=0.02)  # two languages
    assert found[0, 2] == pytest.approx(max(0.5, shared), abs=0.02)  # two runs
    assert np.corrcoef([one.correct for run in runs for one in run])[0, 1] > 0.2 * shared


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return simulate_coverage.simulate(Coverage.model_validate(PARAMS))


def in_limits(table: pd.DataFrame) -> None:
    """What must hold of a simulation, be it the committed one or that of this test."""
    error = 4 * (0.05 * 0.95 / table["simulations"].iloc[0]) ** 0.5  # of hundreds of rows
    calibrated = table[table["sharpness"] == 1]
    intervals, tests = (calibrated[calibrated["kind"] == x] for x in ("interval", "test"))
    # with 20 questions and the mean of 40 languages, errors with a bias are missed
    few = (intervals["questions"] < 100) & (intervals["of"] == "mean over languages")
    few &= intervals["metric"].isin(["ece_equal_mass", "rmsce"])
    assert (intervals.loc[~few, "share"] >= 0.91 - error).all()
    assert (intervals.loc[few, "share"] < 0.9).any() or not few.any()
    # wide near an error of 0, and where languages do not differ
    wide = intervals["metric"].isin([*ERRORS, "debiased_ece2"])
    wide |= intervals["of"] == "change in other languages too"
    assert (intervals.loc[~wide, "share"] <= 0.98 + error).all()
    assert (tests["share"] <= 0.06 + error).all()
    falls = table[(table["sharpness"] < 1) & (table["of"] == "mean falls")]
    shares = falls.set_index("metric")["share"]
    assert (shares["debiased_ece2"] <= 0.05 + error).all()
    assert (shares["ece"] > 0.1).all()  # in 40 languages always


def test_intervals_hold_the_truth_and_tests_keep_their_level(table: pd.DataFrame) -> None:
    in_limits(table)
    sizes = table.groupby(["languages", "power", "shared", "sharpness", "noise"]).size()
    assert len(sizes) == 2 * 2 + 1 + 2 + 1  # powers, correlation, sharpness, noise
    assert not table.duplicated(list(table)[:9]).any()


def test_the_committed_simulations_and_their_figure() -> None:
    docs = checkout.REPO / "docs"
    table = pd.read_csv(docs / "coverage.csv")
    assert sorted(table["questions"].unique()) == [20, 100, 1000]
    assert sorted(table["languages"].unique()) == [1, 4, 40]
    assert set(table["metric"]) == set(simulate_coverage.NAMES)
    in_limits(table)
    procedures = pd.read_csv(docs / "procedures.csv")
    procedures_in_limits(procedures)
    assert len(procedures) > 50
    sidecar = json.loads((docs / "coverage.json").read_text("utf-8"))
    inputs = [*(f"docs/{name}.csv" for name in ("coverage", "procedures")), paths.STYLE]
    assert sidecar["inputs"] == {name: files.sha256(checkout.REPO / name) for name in inputs}
    assert sidecar["outputs"]["docs/coverage.png"] == files.sha256(docs / "coverage.png")


def procedures_in_limits(table: pd.DataFrame) -> None:
    error = 4 * (0.05 * 0.95 / table["simulations"].iloc[0]) ** 0.5  # of hundreds of rows
    little = table["scenario"].str.contains("^2 seeds, spread 0.05|20 questions|n = 20")
    tests = table["kind"] == "test"
    # models that share questions are no sample of other questions, as the docs say
    shared = table["scenario"].str.contains("models, alike 1")
    assert (table.loc[tests & shared, "share"] > 0.06).all()
    assert (table.loc[tests & ~little & ~shared, "share"] <= 0.06 + error).all()
    assert (table.loc[~tests & ~little & ~shared, "share"] >= 0.93 - error).all()
    assert (table.loc[tests & (little | shared), "share"] <= 0.12 + error).all()


def test_other_procedures_keep_their_level() -> None:
    table = simulate_tests.simulate(Procedures(**FEW))
    procedures_in_limits(table)
    assert not table.duplicated(["kind", "procedure", "scenario"]).any()


def test_the_programs(tmp_path: Path) -> None:
    few = PARAMS | {"simulations": 3, "replicates": 10, "questions": [20, 30]}
    scripts, made = checkout.REPO / "scripts", []
    few_tests = {"simulations": 2, "replicates": 10}
    for name, params, program in (
        ("a.csv", few, "simulate_coverage"),
        ("b.csv", few, "simulate_coverage"),
        ("p.csv", few_tests, "simulate_tests"),
        ("q.csv", few_tests, "simulate_tests"),
    ):
        command = [sys.executable, str(scripts / f"{program}.py")]
        command += ["--params", json.dumps(params), "--output", str(tmp_path / name)]
        forks.run(command, check=True)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    assert made[2] == made[3]
    outputs = {end: tmp_path / f"c.{end}" for end in ("pdf", "png", "json")}
    command = [sys.executable, str(scripts / "plot_coverage.py")]
    command += ["--coverage", str(tmp_path / "a.csv"), "--procedures", str(tmp_path / "p.csv")]
    command += ["--code", "abc", "--params", json.dumps({"study": "docs", "seed": 0})]
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
