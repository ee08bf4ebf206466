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
`options`      list<string>   2 to 10 different texts (of their NFC form) that are not empty
`answer`       integer        index of the right option, from 0
=============  =============  ==============================================================

Any other column is an error, so that a misspelt column does not go unnoticed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from multical import jsonl, parquet
from multical.data.odd_rows import OddRowError, OddRows, broken, shown
from multical.errors import InputError

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


def read(path: str | Path, odd: OddRows | None = None) -> pd.DataFrame:
    """Read and check a benchmark, `.parquet`, or `.jsonl` with one question per line.

    Rows keep their order, and `options` are lists of str. Raises `InputError` with the file and all
    rows (Parquet, from 0) or lines (JSON Lines, from 1) that break the schema. `odd` may leave rows
    out: those with an empty text, no right option, or options that are alike, too few or too many.
    """
    odd, suffix = odd or OddRows(), Path(path).suffix
    if suffix == ".parquet":
        rows = _texts(parquet.read(path), path)
        return _frame([(f"row {i}", row) for i, row in enumerate(rows)], path, odd)
    if suffix == ".jsonl":
        return _frame([*jsonl.lines(path)], path, odd)
    raise InputError(f"{path}: found suffix {suffix!r}, expected .parquet or .jsonl")


def write(path: str | Path, frame: pd.DataFrame) -> None:
    """Check questions and write them as Parquet, sorted by language and question id.

    The same rows in another order give the same bytes.
    """
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    checked = _frame([(f"row {i}", row) for i, row in enumerate(rows)], path, OddRows())
    checked = checked.sort_values(["language", "question_id"], kind="stable", ignore_index=True)
    table = pa.Table.from_pylist(checked.to_dict("records"), schema=SCHEMA)
    parquet.write(path, table)


def counted(questions: Counter[Any], left_out: Counter[Any]) -> pd.DataFrame:
    """A report on a benchmark: questions, and rows left out, by (language, kind of question)."""
    return pd.DataFrame(
        {
            "language": key[0],
            "kind": key[1],
            "questions": questions[key],
            "left_out": left_out[key],
        }
        for key in sorted({*questions, *left_out}, key=str)
    )


def alike(texts: Sequence[str]) -> bool:
    """Whether two texts look the same: equal but for spaces around them and Unicode's forms."""
    return len(set(map(bare, texts))) < len(texts)


def bare(text: str) -> str:
    """A text in Unicode's composed form (NFC), without spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def _texts(table: pa.Table, path: str | Path) -> list[dict[str, Any]]:
    try:
        return list(table.to_pylist())
    except UnicodeDecodeError as error:
        raise parquet.unreadable(path, error) from error


def _frame(rows: list[tuple[str, Any]], path: str | Path, odd: OddRows) -> pd.DataFrame:
    """The questions; each row is an object, or a line of JSON."""
    seen: dict[tuple[str, str], str] = {}
    values = []
    for place, row in rows:
        try:
            row = jsonl.parse(row) if isinstance(row, str) else row
            _check(row)
            language, name = row["language"], row["question_id"]
            if (first := seen.setdefault((language, name), place)) != place:
                sentence = f"question_id {name!r} in language {language!r} was already in {first}"
                raise broken("an id that occurs twice", sentence)
            values.append([row.get(name) for name in SCHEMA.names])
        except OddRowError as error:
            odd.add(str(path), place, error, group=_group(row))
        except ValueError as error:
            odd.add(str(path), place, broken("not JSON", str(error)))
    odd.check()
    if not values:
        but = f" but odd rows: {odd.told()}" if odd.rows else ""
        raise InputError(f"{path}: found no questions{but}, expected at least one")
    return pd.DataFrame(values, columns=SCHEMA.names, dtype=object).astype({"answer": "int64"})


def _group(row: Any) -> tuple[Any, Any] | None:
    return (row.get("language"), row.get("subject")) if isinstance(row, dict) else None


def _check(row: Any) -> None:
    if not isinstance(row, dict):
        raise broken("no object", f"found {type(row).__name__}, expected an object")
    for names, word in (
        (sorted(set(REQUIRED) - set(row)), "missing"),
        (sorted(set(row) - set(SCHEMA.names), key=str), "unknown"),
    ):
        if names:
            message = f"{word} columns {names}, expected {SCHEMA.names}"
            raise broken(f"{word} columns", message)
    for name in ("question_id", "language"):
        if not _is_text(row[name]):
            raise broken(f"a bad {name}", f"{name}: found {shown(row[name])}, expected a text")
    language, subject, culture = row["language"], row.get("subject"), row.get("culture")
    if not TAG.fullmatch(language):
        message = f"language: found {shown(language)}, expected a BCP 47 tag"
        raise broken("a bad language", message)
    if subject is not None and not _is_text(subject):
        message = f"subject: found {shown(subject)}, expected a text or null"
        raise broken("a bad subject", message)
    if culture not in (None, *CULTURES):
        message = f"culture: found {shown(culture)}, expected CS, CA or null"
        raise broken("a bad culture", message)
    _check_content(row["question"], row["options"], row["answer"])


def _check_content(question: Any, options: Any, answer: Any) -> None:
    values = options if isinstance(options, list) else [options]
    for name, whole, parts, expected in (
        ("question", question, [question], "a text"),
        ("options", options, values, "a list of texts"),
    ):
        if not all(map(_is_text, parts)):
            is_empty = all(part is None or isinstance(part, str) for part in parts)
            message = f"{name}: found {shown(whole)}, expected {expected}"
            raise OddRowError("an empty text", message) if is_empty else broken("no text", message)
    if isinstance(options, str):
        raise broken("no text", f"options: found {shown(options)}, expected a list of texts")
    if not 2 <= len(options) <= MAX_OPTIONS:
        message = f"options: found {len(options)}, expected 2 to {MAX_OPTIONS}"
        raise OddRowError("too few or too many options", message)
    if alike(options):
        message = f"options: found two alike in {shown(options)}, expected different ones"
        raise OddRowError("two options alike", message)
    right = f"an integer from 0 to {len(options) - 1}"
    message = f"answer: found {shown(answer)}, expected {right}"
    if answer is not None and (isinstance(answer, bool) or not isinstance(answer, int)):
        raise broken("no number as answer", message)
    if answer is None or not 0 <= answer < len(options):
        raise OddRowError("no right option", message)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
