"""What a file of questions is like, read before the first job and without numpy or pandas."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from multical.fixity import Identity, identity

#: By language, how many questions have how many options
Outline = dict[str, Counter[int]]


def outline(path: str | Path) -> Outline | None:
    """The outline of a .jsonl or .parquet file; none if there is no such file to be read.

    Rows that make no question do not count: `multical.data.questions` says what is wrong with them.
    """
    try:
        return _outline(Path(path), identity(path))
    except (
        OSError,
        ValueError,
        RecursionError,
    ):  # json's and pyarrow's errors are ValueErrors, too
        return None


def length(path: str | Path) -> int | None:
    """The number of lines of a text file that are not blank; none if it cannot be read."""
    try:
        return _length(Path(path), identity(path))
    except OSError:
        return None


@cache
def _length(path: Path, known: Identity) -> int:
    """The same for a file as it was, as in `_outline`."""
    with path.open("rb") as lines:
        return sum(bool(line.strip()) for line in lines)


def reported(path: str | Path) -> set[str] | None:
    """The languages in the report on a benchmark; none if there is no such file to be read."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            return {row["language"] for row in csv.DictReader(stream)}
    except (OSError, ValueError, KeyError, csv.Error):
        return None


@cache
def _outline(path: Path, known: Identity) -> Outline:
    """The outline of a file; its identity is a key of the cache."""
    found: Outline = {}
    for row in _rows(path):
        if isinstance(row, dict):
            language, options = row.get("language"), row.get("options")
            if isinstance(language, str) and isinstance(options, list) and len(options) > 1:
                found.setdefault(language, Counter())[len(options)] += 1
    return found


def _rows(path: Path) -> Iterable[Any]:
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as stream:
            yield from (json.loads(line) for line in stream if line.strip())
    elif path.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from pq.read_table(path, columns=["language", "options"]).to_pylist()
    else:
        raise ValueError(path)
