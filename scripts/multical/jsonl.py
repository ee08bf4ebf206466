"""JSON Lines, read with the place of every value, for messages that name it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multical.errors import InputError

#: Half of a character beyond the 16-bit plane, as JSON escapes it
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Yield ("line N", value) for each line of a JSON Lines file; blank lines are skipped."""
    for place, line in lines(path):
        try:
            yield place, parse(line)
        except ValueError as error:
            raise InputError(f"{path}: {place}: {error}") from error


def lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yield ("line N", text) for each line of a UTF-8 file that is not blank."""
    try:
        texts = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable UTF-8 file ({error})") from error
    for number, text in enumerate(texts, 1):
        if text.strip():
            yield f"line {number}", text


def parse(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError`, with a sentence, for a text that has none."""
    try:
        value = json.loads(text)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from error
    except UnicodeEncodeError as error:
        found = ascii(error.object[error.start])[1:-1]
        raise ValueError(f"found {found}, half of a character, expected whole ones") from error
    except RecursionError as error:
        raise ValueError("found lists or objects too deep inside each other") from error
    except ValueError as error:
        raise ValueError("found an integer with thousands of digits") from error
    return value
