"""Copies of this repository: its code, as a new clone would have it, and its smoke study."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]
SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "--cores", "2"]
#: The whole smoke study.
TARGET = "results/smoke/headline.txt"
#: Bytes from which on files are linked rather than copied
HEAVY = 10_000_000


def copy(folder: Path) -> Path:
    """Copy every file that git knows or would add, by content; returns `folder`."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPO, capture_output=True, text=True, check=True)
    for name in names.stdout.splitlines():
        if (REPO / name).is_file():  # not one that is deleted but not yet committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, folder / name)
    return folder


def make(target: str = TARGET) -> None:
    """Make a target in the repository itself, or find it up to date."""
    subprocess.run([*SNAKEMAKE, "--rerun-incomplete", "--keep-going", target], cwd=REPO, check=True)


def copy_made(folder: Path, *results: str) -> Path:
    """`copy`, with these folders of `results` and their metadata."""
    copy(folder)
    for name in [*(f"results/{one}" for one in results), ".snakemake"]:
        copy_light(REPO / name, folder / name)
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
