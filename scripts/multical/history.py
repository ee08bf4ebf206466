"""Which change of the code a fingerprint tells of, where git knows the code of then.

A fingerprint (multical.fingerprint) says that code differs, not where. If a commit about
the time of then has the fingerprint of then, its files are compared with those of now,
each by whether the fingerprint of now changes when that file alone is put back.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

#: The folder that holds the workflow
ROOT = Path(__file__).resolve().parents[2]
#: What fingerprints cover
COVERED = ["scripts", "envs/requirements.lock"]
#: Commits before and after a time that are tried: work is often committed after it ran
BEFORE, AFTER = 2, 3
#: At most so many changed files are looked at, since each takes a tenth of a second
MOST = 12

#: Run in a folder of programs: with the code that was there, then or now
PROGRAM = """
import sys
from multical.fingerprint import fingerprint
print(fingerprint(sys.argv[1]))
"""


def explain(script: str, then: str, when: float | None) -> str:
    """Which files changed since `script` had the fingerprint `then`, `when` seconds from 1970.

    ": FILE, FILE since commit HASH", or an empty text where it cannot be known.
    """
    if when is None or shutil.which("git") is None:
        return ""
    if (script, then) not in _told:  # jobs of one rule started at many times
        _told[script, then] = _explain(script, then, when)
    return _told[script, then]


_told: dict[tuple[str, str], str] = {}


def _explain(script: str, then: str, when: float) -> str:
    for commit in _commits(when):
        with _tree(commit) as old:
            if _fingerprint(old, script) == then and (files := _changed(commit, old, script)):
                return f": {', '.join(files)} since commit {commit[:9]}"
    return ""


def _commits(when: float) -> Iterator[str]:
    """Commits of the code about a time, the likeliest first."""
    log = ["log", "--format=%H"]
    yield from _git(*log, f"--until=@{when:.0f}", f"-n{BEFORE}", "--", *COVERED).split()
    later = _git(*log, "--reverse", f"--since=@{when:.0f}", "--", *COVERED).split()
    yield from later[:AFTER]


def _changed(commit: str, old: Path, script: str) -> list[str]:
    """Files of now that a program's fingerprint would differ without."""
    named = _git("diff", "--name-only", "--relative", commit, "--", *COVERED).split("\n")
    differing = [name for name in named if name.endswith((".py", ".lock"))][:MOST]
    with tempfile.TemporaryDirectory() as folder:
        now = Path(folder)
        for name in COVERED:
            copy = shutil.copytree if (ROOT / name).is_dir() else _copy
            copy(ROOT / name, now / name)
        whole = _fingerprint(now, script)
        found = []
        for name in differing:
            _replace(old / name, now / name)
            if _fingerprint(now, script) != whole:
                found.append(name)
            _replace(ROOT / name, now / name)
    return found


def _replace(source: Path, target: Path) -> None:
    if source.exists():
        _copy(source, target)
    else:
        target.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


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
