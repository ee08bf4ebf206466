"""The machines that Snakemake ran on. Local jobs ran there too, and most of them record no machine.

The file has a line for each change of machine: the machine, and since when (seconds from 1970).
Unpacking a bundle adds a line for each of its machines, with the times at which its jobs started.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multical.files import atomic, remove_leftovers
from multical.provenance.machine import machine

FILE = Path(".snakemake/machines.jsonl")


def record() -> None:
    """Note this machine, unless it is the one noted last."""
    here = machine()
    if at(time.time()) != here:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        cut_short = FILE.exists() and not FILE.read_bytes().endswith(b"\n")
        with FILE.open("a", encoding="utf-8") as stream:  # others may add lines too
            line = json.dumps({"since": time.time(), "machine": here})
            stream.write("\n" * cut_short + f"{line}\n")


def at(moment: float) -> dict[str, Any] | None:
    """The machine at a moment; `None` where none was noted before it."""
    latest = None
    for entry in _entries():
        if moment in entry.get("starts", ()):
            return dict(entry["machine"])
        if entry.get("since", moment + 1) <= moment:
            latest = entry["machine"]
    return latest


def note(jobs: list[dict[str, Any]]) -> None:
    """Note machines of jobs that ran elsewhere: each a `machine` and `starts`."""
    remove_leftovers(FILE)
    known = list(_entries())
    if new := [json.dumps(entry) for entry in jobs if entry not in known]:
        with atomic(FILE) as temporary:
            text = "".join(f"{line}\n" for line in [*_lines(), *new])
            temporary.write_text(text, encoding="utf-8")


def _lines() -> list[str]:
    if not FILE.exists():
        return []
    return FILE.read_text(encoding="utf-8", errors="replace").splitlines()


def _entries() -> Iterator[dict[str, Any]]:
    for line in _lines():
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):  # a crash cut it short
            continue
