"""Puts the files of a bundle into place, whole even if the process is killed on the way.

All is checked and prepared in a folder that no other program reads: the files, and a plan of the
rest. It gets the name `STAGED` in one step. Before that nothing is changed here, and after that
whatever starts next goes on where the process was cut off. Each step of the plan can be done twice.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from multical import locks
from multical.config import files
from multical.config.files import LOCAL, Data
from multical.errors import InputError
from multical.files import atomic, remove, remove_leftovers
from multical.params import Strict, parse
from multical.patches.snakemake import write_records
from multical.provenance import hosts

STAGED = Path("results/.unbundle")
#: In this folder: the plan, the files to put into place, and the file that a process at work locks
PLAN, FILES, LOCK = "plan.json", "files", "lock"


class Plan(Strict):
    """What is to be done beside putting files into place."""

    bundle: str
    times: dict[str, int]  # of files that are here already, seconds from 1970
    entries: Data  # new ones of the config
    records: dict[str, dict[str, Any]]  # Snakemake's, by output
    again: list[str]  # the outputs whose records here are replaced
    machines: list[dict[str, Any]]


def unbundle(prepare: Callable[[Path], Plan]) -> Plan:
    """Put files into place, and do the rest of a plan, which is returned.

    `prepare` checks everything, and makes the files below a new folder under the names that they
    will have here. Raises `InputError` if another process unpacks a bundle here.
    """
    finish()
    with ExitStack() as held:
        with atomic(STAGED) as folder:
            (folder / FILES).mkdir(parents=True)
            plan = prepare(folder / FILES)
            (folder / PLAN).write_text(json.dumps(plan.model_dump()), encoding="utf-8")
            held.enter_context(_locked(folder))
            if STAGED.exists():
                raise _at_work()
        _put(plan)
    remove(STAGED)
    return plan


def finish() -> None:
    """Go on where a process that unpacked a bundle here was cut off, and say so.

    Raises `InputError` if such a process is at work, or if it cannot go on.
    """
    remove_leftovers(STAGED)
    try:
        with _locked(STAGED):
            plan = parse(Plan, (STAGED / PLAN).read_text(encoding="utf-8"), str(STAGED / PLAN))
            _put(plan)
    except FileNotFoundError:
        return  # there is none
    remove(STAGED)
    print(f"{plan.bundle}: unpacking it was cut off, and is finished now", file=sys.stderr)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        descriptor = locks.take(folder / LOCK)
    except OSError as error:
        if error.errno not in locks.NO_LOCKS:
            raise
        yield
        return
    if descriptor is None:
        raise _at_work()
    try:
        yield
    finally:
        os.close(descriptor)


def _at_work() -> InputError:
    return InputError(
        f"{STAGED}: another process unpacks a bundle here, expected none: wait until it ends"
    )


def _put(plan: Plan) -> None:
    try:
        for name, time in plan.times.items():
            with suppress(FileNotFoundError):
                os.utime(name, (time, time))
        if plan.entries:
            _add_entries(plan.entries)
        for file in sorted((STAGED / FILES).rglob("*")):
            if not file.is_dir():
                _place(file, file.relative_to(STAGED / FILES))
        write_records(plan.records, plan.again)
        hosts.note(plan.machines)
    except OSError as error:
        raise InputError(
            f"{plan.bundle}: unpacking it is cut off ({error}), and goes on when Snakemake or "
            "make unbundle is started next"
        ) from error


def _place(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # on another file system
            raise
        with atomic(target) as temporary:
            shutil.copy2(file, temporary)
        file.unlink()


def _add_entries(added: Data) -> None:
    from multical.bundle import entries

    remove_leftovers(Path(LOCAL))
    if lacking := entries.missing(added, files.read()):
        text = entries.with_own(lacking)
        with atomic(LOCAL) as temporary:
            temporary.write_text(text, encoding="utf-8")
