"""Copies of this repository: its code, as a new clone would have it, its config and smoke study."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from fcntl import LOCK_EX, flock
from functools import cache
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

from multical.config import files
from multical.provenance import code_parts, fingerprint
from support import forks
from support.fork_client import SHARED

REPO = Path(__file__).parents[2]
SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "--cores", "2"]
#: The whole smoke study.
TARGET = "results/smoke/headline.txt"
#: A style of figures that are drawn, and shown on a page, in less time
COARSE = "tests/support/data/coarse.mplstyle"
#: Bytes from which on files are linked rather than copied
HEAVY = 10_000_000


def copy(folder: Path) -> Path:
    """Copy every file that git knows or would add, by content; returns `folder`.

    And what is kept beside code: see `warm`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a program in C takes less than half of shutil's time for 1,500 files
    subprocess.run(["cp", "-r", f"{once('clone', _fill)}/.", folder], check=True)
    return folder


def _fill(folder: Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPO, capture_output=True, text=True, check=True)
    for name in names.stdout.splitlines():
        if (REPO / name).is_file():  # not one that is deleted but not yet committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, folder / name)
    warm(folder)


def warm(folder: Path) -> Path:
    """Give a clone what is kept beside code, which its first program would take seconds to make.

    That is byte code, and what fingerprints found in it. All of it is compared with the code, so
    that edits count. Returns `folder`.
    """
    for kept in _of_code().rglob("__pycache__"):
        place = folder / kept.relative_to(_of_code())
        shutil.copytree(kept, place, copy_function=shutil.copy, dirs_exist_ok=True)
    return folder


@cache
def _of_code() -> Path:
    """A folder with the code of this repository and what is kept beside it, of all workers."""
    folder = Path(os.environ[SHARED], "code")
    with open(folder.with_suffix(".lock"), "w") as lock:
        flock(lock, LOCK_EX)
        if not folder.exists():
            new = folder.with_suffix(".new")
            # what another process is about to write may be gone in a moment
            passing = shutil.ignore_patterns("*.pyc*", "*.nb?", ".*")
            for name in ("scripts", "tools"):
                shutil.copytree(REPO / name, new / name, ignore=passing)
            for file in new.rglob("*.py"):
                # a copy has another time
                py_compile.compile(str(file), invalidation_mode=PycInvalidationMode.CHECKED_HASH)
                fingerprint._read(file)
                code_parts.parts(file)
            new.rename(folder)
    return folder


def config(folder: Path = REPO) -> dict[str, Any]:
    """The config of a copy, or of the repository, with all defaults; nobody else's to change."""
    return deepcopy(_own_config()) if folder == REPO else _read_config(folder)


@cache
def _own_config() -> dict[str, Any]:
    return _read_config(REPO)


def _read_config(folder: Path) -> dict[str, Any]:
    return files.checked(files.read(folder=folder)).model_dump(mode="json")


def edit_config(folder: Path, changes: Mapping[str, Any]) -> None:
    """Change the config of a copy, by keys with colons between, as `models:NAME:source`."""
    whole = config(folder)
    for keys, value in changes.items():
        *parents, last = keys.split(":")
        place = whole
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = value
    write_config(folder, whole)


def write_config(folder: Path, whole: Mapping[str, Any]) -> None:
    """Make this the whole config of a copy: config.yaml then includes no file."""
    (folder / "config.yaml").write_text(json.dumps(whole), encoding="utf-8")


def made(study: str = "smoke") -> Path:
    """A copy with a study: as it was made here, or made now; one copy for all workers."""

    def make(folder: Path) -> None:
        copy_made(REPO, folder, "inputs", study)
        targets = [f"results/{study}/{x}" for x in ("headline.txt", "index.html")]
        command = [*SNAKEMAKE, "--rerun-incomplete", "--", *targets]
        subprocess.run(command, cwd=folder, check=True)

    return once(study, make)


def once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first worker makes who asks for it, and all copy."""
    folder = Path(os.environ[SHARED], name)
    done = folder.with_suffix(".made")
    with open(folder.with_suffix(".lock"), "w") as lock:
        flock(lock, LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


def copy_made(source: Path, folder: Path, *results: str) -> Path:
    """`copy`, with these folders of `results` in `source` and their metadata."""
    copy(folder)
    for name in [*(f"results/{one}" for one in results), ".snakemake"]:
        if (source / name).exists():
            copy_light(source / name, folder / name)
    return folder


def copy_light(source: Path, target: Path, times: bool = True) -> None:
    """Copy a folder, with the times of its files or without them.

    Files of `HEAVY` bytes and more become links: they are replaced, never written into.
    """
    copy = shutil.copy2 if times else shutil.copy

    def one(file: str, new: str) -> None:
        if Path(file).stat().st_size >= HEAVY:
            os.link(file, new)
        else:
            copy(file, new)

    shutil.copytree(source, target, copy_function=one, dirs_exist_ok=True)


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake in a folder; its output, or a failed test that shows it."""
    run = forks.run([*SNAKEMAKE, *arguments], cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr
