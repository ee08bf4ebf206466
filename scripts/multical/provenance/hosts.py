"""The machines that Snakemake ran on, and so the local rules' jobs, most of which tell of none.

A line for each change of machine: since when (seconds from 1970), and what it is. Of what came in
a bundle, a line for each machine with the starts of its jobs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multical.provenance.machine import machine

FILE = Path(".snakemake/machines.jsonl")


def record() -> None:
    """Note this machine, where it is not the one noted last."""
    here = machine()
    if at(time.time()) != here:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        with FILE.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"since": time.time(), "machine": here}) + "\n")


def at(moment: float) -> dict[str, Any] | None:
    """The machine at a moment; `None` where none was noted before it."""
    found = None
    for noted in _noted():
        if moment in noted.get("starts", ()):
            return _machine(noted)
        if noted.get("since", moment + 1) <= moment:
            found = _machine(noted)
    return found


def note(jobs: list[dict[str, Any]]) -> None:
    """Note machines of jobs that ran elsewhere: each a `machine` and `starts`."""
    known = list(_noted())
    with FILE.open("a", encoding="utf-8") as stream:
        for one in jobs:
            if one not in known:
                stream.write(json.dumps(one) + "\n")


def _noted() -> Iterator[dict[str, Any]]:
    for line in FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:  # a crash cut it short
            continue


def _machine(noted: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = noted["machine"]
    return found
