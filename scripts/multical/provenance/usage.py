"""What a job used: hardware, libraries, and its seconds, those before an interruption included."""

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

    Work that an interruption lost does not count: it is what the job would take in one go.

    Args:
        folder: what a retry goes on from; it holds the seconds as well.
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
        """Those so far."""
        return self.before + time.monotonic() - self.started

    def save(self) -> None:
        """Have a retry count what was done so far: call it when that was saved, too."""
        with atomic(self.file) as temporary:
            temporary.write_text(repr(self.seconds), encoding="utf-8")

    def write(self, path: Path, processes: int = 1, **about: str) -> None:
        """Write the seconds, those of each GPU added up, the machine and libraries, as JSON.

        With what else is `about` the job.
        """
        gpus = processes if sys.modules["torch"].cuda.is_available() else 0
        seconds = round(self.seconds, 1)
        used = {"seconds": seconds, "gpu_seconds": seconds * gpus, "machines": [machine()]}
        write_json(
            path, {**used, **about, "python": platform.python_version(), "libraries": libraries()}
        )


def read(path: str | Path) -> dict[str, Any]:
    """What `Clock.write` or `write_sum` wrote; raises `InputError` for anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        numbers = {key: float(found[key]) for key in ("seconds", "gpu_seconds")}
        return {**numbers, "machines": list(found["machines"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not what a job used ({error!r})") from error


def write_sum(path: str | Path, parts: Iterable[str | Path]) -> None:
    """Write what several jobs used together; each machine is named once."""
    used = [*map(read, parts)]
    machines: list[Any] = []
    for one in used:
        machines += [name for name in one["machines"] if name not in machines]
    total = {key: round(sum(one[key] for one in used), 1) for key in ("seconds", "gpu_seconds")}
    write_json(path, {**total, "machines": machines})
