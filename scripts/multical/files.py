"""Files: written whole or not at all, checksums, and search by pattern."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multical.errors import InputError


@contextmanager
def atomic(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` on success.

    The caller makes a file or a folder at the temporary path. On an exception it is removed, and
    an existing `target` stays as it was. The temporary name keeps the suffix, since writers
    choose their format by it.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():
            shutil.rmtree(target)
        temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    with atomic(path) as temporary:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def find(pattern: str) -> list[Path]:
    """The files that a path or glob pattern names, sorted; `InputError` if there are none."""
    anchor = Path(pattern).anchor
    paths = sorted(Path(anchor).glob(pattern.removeprefix(anchor)))
    if not paths:
        raise InputError(f"{pattern}: no such file, expected a samples_*.jsonl of the harness")
    return paths
