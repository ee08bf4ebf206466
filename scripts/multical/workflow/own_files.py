"""The user's own files that the config names, as the inputs of jobs.

All that the wanted targets rest on must be there when Snakemake starts, since without it nobody
knows whether they are current. Only what came in a bundle counts without them: a bundle leaves them
out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from multical import paths
from multical.config.schema import Config
from multical.errors import InputError

_past = ContextVar("past", default=False)


def of_source(key: str, source: Any, made: str) -> list[str]:
    """The files of a source of kind `file` or `folder` at a key of the config; else none.

    None, too, if they are gone and the output `made` of them came in a bundle. Raises `InputError`
    if they are gone otherwise.
    """
    if source.kind == "folder":
        files = [str(file) for file in _below(Path(source.path))]
        return _present(f"{key}.source.path", source.path, files, made, "a folder with files")
    return named(f"{key}.source.path", source.path, made) if source.kind == "file" else []


def named(key: str, path: str | None, made: str = "") -> list[str]:
    """The file at a key of the config, which may be null, as `of_source` has it."""
    if path is None:
        return []
    files = [path] if _past.get() or Path(path).is_file() else []
    return _present(key, path, files, made, "a file that exists")


def of_release(config: Config, root: str) -> list[str]:
    """The local files of a study's released outputs, if no manifest lists their content."""
    source, made = config.released(root).source, paths.RELEASED_RECORDS.format(root=root)
    if source.local is None:
        return []
    files = [name for name in source.local_files if Path(name).exists()]
    key = "archive" if source.local == source.archive else "variable"
    key, expected = f"studies.{root}.source.{key}", "an archive or folder that exists"
    present = _present(key, source.local, files, made, expected)
    return [] if source.manifest else present


@contextmanager
def of_the_past() -> Iterator[None]:
    """Let files be gone inside the `with` block, where a config of the past is looked at."""
    token = _past.set(True)
    try:
        yield
    finally:
        _past.reset(token)


def may_be_gone(made: str) -> bool:
    """Whether the files that the output `made` was made of need not be there."""
    if _past.get():
        return True
    if not Path(made).is_file():
        return False
    from multical.patches import snakemake  # which is slow, and seldom needed

    record = snakemake.record_of(made)
    return record is not None and record.job_hash is None  # as only in a bundle


def _present(key: str, path: str, files: list[str], made: str, expected: str) -> list[str]:
    if not files and not may_be_gone(made):
        raise InputError(f"config: {key}: found {path}, expected {expected}")
    for name in files:
        if not (_past.get() or os.access(name, os.R_OK)):
            raise InputError(f"config: {key}: found {name}, expected permission to read it")
    return files


def _below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The files of a folder and its sub-folders, also behind links, but for hidden sub-folders.

    In hidden ones, such as .git and .cache, other programs keep notes.
    """
    if not folder.is_dir() or (real := folder.resolve()) in above:  # a link to where it is in
        return
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif not path.name.startswith("."):
            yield from _below(path, above | {real})
