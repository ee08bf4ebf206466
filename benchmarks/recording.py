"""What all benchmarks share: measured commands, alternating runs, and the table of results."""

from __future__ import annotations

import csv
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results.csv", HERE / "results.md"
COLUMNS = ["item", "peer", "setting", "ours", "theirs", "unit", "ratio"]
#: Interpreter of the peers' own environment (make bench).
PEERS = HERE / ".venv/bin/python"


@dataclass(frozen=True)
class Usage:
    """Of a command and all that it started: seconds, CPU seconds, most GB held at once."""

    wall: float
    cpu: float
    gigabytes: float


def measured(command: Sequence[str | Path]) -> Usage:
    """Run a command to its end; the memory is proportional (PSS), looked at every 0.2 s."""
    before, start = os.times(), time.perf_counter()
    child = subprocess.Popen([str(part) for part in command])
    most, done = [0], threading.Event()
    watch = threading.Thread(target=_watch, args=(child.pid, most, done))
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


def _watch(pid: int, most: list[int], done: threading.Event) -> None:
    while not done.wait(0.2):
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


def record(item: str, rows: Sequence[dict[str, str | float]]) -> None:
    """Put an item's rows in place of its earlier ones, and write the readable table anew."""
    kept: list[dict[str, str | float]] = []
    if RESULTS.exists():
        with open(RESULTS, encoding="utf-8", newline="") as stream:
            kept = [dict(row) for row in csv.DictReader(stream) if row["item"] != item]
    whole = sorted([*kept, *({"item": item, **row} for row in rows)], key=lambda r: str(r["item"]))
    with open(RESULTS, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(whole)
    lines = [f"Made by `make bench` on {machine()}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(str(row[name]) for name in COLUMNS) + " |" for row in whole]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def machine() -> str:
    """Processor, cores, memory, system, and the versions that matter."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    amx = ", AMX" if "amx_int8" in flags else ", no AMX"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "torch"))
    gigabytes = psutil.virtual_memory().total / 1e9
    return (
        f"{names[0] if names else platform.processor()}{amx}, {os.cpu_count()} cores, "
        f"{gigabytes:.0f} GB, Python {platform.python_version()}, {libraries}"
    )


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
