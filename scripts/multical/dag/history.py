"""The code and the config when a job ran, where git knows them.

A fingerprint (multical.provenance.fingerprint) says that code differs, not where. Of the commits about
the time of then one may have the fingerprint of then, by its own way to make it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import yaml

from multical.claims.schema import Claims
from multical.config.schema import load
from multical.dag import snapshots
from multical.dag.snapshots import Code, Settings
from multical.errors import InputError
from multical.params import validated
from multical.provenance import fingerprint
from multical.provenance.code_parts import parts

#: The folder that holds the workflow
ROOT = Path(__file__).resolve().parents[2]
LOCK = "envs/requirements.lock"
#: What fingerprints cover
COVERED = ["scripts", LOCK]
#: What settings are read from
FILES = ("config.yaml", "claims.yaml")
#: Commits before and after a time that are tried: work is often committed after it ran
BEFORE, AFTER = 2, 3

#: Run in a folder of programs: with the code that was there
PROGRAM = """
import sys
from multical.fingerprint import fingerprint
print(fingerprint(sys.argv[1]))
"""


def code(script: str, then: str, when: float | None) -> tuple[Code, str] | None:
    """The code when `script` had the fingerprint `then`, `when` seconds from 1970, its commit.

    It has only files that the program still has. `None` where git does not know.
    """
    if when is None or shutil.which("git") is None:
        return None
    if (script, then) not in _found:  # jobs of one rule started at many times
        _found[script, then] = _code(script, then, when)
    return _found[script, then]


_found: dict[tuple[str, str], tuple[Code, str] | None] = {}


def settings(when: float | None) -> list[Settings]:
    """Config and claims of the commits about a time that can be read today."""
    if when is None or shutil.which("git") is None:
        return []
    return [known for commit in _commits(when, [*FILES]) if (known := _settings(commit))]


@cache
def _settings(commit: str) -> Settings | None:
    try:
        config, claims = (yaml.safe_load(_git("show", f"{commit}:./{name}")) for name in FILES)
        return snapshots.settings(load(config), validated(Claims, claims, "claims.yaml"))
    except (InputError, yaml.YAMLError):  # of another time's schema
        return None


def _code(script: str, then: str, when: float) -> tuple[Code, str] | None:
    for commit in _commits(when, COVERED):
        with _tree(commit) as old:
            if _fingerprint(old, script) != then:
                continue
            files = {name: old / "scripts" / name for name in fingerprint.modules(script)}
            kept = {name: parts(file) for name, file in files.items() if file.exists()}
            return Code(kept, fingerprint.read_lock(old / LOCK)), commit[:9]
    return None


def _commits(when: float, paths: list[str]) -> Iterator[str]:
    """Commits of some files about a time, the likeliest first."""
    log = ["log", "--format=%H"]
    yield from _git(*log, f"--until=@{when:.0f}", f"-n{BEFORE}", "--", *paths).split()
    later = _git(*log, "--reverse", f"--since=@{when:.0f}", "--", *paths).split()
    yield from later[:AFTER]


@contextmanager
def _tree(commit: str) -> Iterator[Path]:
    """The covered files of a commit, in a temporary folder."""
    packed = subprocess.run(
        ["git", "-C", ROOT, "archive", "--format=zip", commit, *COVERED],
        capture_output=True,
        check=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        if packed.returncode == 0:
            with zipfile.ZipFile(BytesIO(packed.stdout)) as archive:
                archive.extractall(folder)
        yield Path(folder)


def _fingerprint(tree: Path, script: str) -> str | None:
    """The fingerprint that the code in a folder gives a program; `None` if it has none."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, script],
        cwd=tree / "scripts" if (tree / "scripts").is_dir() else tree,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _git(*arguments: str) -> str:
    """What git says; nothing where this is no repository."""
    done = subprocess.run(
        ["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
