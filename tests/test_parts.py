"""Records taken one part at a time give what they give all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import compute_culture
import compute_metrics
from multical import records
from multical.cells import Block
from multical.errors import InputError
from multical.parts import each, survey
from synthetic import make_records

LEVELS = {"en": "high", "ko": "mid"}
PARAMS: dict[str, Any] = {
    "readouts": ["text_ppl", "letter"],
    "metrics": ["accuracy", "ece", "ece_mass", "auroc", "aurc"],
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


def place(block: Block) -> tuple[str, str, list[str]]:
    return block.keys["run"], block.keys["benchmark"], list(block.languages)


def test_files_that_share_a_run_are_one_part(paths: list[str]) -> None:
    parts, questions = survey(paths, LEVELS)
    assert sorted(len(part.paths) for part in parts) == [1, 2]
    assert questions == {"synthetic": [f"q{number:05d}" for number in range(30)]}
    expected = [(run, "synthetic", ["en", "ko"]) for run in "abc"]
    assert each(parts, place, processes=1) == expected
    assert each(parts, place, processes=2, many=0) == expected


@pytest.mark.parametrize("processes", [1, 2])
def test_tables_are_those_of_all_records(
    frame: pd.DataFrame, paths: list[str], processes: int
) -> None:
    parts, questions = survey(paths, LEVELS)
    made = each(parts, compute_metrics.block_rows, questions, PARAMS, processes=processes, many=0)
    for found, expected in zip(
        compute_metrics.tables(made), compute_metrics.compute(frame, PARAMS), strict=True
    ):
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_culture_draws_from_labelled_questions(frame: pd.DataFrame, tmp_path: Path) -> None:
    few = frame.assign(culture=frame["culture"].where(frame["question_id"] < "q00025"))
    records.write(tmp_path / "r.parquet", few)
    parts, questions = survey([str(tmp_path / "r.parquet")], LEVELS, compute_culture.CULTURES)
    assert len(questions["synthetic"]) == 25
    made = each(
        parts,
        compute_culture.block_rows,
        questions,
        PARAMS,
        processes=1,
        select=compute_culture.with_label,
    )
    found = pd.DataFrame([row for rows in made for row in rows], columns=compute_culture.COLUMNS)
    pd.testing.assert_frame_equal(found, compute_culture.compute(few, PARAMS), check_exact=True)


def test_a_row_in_two_files_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    names = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    records.write(names[0], frame[frame["run"] == "a"])
    records.write(names[1], frame[(frame["run"] == "a") & (frame["language"] == "en")].head(3))
    parts, _ = survey(map(str, names), LEVELS)
    with pytest.raises(InputError, match=r"two rows for {'run': 'a'.*'q00000'}"):
        each(parts, place, processes=1)


def test_errors_come_back_from_processes(paths: list[str]) -> None:
    with pytest.raises(InputError, match=r"no \['ko'\], which the records hold"):
        survey(paths, {"en": "high"})
    parts, _ = survey(paths, LEVELS)
    with pytest.raises(InputError, match="of run"):
        each(parts, refuse, processes=2, many=0)


def refuse(block: Block) -> None:
    raise InputError(f"of run {block.keys['run']}")
