"""What Snakemake runs, or would run, in a checkout with a finished smoke study."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support import checkout
from support.rerun_edits import SMOKE, Jobs

TARGETS = [checkout.TARGET, f"{SMOKE}/index.html", "results/logs/metrics.csv"]


def git(folder: Path, *arguments: str) -> None:
    own = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True)


def run(folder: Path, *arguments: str) -> Jobs:
    """Run Snakemake for the targets; the jobs that it says it runs."""
    return jobs_of(checkout.snakemake(folder, *arguments, "--", *TARGETS))


def would_run(folder: Path, targets: Sequence[str] = TARGETS) -> Jobs:
    """The jobs of a dry run."""
    return jobs_of(checkout.snakemake(folder, "--dry-run", "--", *targets))


def jobs_of(told: str) -> Jobs:
    """The jobs that a run of Snakemake says it runs."""
    blocks = re.findall(r"^(?:local)?rule (\w+):.*?wildcards: (.*?)\n", told, re.DOTALL | re.M)
    found = [_named(rule, wildcards) for rule, wildcards in blocks]
    assert len(found) == len(set(found)), found
    assert found or "Nothing to be done" in told, told
    return frozenset(found)


def _named(rule: str, wildcards: str) -> str:
    """A job as in `rerun_edits`."""
    found = dict(one.split("=") for one in wildcards.split(", "))
    if (root := found.get("root", SMOKE)) != SMOKE:
        return f"{rule} of {Path(root).name}"
    own = [found[key] for key in ("run", "model", "sft") if key in found]
    if "root" not in found:
        own = own or [found["benchmark"]]
    return " ".join([rule, *own])
