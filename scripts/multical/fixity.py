"""Whether a file is still the one whose content is known by its SHA-256.

It is, as long as its device, inode, size and times are the same. No program sets the time of its
last change, `st_ctime`, but that says nothing of a file that takes the place of another: after `mv`
of its folder, `ln -sfn` or a mount, the other file has its old times, and another inode or device.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from multical.errors import InputError
from multical.files import atomic, sha256

#: Device, inode, bytes, and the times of content and status in nanoseconds
Identity = tuple[int, int, int, int, int]
#: Seconds after which a further change of a file shows in its times, on all file systems
STEP = 2.0


def identity(path: str | Path) -> Identity:
    """What tells a file, or the file that a link leads to, from others and from itself before."""
    return _identity(Path(path).stat())


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Inputs:
    """The files that a job reads, with the SHA-256 of each before the job reads it.

    A file that is not there has none: what reads it says so in words of its own.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self.digests: dict[str, str] = {}
        self._identities: dict[str, Identity | None] = {}
        self.add(paths)

    def add(self, paths: Iterable[str | Path]) -> None:
        """Further files, before the job reads them."""
        for path in map(str, paths):
            self._identities[path] = None
            with suppress(OSError):
                self._identities[path] = identity(path)
                self.digests[path] = sha256(path)

    def check(self) -> None:
        """Raise `InputError` for a file that no longer has the same content."""
        for path, before in self._identities.items():
            try:
                same = identity(path) == before or sha256(path) == self.digests.get(path)
            except OSError:
                same = False
            if not same:
                raise InputError(
                    f"{path}: changed while it was read, expected a file that stays as it is: "
                    "run this again"
                )


class Digests:
    """The SHA-256 of files, which the file `place` remembers.

    Several processes may use it: each adds lines, and the last line of a file counts.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._known: dict[str, tuple[Identity, str]] = {}
        lines = self._read()
        if len(lines) > 2 * len(self._known) + 100:
            with suppress(OSError), atomic(place) as temporary:
                temporary.write_text("".join(map(self._line, self._known)), encoding="utf-8")

    def of(self, name: str) -> str | None:
        """The SHA-256 of a file; None if there is no such file, or none that may be read."""
        try:
            status = Path(name).stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            before = _identity(status)
            known, digest = self._known.get(name, (None, ""))
            if known == before:
                return digest
            digest = sha256(name)
            if identity(name) == before and time.time() - status.st_ctime > STEP:
                self._add(name, before, digest)
            return digest
        except OSError:
            return None

    def _add(self, name: str, known: Identity, digest: str) -> None:
        self._known[name] = known, digest
        with suppress(OSError):  # where others may only read, it is computed again
            self._place.parent.mkdir(parents=True, exist_ok=True)
            with open(self._place, "a", encoding="utf-8") as stream:
                stream.write(self._line(name))

    def _line(self, name: str) -> str:
        known, digest = self._known[name]
        return json.dumps([name, *known, digest]) + "\n"

    def _read(self) -> list[str]:
        """Read all lines, but for those that a process left half-written; returns them."""
        try:
            lines = self._place.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return []
        for line in lines:
            with suppress(ValueError, TypeError, RecursionError):
                name, device, inode, size, modified, changed, digest = json.loads(line)
                self._known[name] = (device, inode, size, modified, changed), digest
        return lines
