"""What a job used: hardware, libraries and seconds, including those before an interruption."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from multical.errors import InputError
from multical.files import atomic, write_json
from multical.provenance.libraries import libraries
from multical.provenance.machine import machine


class Clock:
    """Seconds of a job over all its tries.

    Work that an interruption lost does not count, so the sum is what the job would take in one go.

    Args:
        folder: the folder that a retry resumes from; the seconds are saved there too.
        started: `time.monotonic()` at the start of this try.
    """

    def __init__(self, folder: Path, started: float) -> None:
        self.file = folder / "seconds"
        self.started = started
        try:
            self.before = float(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a first try, or a crash of the machine
            self.before = 0.0

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self.started

    def save(self) -> None:
        """Save the seconds for a retry. Call it whenever the job's work so far is saved."""
        with atomic(self.file) as temporary:
            temporary.write_text(repr(self.seconds), encoding="utf-8")

    def write(self, path: Path, processes: int = 1, **about: str) -> None:
        """Write seconds, GPU-seconds over all `processes`, machine and libraries as JSON.

        `about` has further facts of the job, by key.
        """
        gpus = processes if sys.modules["torch"].cuda.is_available() else 0
        seconds = round(self.seconds, 1)
        document = {
            "seconds": seconds,
            "gpu_seconds": seconds * gpus,
            "machines": [machine()],
            **about,
            "python": platform.python_version(),
            "libraries": libraries(),
        }
        write_json(path, document)


def read(path: str | Path) -> dict[str, Any]:
    """Seconds, GPU-seconds and machines of a job; raises `InputError` for any other file."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        numbers = {key: float(document[key]) for key in ("seconds", "gpu_seconds")}
        return {**numbers, "machines": list(document["machines"])}
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not what a job used ({error!r})") from error


def write_sum(path: str | Path, parts: Iterable[str | Path]) -> None:
    """Write what several jobs used together. `parts` are their files; each machine counts once."""
    jobs = [*map(read, parts)]
    machines: list[Any] = []
    for job in jobs:
        machines += [name for name in job["machines"] if name not in machines]
    total = {key: round(sum(job[key] for job in jobs), 1) for key in ("seconds", "gpu_seconds")}
    write_json(path, {**total, "machines": machines})
