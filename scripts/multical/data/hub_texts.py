"""Rows of JSON and CSV files whose texts stay what they are.

`datasets` reads such files with pandas and Arrow, which take "None" and "NA" for nothing, "01" for
the number 1, and "2020-01-01" for a time. Here, every value of a CSV file is a text, or None if it
is empty; a value of a JSON file is what JSON says. The card's options for CSV files count, and
`encoding` and `field` for JSON files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from multical import jsonl
from multical.data.hub import one_line
from multical.errors import InputError

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows that all have the same columns, as those of a `datasets.Dataset`."""

    column_names: list[str]
    rows: list[Row]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Row:
        return self.rows[number]

    def to_list(self) -> list[Row]:
        """All rows."""
        return self.rows


def read(files: Sequence[tuple[str, Path]], config: Any) -> Table:
    """The rows of files, given as pairs of name and path; `config` is that of their builder.

    A column that a row lacks is None. Raises `InputError` with the name of a file that cannot be
    read.
    """
    reader = _json if type(config).__name__ == "JsonConfig" else _csv
    rows: list[Row] = []
    for name, path in files:
        try:
            rows += reader(path, config)
        except (OSError, ValueError, LookupError, TypeError) as error:
            sentence = f"not a data set as its card says ({one_line(error)})"
            raise InputError(f"{name}: {sentence}") from error
    columns = list(dict.fromkeys(column for row in rows for column in row))
    empty = dict.fromkeys(columns)
    return Table(columns, [row if len(row) == len(columns) else empty | row for row in rows])


def _csv(path: Path, config: Any) -> Iterator[Row]:
    options = config.pd_read_csv_kwargs | {
        "dtype": str,
        "keep_default_na": False,
        "na_values": [""],
        "na_filter": True,
        "chunksize": 10_000,
    }
    with pd.read_csv(path, **options) as parts:
        for frame in parts:
            yield from frame.astype(object).where(frame.notna(), None).to_dict("records")


def _json(path: Path, config: Any) -> Iterator[Row]:
    """Objects, one per line or in a list, which may be the value of a key of the file."""
    with path.open(encoding=config.encoding) as stream:
        if config.field is None and stream.read(4096).lstrip()[:1] != "[":
            stream.seek(0)
            values = _lines(stream)
        else:
            stream.seek(0)
            listed = jsonl.parse(stream.read())
            listed = listed if config.field is None else listed[config.field]
            values = ((f"row {number}", value) for number, value in enumerate(listed))
        for place, value in values:
            if not isinstance(value, dict):
                raise ValueError(f"{place}: found {type(value).__name__}, expected an object")
            yield value


def _lines(stream: Any) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            try:
                yield f"line {number}", jsonl.parse(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
