"""A logger of Snakemake that shows how far a run has come: `snakemake --logger study`.

Snakemake finds it by its name, if its folder is on Python's path. On a terminal there is a bar for
the whole run, and below it one for each job that runs. Elsewhere there is a line for each job that
ends. Errors and warnings are shown in full, with the last lines of a failed job's log; all else is
in Snakemake's own log, which is named at the end. What jobs print goes to the standard output, and
to their logs.
"""

from __future__ import annotations

import logging
import os
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
from snakemake_logger_plugin_study.screen import Screen

#: How many lines of a failed job's log are shown
LINES = 20
#: How a message begins that is no warning, and is shown
NOTHING = "Nothing to be done"


class LogHandler(LogHandlerBase):
    """Follows the events of a run, and shows them."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False  # so that Snakemake adds its own
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.cores = 1
        self.progress: Progress | None = None
        self.screen = Screen(sys.stderr)
        self.interrupted = False
        for each in (signal.SIGINT, signal.SIGHUP):  # the latter is ignored under nohup
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self.interrupt)
        if self.screen.is_terminal:
            threading.Thread(target=self.tick, daemon=True).start()

    def interrupt(self, *signal_and_frame: Any) -> None:
        """Note that Ctrl-C or a closed terminal ends the run: jobs fail which are not to blame."""
        if not self.interrupted:
            self.interrupted = True
            self.screen.draw([])
            self.screen.say("Interrupted: the same command goes on from here.")
        signal.default_int_handler(*signal_and_frame)

    def tick(self) -> None:
        """Draw the bars each second, on a terminal."""
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
            self.screen.say(said)
        self.draw(record.created)

    def follow(self, record: Any, event: LogEvent | None) -> str | None:
        """Take note of an event; what is to be said of it, if anything."""
        if event == LogEvent.RESOURCES_INFO:
            self.cores = getattr(record, "cores", None) or self.cores
        elif event == LogEvent.RUN_INFO:
            counts = {rule: count for rule, count in record.stats.items() if rule != "total"}
            expected = expectations(sys.argv[1:])
            self.progress = Progress(counts, self.cores, record.created, expected)
            return None if self.screen.is_terminal else self.progress.line(record.created)
        elif self.progress and event == LogEvent.JOB_INFO:
            self.progress.start(
                record.jobid, record.rule_name, record.wildcards, record.threads, record.created,
                record.benchmark, *record.log[:1],
            )  # fmt: skip
        elif self.progress and event == LogEvent.JOB_FINISHED:
            what = self.progress.end(record.job_id, record.created)
            line = f"{self.progress.line(record.created)}: {what}"
            return None if self.screen.is_terminal else line
        elif self.progress and event == LogEvent.JOB_ERROR:
            self.progress.fail(record.jobid)
            return "\n".join([self.format(record), *map(last_lines, record.log)])
        shown = record.levelno >= logging.WARNING or str(record.msg).startswith(NOTHING)
        return self.format(record) if shown else None

    def draw(self, now: float) -> None:
        """Draw the bars on a terminal, while the run goes on."""
        if self.progress and self.screen.is_terminal and not self.interrupted:
            self.screen.draw(self.progress.bars(now))

    def close(self) -> None:
        """Say how far the run has come, and where all is that was not shown."""
        with self.lock or threading.Lock():
            progress, self.progress = self.progress, None
            self.screen.draw([])
        self.screen.close()
        if progress and self.screen.is_terminal:
            self.screen.say(progress.summary(time.time()))
        if progress:
            self.screen.say(f"Log: {logfile()}")
        super().close()


def logfile() -> str:
    """The file of Snakemake's own log of this run."""
    handlers = logging.getLogger("snakemake.logging").handlers
    files = [one.baseFilename for one in handlers if isinstance(one, logging.FileHandler)]
    return os.path.relpath(files[0]) if files else "none"


def last_lines(log: str) -> str:
    """The end of a job's log."""
    try:
        with open(log, encoding="utf-8", errors="replace") as stream:
            lines = deque(stream, LINES)
    except OSError as error:
        return f"{log}: not readable ({error.strerror})"
    return f"The last lines of {log}:\n" + "".join(f"    {line.rstrip()}\n" for line in lines)
