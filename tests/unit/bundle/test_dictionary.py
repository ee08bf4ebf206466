"""The page on data: it is current, says all columns and keys, and its examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import compute_effects
import verify_claims
from multical import records
from multical.bundle import dictionary
from multical.claims.params import MeasuredClaims
from multical.claims.schema import Change, Claim
from support.checkout import REPO
from support.claim_data import measured, study_1
from support.crates import VALIDATOR
from support.eval_schema import has_validator, metrics_of
from support.synthetic import make_records

PAGE = dictionary.page()
PARAMS = MeasuredClaims.model_validate(measured())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, str]]:
    return study_1(tmp_path_factory.mktemp("study"))


def test_the_page_is_current() -> None:
    found = (REPO / "docs/data.md").read_text(encoding="utf-8")
    assert found == PAGE, "`make schema` writes it anew"


def test_tables_have_these_columns(study: tuple[list[str], dict[str, str]]) -> None:
    paths, _ = study
    by_language, over_languages = compute_effects.compute(paths, PARAMS)
    assert list(by_language) == dictionary.TABLES["stats/effects.csv"]
    assert list(over_languages) == dictionary.TABLES["stats/effects_over_languages.csv"]


def test_verdicts_have_these_keys(study: tuple[list[str], dict[str, str]]) -> None:
    document = verify_claims.verify(PARAMS, *study, processes=1)
    assert document.keys() == dictionary.DOCUMENT.keys()
    own = Claim.model_fields.keys() - {"parts", "tested_on"}
    parts, tests = [], []
    for claim in document["claims"].values():
        assert claim.keys() == own | dictionary.VERDICT.keys() - {"study"}
        parts += claim["parts"]
    for part in parts:
        assert part.keys() == Change.model_fields.keys() | dictionary.MEASURED.keys()
        tests += part["tests"]
    assert tests
    for test in tests:
        assert test.keys() == dictionary.TEST.keys()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two runs, where the demo has them."""
    folder = tmp_path_factory.mktemp("demo")
    frame = make_records(["tiny", "tiny.facts.ls0.s0"], ["en", "fr"], 50, 1)
    for run, rows in frame.groupby("run", observed=True):
        records.write(folder / f"results/demo/records/{run}/synthetic.parquet", rows)
    return folder


def test_five_lines_of_pandas_print_the_accuracy(demo: Path) -> None:
    lines = [line.strip() for line in PAGE.splitlines() if line.startswith("    ")]
    assert len(lines) == 5
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=demo, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    wanted = metrics_of(sorted(map(str, demo.rglob("*.parquet"))), PARAMS, ["text_sum"])
    wanted = wanted.xs("accuracy", level="metric").droplevel("readout")
    found = re.findall(r"(\S+) +(0\.\d+)$", done.stdout, re.M)
    assert [name for name, _ in found] == ["en", "fr"] * 2
    assert [float(value) for _, value in found] == pytest.approx(wanted.tolist())


@has_validator
def test_a_line_of_duckdb_counts_the_answers(demo: Path) -> None:
    """DuckDB is in the environment of tests alone."""
    (query,) = re.findall(r"`(SELECT [^`]*)`", PAGE)
    program = "import duckdb, sys; print(sorted(duckdb.sql(sys.argv[1]).fetchall()))"
    done = subprocess.run(
        [VALIDATOR, "-c", program, query], cwd=demo, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[('tiny', 100), ('tiny.facts.ls0.s0', 100)]\n"


def test_a_column_keeps_its_meaning_in_the_file(demo: Path) -> None:
    import pyarrow.parquet as pq

    schema = pq.read_schema(next(demo.rglob("*.parquet")))
    assert schema.field("gold").metadata == {b"doc": b"index of the right option, from 0"}
