"""Multiple-choice questions: the schema of all benchmarks, and functions to read and write them.

A benchmark is one Parquet or JSON Lines file with one row per (question, language):

=============  =============  ==============================================================
column         type           meaning
=============  =============  ==============================================================
`question_id`  string         the same in every language if the benchmark is parallel
`language`     string         BCP 47 tag, such as `en` or `zh-Hant`
`subject`      string         subject or kind of question; null or no such column if none
`culture`      string         `CS`, culturally sensitive, or `CA`, agnostic; null or no such
                              column if nobody annotated it
`question`     string         the question, without its options
`options`      list<string>   2 to 10 different texts that are not empty
`answer`       integer        index of the right option, from 0
=============  =============  ==============================================================

Any other column is an error, so that a misspelt column does not go unnoticed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from multical import jsonl
from multical.errors import InputError
from multical.files import atomic

MAX_OPTIONS = 10
SCHEMA = pa.schema(
    [
        pa.field("question_id", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("subject", pa.string()),
        pa.field("culture", pa.string()),
        pa.field("question", pa.string(), nullable=False),
        pa.field("options", pa.list_(pa.string()), nullable=False),
        pa.field("answer", pa.int64(), nullable=False),
    ],
    metadata={"multical": "questions 1"},
)
CULTURES = ("CS", "CA")
REQUIRED = [field.name for field in SCHEMA if not field.nullable]
TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def read(path: str | Path) -> pd.DataFrame:
    """Read and check a benchmark, `.parquet`, or `.jsonl` with one question per line.

    Rows keep their order, and `options` are lists of str. Raises `InputError` with the file and the
    first row (Parquet, from 0) or line (JSON Lines, from 1) that breaks the schema.
    """
    suffix = Path(path).suffix
    if suffix == ".parquet":
        return _frame(_read_parquet(path), path)
    if suffix == ".jsonl":
        return _frame([*jsonl.read(path)], path)
    raise InputError(f"{path}: found suffix {suffix!r}, expected .parquet or .jsonl")


def write(path: str | Path, frame: pd.DataFrame) -> None:
    """Check questions and write them as Parquet, sorted by language and question id.

    The same rows in another order give the same bytes.
    """
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    checked = _frame([(f"row {i}", row) for i, row in enumerate(rows)], path)
    checked = checked.sort_values(["language", "question_id"], kind="stable", ignore_index=True)
    table = pa.Table.from_pylist(checked.to_dict("records"), schema=SCHEMA)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _read_parquet(path: str | Path) -> list[tuple[str, Any]]:
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable Parquet file ({error})") from error
    return [(f"row {i}", row) for i, row in enumerate(rows)]


def _frame(rows: list[tuple[str, Any]], path: str | Path) -> pd.DataFrame:
    if not rows:
        raise InputError(f"{path}: found no questions, expected at least one")
    seen: dict[tuple[str, str], str] = {}
    for place, row in rows:
        _check(row, f"{path}: {place}")
        key = (row["language"], row["question_id"])
        if key in seen:
            raise InputError(
                f"{path}: {place}: question_id {key[1]!r} in language {key[0]!r} "
                f"was already in {seen[key]}"
            )
        seen[key] = place
    values = [[row.get(name) for name in SCHEMA.names] for _, row in rows]
    return pd.DataFrame(values, columns=SCHEMA.names, dtype=object).astype({"answer": "int64"})


def _check(row: Any, place: str) -> None:
    if not isinstance(row, dict):
        raise InputError(f"{place}: found {type(row).__name__}, expected an object")
    for names, word in (
        (sorted(set(REQUIRED) - set(row)), "missing"),
        (sorted(set(row) - set(SCHEMA.names), key=str), "unknown"),
    ):
        if names:
            raise InputError(f"{place}: {word} columns {names}, expected {SCHEMA.names}")
    for name in ("question_id", "language", "question"):
        if not _is_text(row[name]):
            raise InputError(f"{place}: {name}: found {row[name]!r}, expected a text")
    if not TAG.fullmatch(row["language"]):
        raise InputError(f"{place}: language: found {row['language']!r}, expected a BCP 47 tag")
    if row.get("subject") is not None and not _is_text(row["subject"]):
        raise InputError(f"{place}: subject: found {row['subject']!r}, expected a text or null")
    if row.get("culture") not in (None, *CULTURES):
        raise InputError(f"{place}: culture: found {row['culture']!r}, expected CS, CA or null")
    _check_options(row["options"], row["answer"], place)


def _check_options(options: Any, answer: Any, place: str) -> None:
    if not isinstance(options, list) or not all(_is_text(option) for option in options):
        raise InputError(f"{place}: options: found {options!r}, expected a list of texts")
    if not 2 <= len(options) <= MAX_OPTIONS:
        raise InputError(f"{place}: options: found {len(options)}, expected 2 to {MAX_OPTIONS}")
    if len({option.strip() for option in options}) < len(options):
        raise InputError(f"{place}: options: found two alike in {options}, expected different ones")
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(options):
        raise InputError(
            f"{place}: answer: found {answer!r}, expected an integer from 0 to {len(options) - 1}"
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
