"""Has Snakemake 9.27 do less for each file of a job.

A file of a job is made from a pattern of a rule, or from what a function returns, in up to three
steps. Each step makes a file anew, looks for names of folders such as <results> in it, and copies
its flags. Whether a file has a flag is asked over a hundred times a job, each time through an
abstract class. Here the steps and the question are short where the file is a plain one; for all
others, such as those of a remote storage, Snakemake's own functions are called.

Until snakemake > 9.27.1: files that are made once; flags that are looked up.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from functools import cache
from typing import Any

import snakemake.io
from snakemake.exceptions import WildcardError
from snakemake.io import WILDCARD_REGEX, AnnotatedString, _IOFile
from snakemake.io.fmt import fmt_iofile
from snakemake.iocontainers import Namedlist

_flagged, _file = snakemake.io.is_flagged, snakemake.io.IOFile
_apply, _exists, _plain = _IOFile.apply_wildcards, _IOFile.exists, Namedlist._plainstrings


def is_flagged(value: Any, flag: str) -> bool:
    """`snakemake.io.is_flagged`."""
    text = value._file if type(value) is _IOFile else value
    if type(text) is AnnotatedString:
        return bool(text._flags.get(flag))
    return type(text) is not str and _flagged(value, flag)


def is_storage(file: Any) -> bool:
    """`_IOFile.is_storage`."""
    text = file._file
    if type(text) is AnnotatedString:
        return "storage_object" in text._flags and bool(text._flags["storage_object"])
    return type(text) is not str and is_flagged(text, "storage_object")


async def exists(file: Any) -> bool:
    """`_IOFile.exists`."""
    cache = file.rule.workflow.iocache
    if not cache.active or is_storage(file):
        return bool(await _exists(file))
    known = dict.get(cache.exists_local, file)
    if known is None and os.path.dirname(file) not in cache.exists_local.has_inventory:  # noqa: PTH120
        return bool(await _exists(file))
    return bool(known)


def make(file: Any, rule: Any) -> Any:
    """`snakemake.io.IOFile`."""
    if type(file) is str and is_plain(file):
        return _made(file, file, rule)
    if type(file) is _IOFile and file.rule is rule and not (file.is_callable() or file.is_storage):
        return _made(file, file._file, rule)  # its name was looked through before
    return _file(file, rule)


def is_plain(name: str) -> bool:
    """Whether the name of a file is to stay as it is."""
    return "<" not in name and not name.endswith("/")


def _made(name: str, text: str, rule: Any) -> Any:
    """A file as `_IOFile.__new__` makes it, of a plain name, which `text` has with its flags."""
    made = str.__new__(_IOFile, name)
    made._is_callable, made._file, made.rule = False, text, rule
    made._regex = made._wildcard_constraints = None
    return made


def apply_wildcards(file: Any, wildcards: Any) -> Any:
    """`_IOFile.apply_wildcards`."""
    if file.is_callable() or file.is_storage:
        return _apply(file, wildcards)
    name = filled_in(file._file, wildcards)
    if not is_plain(name):
        return _apply(file, wildcards)
    text = str.__new__(AnnotatedString, name)
    text.callable, text._flags = None, dict(file.flags)
    return _made(name, text, file.rule)


def filled_in(pattern: str, wildcards: Any) -> str:
    """`snakemake.io.apply_wildcards`."""
    if "{" not in pattern:
        return str(pattern)
    try:
        return "".join(
            [str(wildcards[part]) if is_name else part for part, is_name in _parts(str(pattern))]
        )
    except KeyError as error:
        raise WildcardError(str(error)) from error


@cache
def _parts(pattern: str) -> list[tuple[str, bool]]:
    """The parts of a pattern in their order, and whether each is the name of a wildcard."""
    parts, end = [], 0
    for match in WILDCARD_REGEX.finditer(pattern):
        parts += [(pattern[end : match.start()], False), (match.group("name"), True)]
        end = match.end()
    return [*parts, (pattern[end:], False)]


def plain_strings(files: Any) -> Any:
    """`Namedlist._plainstrings`."""
    if any(type(file) is _IOFile and is_storage(file) for file in files):
        return _plain(files)
    return files.__class__(toclone=files, custom_map=str)


def format_files(files: Iterable[Any], **how: bool) -> list[str]:
    """`snakemake.jobs.format_files`."""
    return [
        fmt_iofile(file, **how) if type(file) is not _IOFile or file.flags else str(file)
        for file in files
    ]


async def missing_output(job: Any, requested: Iterable[Any]) -> AsyncIterator[Any]:
    """`Job.missing_output`, which makes a generator for each file."""
    for name in requested:
        file = job.output_by_path.get(str(name), name)
        if is_flagged(file, "pipe") or is_flagged(file, "service") or not await file.exists():
            yield file


def patch() -> None:
    """Have this Snakemake do less, as above."""
    import snakemake.dag
    import snakemake.io.fmt
    import snakemake.jobs
    import snakemake.persistence
    import snakemake.rules

    for module in (
        snakemake.dag, snakemake.io, snakemake.io.fmt, snakemake.jobs, snakemake.persistence,
        snakemake.rules,
    ):  # fmt: skip
        module.is_flagged = is_flagged
    snakemake.rules.IOFile = make
    snakemake.rules.apply_wildcards = snakemake.io.apply_wildcards = filled_in
    _IOFile.apply_wildcards, _IOFile.exists = apply_wildcards, exists
    _IOFile.is_storage = property(is_storage)
    Namedlist._plainstrings = plain_strings
    snakemake.jobs.format_files = format_files
    snakemake.jobs.Job.missing_output = missing_output
