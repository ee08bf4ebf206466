"""Records taken one part at a time give what they give all at once."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import compute_culture
from multical import records
from multical.errors import InputError
from multical.stats import record_files as parts_module
from multical.stats.record_files import each, survey
from support.of_blocks import end, place, refuse
from support.synthetic import make_records

LEVELS = {"en": "high", "ko": "mid"}
PARAMS: dict[str, Any] = {
    "readouts": ["text_ppl", "letter"],
    "metrics": ["accuracy", "ece", "ece_equal_mass", "auroc", "aurc"],
    "bins": 15,
    "bootstrap": {"replicates": 20, "seed": 1, "level": 0.9},
    "resource_levels": LEVELS,
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    whole = make_records(["a", "b", "c"], list(LEVELS), 30, 0)
    few = whole[(whole["run"] != "c") | (whole["question_id"] < "q00020")]
    label = ["CS" if x < "q00015" else "CA" for x in few["question_id"]]
    return few.assign(culture=label)


@pytest.fixture(scope="module")
def paths(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run b is in two files, one of which holds run a too."""
    folder = tmp_path_factory.mktemp("records")
    english = frame["language"] == "en"
    first = (frame["run"] == "a") | ((frame["run"] == "b") & english)
    second = (frame["run"] == "b") & ~english
    made = []
    for name, rows in (("z", first), ("c", frame["run"] == "c"), ("y", second)):
        records.write(folder / f"{name}.parquet", frame[rows])
        made.append(str(folder / f"{name}.parquet"))
    return made


def test_files_that_share_a_run_are_one_part(paths: list[str]) -> None:
    parts, questions = survey(paths)
    assert sorted(len(part.paths) for part in parts) == [1, 2]
    assert questions == {"synthetic": [f"q{number:05d}" for number in range(30)]}
    expected = [(run, "synthetic", ["en", "ko"]) for run in "abc"]
    assert each(parts, place, processes=1) == expected
    assert each(parts, place, processes=2, many=0) == expected


@pytest.mark.parametrize("program", ["compute_metrics", "compute_culture"])
def test_bytes_are_the_same_from_one_file_or_more_and_any_number_of_processes(
    program: str,
    frame: pd.DataFrame,
    paths: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records.write(tmp_path / "all.parquet", frame)
    outputs = {"compute_metrics": ["metrics", "summary"], "compute_culture": ["output"]}[program]
    module, made = importlib.import_module(program), []
    monkeypatch.setattr(parts_module, "MANY_ROWS", 0)
    for given, processes in (([str(tmp_path / "all.parquet")], 1), (paths, 1), (paths, 2)):
        words = [program, "--records", *given, "--params", json.dumps(PARAMS)]
        words += ["--processes", str(processes)]
        for name in outputs:
            words += [f"--{name}", str(tmp_path / name)]
        monkeypatch.setattr(sys, "argv", words)
        module.main()
        made.append([(tmp_path / name).read_bytes() for name in outputs])
    assert made[0] == made[1] == made[2]


def test_culture_draws_from_labelled_questions(frame: pd.DataFrame, tmp_path: Path) -> None:
    few = frame.assign(culture=frame["culture"].where(frame["question_id"] < "q00025"))
    records.write(tmp_path / "r.parquet", few)
    _, questions = survey([str(tmp_path / "r.parquet")], compute_culture.CULTURES)
    assert len(questions["synthetic"]) == 25


def test_a_row_in_two_files_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    names = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    records.write(names[0], frame[frame["run"] == "a"])
    records.write(names[1], frame[(frame["run"] == "a") & (frame["language"] == "en")].head(3))
    parts, _ = survey(map(str, names))
    with pytest.raises(InputError, match=r"two rows for {'run': 'a'.*'q00000'}"):
        each(parts, place, processes=1)


def test_errors_come_back_from_processes(paths: list[str]) -> None:
    parts, _ = survey(paths)
    with pytest.raises(InputError, match="of run"):
        each(parts, refuse, processes=2, many=0)
    with pytest.raises(InputError, match="--processes: 0, expected at least 1"):
        each(parts, refuse, processes=0)


def test_a_process_that_is_killed_is_told_of(paths: list[str]) -> None:
    parts, _ = survey(paths)
    with pytest.raises(InputError, match="was killed, most likely for lack of memory"):
        each(parts, end, processes=2, many=0)


SLEEPER = """
import sys
import time
from multical.stats.record_files import each, survey

def sleep(block):
    time.sleep(60)

if __name__ == "__main__":
    parts, _ = survey(sys.argv[1:])
    each(parts, sleep, processes=2, many=0)
"""


def test_processes_end_with_their_parent(paths: list[str], tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, tmp_path / "sleeper.py", *paths], env=environment)
    try:
        children: list[psutil.Process] = []
        while len(children) < 3 and parent.poll() is None:  # two, and what tracks resources
            time.sleep(0.2)
            children = psutil.Process(parent.pid).children()
    finally:
        parent.terminate()
        parent.wait()
    assert len(children) == 3
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
