"""Files: written whole or not at all, checksums, and search by pattern."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from multical import locks
from multical.errors import InputError

#: The end of a temporary folder's name, and the file in it whose lock its process holds
TEMPORARY, LOCK = ".tmp", ".lock"


@contextmanager
def atomic(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the name of `target`; rename it to `target` on success.

    The caller makes a file or a folder at the temporary path, and may put more in its parent, a
    folder of this call alone. On an exception all of it goes, and an existing `target` stays as it
    was. What a killed process leaves goes when the same target is next written.
    """
    target = Path(target)
    with _private(target) as folder:
        temporary = folder / target.name
        yield temporary
        if temporary.is_dir() and target.is_dir():
            target.rename(folder / f"{target.name}.old")
        temporary.replace(target)


def remove(folder: Path) -> None:
    """Remove a folder, if it exists. Under its name it is whole or gone, even after a kill."""
    with _private(folder) as place, suppress(FileNotFoundError):
        folder.rename(place / folder.name)


@contextmanager
def _private(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, locked, so that a later process knows if it is in use."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    prefix = f"{_start(target)}{os.getpid()}."
    folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=TEMPORARY, dir=target.parent))
    descriptor = None
    with suppress(OSError):  # a file system without locks
        descriptor = locks.take(folder / LOCK)
    try:
        yield folder
    finally:
        if descriptor is not None:
            os.close(descriptor)  # first, since NFS keeps an open file
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(target: Path) -> None:
    """Remove what a killed process of this host left when it wrote or removed `target`.

    A folder of a process that lives stays, and so does one whose lock is held or cannot be asked.
    """
    start = _start(target)
    for folder in target.parent.iterdir() if target.parent.is_dir() else ():
        pid = folder.name.removeprefix(start).partition(".")[0]
        if not (folder.name.startswith(start) and folder.suffix == TEMPORARY and pid.isdecimal()):
            continue
        with suppress(OSError):
            if _lives(int(pid)) or (descriptor := locks.take(folder / LOCK)) is None:
                continue
            os.close(descriptor)
            shutil.rmtree(folder, ignore_errors=True)


def _start(target: Path) -> str:
    """How the names of the temporary folders begin that this host makes for `target`."""
    return f".{target.name}.{socket.gethostname()}."


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # of another user
    return True


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
