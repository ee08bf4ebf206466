"""What all benchmarks share: measured commands, alternating runs, and the table of results."""

from __future__ import annotations

import csv
import itertools
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results.csv", HERE / "results.md"
COLUMNS = ["item", "peer", "setting", "ours", "theirs", "unit", "ratio"]
HEAD = """\
# Speed

Made by `make bench`; what each item measures is told at the top of `benchmarks/ITEM.py`.
Against peers these are medians of alternating runs, against limits and tolerances of one. A
ratio above 1 says that ours is better, or that a limit is kept.

"""
#: Interpreter of the peers' own environment (make bench).
PEERS = HERE / ".venv/bin/python"


@dataclass(frozen=True)
class Usage:
    """Of a command and all that it started: seconds, CPU seconds, most GB held at once."""

    wall: float
    cpu: float
    gigabytes: float


def measured(command: Sequence[str | Path], every: float = 0.2) -> Usage:
    """Run a command to its end; the memory is proportional (PSS), looked at `every` few seconds.

    To look costs some milliseconds for each GB of each process.
    """
    before, start = os.times(), time.perf_counter()
    child = subprocess.Popen([str(part) for part in command])
    most, done = [0], threading.Event()
    watch = threading.Thread(target=_watch, args=(child.pid, every, most, done))
    watch.start()
    status = child.wait()
    wall, after = time.perf_counter() - start, os.times()
    done.set()
    watch.join()
    if status:
        raise SystemExit(f"error: {command[1]}: exit code {status}")
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return Usage(wall, cpu, most[0] / 1e9)


def _watch(pid: int, every: float, most: list[int], done: threading.Event) -> None:
    while not done.wait(every):
        held = 0
        try:
            parent = psutil.Process(pid)
            for process in [parent, *parent.children(recursive=True)]:
                held += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        most[0] = max(most[0], held)


def alternating(functions: Sequence[Callable[[], float]], times: int) -> list[float]:
    """Median seconds of each function, all run in turn, so that a busy machine hits all alike."""
    found = [[function() for function in functions] for _ in range(times)]
    return [statistics.median(seconds) for seconds in zip(*found, strict=True)]


def row(
    peer: str, setting: str, ours: float, theirs: float, unit: str, more: bool = False
) -> dict[str, str]:
    """A result; `more` of its unit is better, or less, and a ratio above 1 always."""
    ratio = ours / theirs if more else theirs / ours
    numbers = {"ours": f"{ours:.4g}", "theirs": f"{theirs:.4g}", "ratio": f"{ratio:.3g}"}
    return {"peer": peer, "setting": setting, "unit": unit, **numbers}


def record(item: str, rows: Sequence[dict[str, str]], trial: bool = False) -> None:
    """Print an item's rows; unless it is a trial, put them in place of its earlier ones.

    Results of another machine or of other versions are dropped: the table is of one.
    """
    note("\n".join(map(str, rows)))
    if trial:
        note("a trial: not recorded")
        return
    head = f"{machine()}\n"
    kept: list[dict[str, str]] = []
    if RESULTS.exists() and TABLE.exists() and head in TABLE.read_text(encoding="utf-8"):
        with open(RESULTS, encoding="utf-8", newline="") as stream:
            kept = [one for one in csv.DictReader(stream) if one["item"] != item]
    whole = sorted([*kept, *({"item": item, **one} for one in rows)], key=lambda one: one["item"])
    with open(RESULTS, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(whole)
    TABLE.write_text(HEAD + head + "\n".join(_table(whole)) + "\n", encoding="utf-8")


def _table(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    """Lines of Markdown, a table an item."""
    columns = COLUMNS[1:]
    for item, own in itertools.groupby(rows, key=lambda one: one["item"]):
        yield from ("", f"## {item}", "", "| " + " | ".join(columns) + " |")
        yield "|" + "---|" * len(columns)
        yield from ("| " + " | ".join(one.get(name, "") for name in columns) + " |" for one in own)


def machine() -> str:
    """Processor, cores, memory, and the versions that matter."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = re.findall(r"model name\s*: (.*)", text) or [platform.processor()]
    libraries = ("torch", "transformers", "trl", "numpy", "numba", "snakemake")
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    gigabytes = psutil.virtual_memory().total / 1e9
    return (
        f"{names[0].strip()}{', AMX' if 'amx_int8' in text else ''}, {os.cpu_count()} cores, "
        f"{gigabytes:.0f} GB; Python {platform.python_version()}, {versions}"
    )


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
