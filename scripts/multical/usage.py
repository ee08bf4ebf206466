"""What a job used: its hardware, and its seconds, those before an interruption included."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from multical.files import atomic, write_json
from multical.provenance import machine


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
        """Write the seconds, the GPUs that did the work, and the machine, as JSON."""
        torch = sys.modules["torch"]
        gpus = processes if torch.cuda.is_available() else 0
        write_json(
            path, {**about, "seconds": round(self.seconds, 1), "gpus": gpus, "machine": machine()}
        )
