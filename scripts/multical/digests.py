"""A list of the digests of a folder's files, kept in the folder, to tell whether it is whole.

The digests are of XXH3, which tells damage from content as well as SHA-256 does, in a fifth of the
time. They are no protection against a forger.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import xxhash

LIST = "digests.json"


def write(folder: Path) -> None:
    """Write the list, after all other files."""
    text = json.dumps(_digests(folder), indent=2, sort_keys=True)
    (folder / LIST).write_text(text + "\n", encoding="utf-8")


def fault(folder: Path) -> str:
    """What is wrong with a folder, as a sentence; empty if all files are as listed."""
    try:
        listed: dict[str, Any] = json.loads((folder / LIST).read_bytes())
        names = sorted(listed)
    except OSError:
        return f"found no {LIST}, expected it beside the other files"
    except (ValueError, TypeError, RecursionError):
        return f"{LIST}: found no list of digests, expected one"
    found = _digests(folder)
    for name in names:
        if name not in found:
            return f"{name}: found no such file, expected it as in {LIST}"
        if found[name] != listed[name]:
            return f"{name}: found other content than was written, expected that of {LIST}"
    return ""


def _digests(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {
        file.relative_to(folder).as_posix(): _digest(file) for file in files if file.name != LIST
    }


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, xxhash.xxh3_128).hexdigest()
