"""Parquet files, written with checksums of their pages, which are compared on reading.

A flipped bit is an error then, where it would be another value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from multical.errors import InputError
from multical.files import atomic

#: What pyarrow raises for a file that it cannot read
UNREADABLE = (OSError, pa.ArrowException, UnicodeDecodeError)


def write(path: str | Path, table: pa.Table) -> None:
    """Write a table, atomically. The same table gives the same bytes."""
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read(path: str | Path, columns: list[str] | None = None, filters: Any = None) -> pa.Table:
    """Read a table, or some of its columns and rows. A file may have no checksums.

    Raises `InputError` for a file that is missing, damaged or no Parquet file.
    """
    try:
        return pq.read_table(
            path, columns=columns, filters=filters, page_checksum_verification=True
        )
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def schema(path: str | Path) -> pa.Schema:
    """The schema of a file. Raises `InputError` as `read`."""
    try:
        return pq.read_schema(path)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def unreadable(path: str | Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a readable Parquet file ({error})")
