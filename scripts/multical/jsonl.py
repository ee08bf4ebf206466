"""JSON Lines, read with the place of every value, for messages that name it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multical.errors import InputError


def read(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Yield ("line N", value) for each line of a JSON Lines file; blank lines are skipped."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable UTF-8 file ({error})") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}: line {number}: not JSON ({error})") from error
