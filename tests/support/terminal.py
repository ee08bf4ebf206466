"""A terminal that a program runs on: what it shows, as lines of text."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

#: What may be drawn: text, ends of lines, the cursor up by some lines, and erased from there on
DRAWN = re.compile(r"(\r)|(\n)|\x1b\[(\d+)A|(\x1b\[J)|([^\x00-\x1f]+)")


class Terminal:
    """A program's standard error is its screen; keys reach the program as from a keyboard."""

    def __init__(
        self, command: Sequence[str], cwd: Path, columns: int, rows: int, **environ: str
    ) -> None:
        self.rows, self.lines, self.at = rows, [""], (0, 0)
        self.shown: list[list[str]] = []  # the whole screen after each change
        self.text, self.decoder = "", codecs.getincrementaldecoder("utf-8")()
        self.fd, self.program = pty.openpty()
        self.resize(columns)
        self.process = start(command, cwd, self.program, os.environ | environ)
        os.close(self.program)

    def resize(self, columns: int) -> None:
        """Have another width: lines that are too long break, as most terminals have it."""
        self.columns = columns
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", self.rows, columns, 0, 0))
        above = sum(len(self.broken(line)) for line in self.lines[: self.at[0]])
        self.lines = [part for line in self.lines for part in self.broken(line)]
        self.at = (above, self.at[1])

    def broken(self, line: str) -> list[str]:
        return [line[n : n + self.columns] for n in range(0, max(len(line), 1), self.columns)]

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def watch(self, until: Callable[[Terminal], bool] = lambda _: False) -> int | None:
        """Show what the program draws, until it ends (returns its status) or something is so."""
        while not until(self):
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # the program has ended
                return self.process.wait(60)
            self.draw(self.decoder.decode(data))
        return None

    def draw(self, text: str) -> None:
        """Change what is shown."""
        self.text += text
        while drawn := DRAWN.match(self.text):
            self.text = self.text[drawn.end() :]
            line, column = self.at
            match drawn.groups():
                case (str(), *_):
                    self.at = (line, 0)
                case (_, str(), *_):
                    self.at = (line + 1, column)
                    self.lines += [""] * (line + 2 - len(self.lines))
                case (_, _, str(up), *_):
                    self.at = (max(line - int(up), len(self.lines) - self.rows, 0), column)
                case (*_, str(), None):
                    self.lines[line:] = [self.lines[line][:column]]
                case (*_, str(new)):
                    old = self.lines[line].ljust(column)
                    whole = old[:column] + new + old[column + len(new) :]
                    self.lines[line : line + 1] = self.broken(whole)
                    self.at = divmod(column + len(new), self.columns)
                    self.at = (line + self.at[0], self.at[1])
        assert len(self.text) < 8, f"not understood: {self.text[:40]!r}"
        self.shown.append([line.rstrip() for line in self.lines])

    def close(self) -> None:
        """Close the window."""
        os.close(self.fd)


def start(
    command: Sequence[str], cwd: Path, terminal: int, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program on a terminal that it gets signals from."""

    def own() -> None:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    return subprocess.Popen(
        command, cwd=cwd, env=environ, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal,
        preexec_fn=own,
    )  # fmt: skip
