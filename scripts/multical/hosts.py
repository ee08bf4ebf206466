"""The machines that Snakemake ran on, and so the local rules' jobs, most of which tell of none.

A line for each change of machine: since when (seconds from 1970), and what it is.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from multical.machine import machine

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
    for line in FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else ():
        try:
            noted = json.loads(line)
        except ValueError:  # a crash cut it short
            continue
        if noted["since"] <= moment:
            found = noted["machine"]
    return found
