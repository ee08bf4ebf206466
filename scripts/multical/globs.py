"""Files by path or glob pattern. Light, since each start of Snakemake loads it."""

from __future__ import annotations

from pathlib import Path

from multical.errors import InputError


def find(pattern: str) -> list[Path]:
    """The files that a path or glob pattern names, sorted; `InputError` if there are none."""
    anchor = Path(pattern).anchor
    paths = sorted(Path(anchor).glob(pattern.removeprefix(anchor)))
    if not paths:
        raise InputError(f"{pattern}: no such file, expected a samples_*.jsonl of the harness")
    return paths
