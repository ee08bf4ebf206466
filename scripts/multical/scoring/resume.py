"""Scores that a scoring job saves, so that a killed job can resume.

They are in a folder of JSON files, each with the scores of some batches by name. A file is complete
or absent, and the scores read from it are bit-identical.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

from multical import files
from multical.files import atomic
from multical.provenance.usage import Clock
from multical.scoring.scorer import Scores


class SavedScores:
    """The scores of batches by name, saved in a folder until the job ends.

    Args:
        folder: a folder for one job with fixed settings, code, model and questions.
        seconds: seconds between saves; 0 saves each batch at once.
        started: `time.monotonic()` at the start of the job.
    """

    def __init__(self, folder: Path, seconds: float, started: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self._earlier: dict[str, list[Any]] = {}
        self._new: dict[str, list[Any]] = {}
        self._saved = time.monotonic()
        self.clock = Clock(folder, started)
        files = sorted(folder.glob("[0-9]*.json"))
        for file in files:
            self._earlier |= _read(file)
        self._next = 1 + max((int(file.stem) for file in files), default=0)
        if self._earlier:
            print(f"goes on after {len(self._earlier)} batches in {folder}", file=sys.stderr)

    def recall(self, name: str, run: Callable[[], list[Scores]]) -> list[Scores]:
        """The scores of a batch: the saved ones of a killed job, or the result of `run`."""
        if (rows := self._earlier.get(name)) is not None:
            return [Scores(*row) for row in rows]
        scores = run()
        self._new[name] = [astuple(score) for score in scores]
        if time.monotonic() - self._saved >= self.seconds:
            self._save()
        return scores

    def _save(self) -> None:
        with atomic(self.folder / f"{self._next:06d}.json") as temporary:
            temporary.write_text(json.dumps(self._new), encoding="utf-8")
        self.clock.save()
        self._new, self._saved, self._next = {}, time.monotonic(), self._next + 1

    def forget(self) -> None:
        """Remove the folder at the end of the job."""
        files.remove(self.folder)


def _read(file: Path) -> dict[str, list[Any]]:
    """The batches in a file; none if a crash of the machine left it empty or truncated."""
    try:
        batches: dict[str, list[Any]] = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    return batches
