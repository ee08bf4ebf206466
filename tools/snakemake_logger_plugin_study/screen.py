"""Bars at the end of a terminal, drawn anew below what is said; elsewhere, only what is said."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from tqdm import tqdm

from multical.workflow.progress import Bar

#: Characters of a bar at least, and beside it: its share, and what is around it
SHORTEST, BESIDE = 10, len(" 100%|") + len("| ")
FORM = "{name} {percentage:3.0f}%|{bar}| {detail}"
UNKNOWN = os.terminal_size((80, 24))


class Screen:
    """What a stream shows.

    A terminal that has gone away is no error. While bars are drawn, what other processes print to
    the stream is shown above them, since it would move the cursor.
    """

    def __init__(self, stream: TextIO) -> None:
        self.fd, self.encoding = stream.fileno(), stream.encoding
        self.is_terminal = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.charset = None if has_blocks() else " #"
        self.lock = threading.RLock()
        self.bars: Sequence[Bar] = ()
        self.drawn: list[str] = []
        self.left = self.right = 0  # widths of names and details
        self.relay: threading.Thread | None = None
        if self.is_terminal:
            self.take(stream.fileno())

    def say(self, said: str) -> None:
        """Show a text, above the bars if there are any."""
        with self.lock:
            self.write(f"{self.erased()}{said}\n{self.painted()}")

    def draw(self, bars: Sequence[Bar]) -> None:
        """Show these bars in place of others, on a terminal."""
        with self.lock:
            self.bars = bars if self.is_terminal else ()
            self.write(self.erased() + self.painted())

    def take(self, fd: int) -> None:
        """Read what is printed to the stream, and say it."""
        self.fd = os.dup(fd)
        end, start = os.pipe()
        os.dup2(start, fd)
        os.close(start)

        def relay() -> None:
            while data := os.read(end, 65536):
                self.say(data.decode(self.encoding, "replace").rstrip("\n"))

        self.taken = fd
        self.relay = threading.Thread(target=relay, daemon=True)
        self.relay.start()

    def close(self) -> None:
        """Draw nothing more, and leave the stream to others."""
        if self.relay:
            os.dup2(self.fd, self.taken)
            self.relay.join(timeout=1)  # a process that is left may hold its other end
            self.relay = None

    def painted(self) -> str:
        """The bars as text, which is then taken for drawn."""
        self.drawn = self.lines(self.bars)
        return "".join(f"{line}\n" for line in self.drawn)

    def erased(self) -> str:
        """What moves the cursor to the first drawn line, and erases from there on.

        A terminal that is narrower than before has broken lines.
        """
        columns = self.size().columns
        rows = sum(max(1, -(-len(line) // columns)) for line in self.drawn)
        return f"\r\033[{rows}A\033[J" if rows else ""

    def lines(self, bars: Sequence[Bar]) -> list[str]:
        """The bars as lines that fit the terminal; the last says how many do not."""
        if not bars:
            return []
        columns, rows = self.size()
        room = max(1, rows - 1)  # the cursor is below them
        shown = bars if len(bars) <= room else bars[: room - 1] or bars[:1]
        # no narrower than they were, so that bars stay in their place
        self.right = right = max(self.right, *(len(bar.detail) for bar in shown))
        self.left = max(self.left, *(len(bar.name) for bar in shown))
        left = max(1, min(self.left, columns - 1 - right - BESIDE - SHORTEST))
        lines = [self.line(bar, columns - 1, left, right) for bar in shown]
        if 1 < room < len(bars):
            lines.append(f"and {len(bars) - len(shown)} more")
        return lines

    def line(self, bar: Bar, width: int, left: int, right: int) -> str:
        """A bar between its name and its detail, which take this many characters."""
        name = bar.name if len(bar.name) <= left else f"{bar.name[: left - 2]}.."
        words: dict[str, Any] = {"name": name.ljust(left), "detail": bar.detail.ljust(right)}
        line = tqdm.format_meter(
            bar.share, 1, 0, ncols=width, ascii=self.charset or False, bar_format=FORM, **words
        )
        return line[:width].rstrip()

    def size(self) -> os.terminal_size:
        """Columns and rows of the terminal."""
        with suppress(OSError):
            size = os.get_terminal_size(self.fd)
            return size if all(size) else UNKNOWN
        return UNKNOWN

    def write(self, text: str) -> None:
        """Write a text at once, so that nothing is left for a terminal that has gone away."""
        data = text.encode(self.encoding, "backslashreplace")
        with suppress(OSError):
            while data:
                data = data[os.write(self.fd, data) :]


def has_blocks() -> bool:
    """Whether the terminal shows the blocks of a bar.

    LC_CTYPE does not say: for the locale C, Python sets it itself.
    """
    name = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return "utf" in name.lower() and os.environ.get("TERM") != "linux"
