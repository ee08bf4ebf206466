"""What was made, held against the SHA-256 that its sidecar has of it."""

from __future__ import annotations

import json
from pathlib import Path

from multical.errors import InputError
from multical.files import sha256


def check(path: str | Path) -> None:
    """Raise `InputError` where a file is not what the sidecar `path` says was made."""
    try:
        made = dict(json.loads(Path(path).read_text(encoding="utf-8"))["outputs"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not readable as a sidecar ({error!r})") from error
    for name, then in made.items():
        if not Path(name).is_file():
            raise InputError(f"{name}: no such file, expected what {path} says was made")
        if (now := sha256(name)) != then:
            found = f"found SHA-256 {now}, expected {then} as in {path}"
            raise InputError(f"{name}: changed since it was made: {found}")
