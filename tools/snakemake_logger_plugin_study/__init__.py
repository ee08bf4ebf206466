"""A logger of Snakemake that shows a whole run in one line: `snakemake --logger study`.

Snakemake finds it by its name, if its folder is on Python's path. On a terminal the line is drawn
anew each second. Elsewhere there is a line for each job that ends. Errors and warnings are shown in
full, with the last lines of a failed job's log; all else is in Snakemake's own log, in
.snakemake/log. What jobs print goes to the standard output, and to their logs.
"""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import threading
import time
from collections import deque
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

import _path  # noqa: F401  finds multical
from multical.workflow.progress import Progress, expectations

#: How many lines of a failed job's log are shown
LINES = 20
#: How a message begins that is no warning, and is shown
NOTHING = "Nothing to be done"
CLEAR = "\r\033[K"


class LogHandler(LogHandlerBase):
    """Follows the events of a run, and draws the line."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False  # so that Snakemake adds its own
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.cores = 1
        self.progress: Progress | None = None
        self.is_terminal = sys.stderr.isatty()
        self.interrupted = False
        signal.signal(signal.SIGINT, self.interrupt)
        if self.is_terminal:
            threading.Thread(target=self.tick, daemon=True).start()

    def interrupt(self, *signal_and_frame: Any) -> None:
        """Note that Ctrl-C ends the run, so that jobs fail which are not to blame."""
        self.interrupted = True
        start = "\n" * self.is_terminal
        print(f"{start}Interrupted: the same command goes on from here.", file=sys.stderr)
        signal.default_int_handler(*signal_and_frame)

    def tick(self) -> None:
        """Draw the line each second, on a terminal."""
        while True:
            time.sleep(1)
            with self.lock or threading.Lock():
                self.draw(time.time())

    def emit(self, record: logging.LogRecord) -> None:
        """Follow an event. Messages that are no events of jobs are shown if they are warnings."""
        if self.interrupted:
            return
        try:
            said = self.follow(record, getattr(record, "event", None))
        except Exception:
            self.handleError(record)
            return
        if said is not None:
            print(CLEAR * self.is_terminal + said, file=sys.stderr, flush=True)
        self.draw(record.created)

    def follow(self, record: Any, event: LogEvent | None) -> str | None:
        """Take note of an event; what is to be said of it, if anything."""
        if event == LogEvent.RESOURCES_INFO:
            self.cores = getattr(record, "cores", None) or self.cores
        elif event == LogEvent.RUN_INFO:
            counts = {rule: count for rule, count in record.stats.items() if rule != "total"}
            expected = expectations(sys.argv[1:])
            self.progress = Progress(counts, self.cores, record.created, expected)
            return None if self.is_terminal else self.progress.line(record.created)
        elif self.progress and event == LogEvent.JOB_INFO:
            self.progress.start(
                record.jobid, record.rule_name, record.wildcards, record.threads, record.created,
                record.benchmark,
            )  # fmt: skip
        elif self.progress and event == LogEvent.JOB_FINISHED:
            what = self.progress.end(record.job_id, record.created)
            return None if self.is_terminal else f"{self.progress.line(record.created)}: {what}"
        elif self.progress and event == LogEvent.JOB_ERROR:
            self.progress.fail(record.jobid)
            return "\n".join([self.format(record), *map(last_lines, record.log)])
        shown = record.levelno >= logging.WARNING or str(record.msg).startswith(NOTHING)
        return self.format(record) if shown else None

    def draw(self, now: float) -> None:
        """Draw the line in place of the last one, on a terminal."""
        if self.is_terminal and self.progress and not self.interrupted:
            running = self.progress.now_running(now)
            line = self.progress.line(now) + (f": {running}" if running else "")
            width = shutil.get_terminal_size().columns - 1
            print(CLEAR + line[:width], end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line, when the run has ended."""
        if self.is_terminal and self.progress and not self.interrupted:
            print(file=sys.stderr)
        self.progress = None
        super().close()


def last_lines(log: str) -> str:
    """The end of a job's log."""
    try:
        with open(log, encoding="utf-8", errors="replace") as stream:
            lines = deque(stream, LINES)
    except OSError as error:
        return f"{log}: not readable ({error.strerror})"
    return f"The last lines of {log}:\n" + "".join(f"    {line.rstrip()}\n" for line in lines)
