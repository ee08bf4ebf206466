"""What Snakemake would run in a checkout with a finished smoke study, by names of jobs."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from snakemake import cli as snakemake_cli

from support import checkout
from support.rerun_edits import SMOKE, Jobs

TARGETS = [checkout.TARGET, f"{SMOKE}/claims/verdicts.json", "results/logs/metrics.csv"]


def would_run(folder: Path, targets: Sequence[str] = TARGETS) -> Jobs:
    """The jobs of a dry run: in a fork, since the start of Snakemake costs more than the run."""
    said = folder / "dry_run.txt"
    fork = multiprocessing.get_context("fork").Process(
        target=_dry_run, args=(folder, said, targets)
    )
    fork.start()
    fork.join()
    told = said.read_text(encoding="utf-8")
    said.unlink()
    assert fork.exitcode == 0, told
    return jobs_of(told)


def _dry_run(folder: Path, said: Path, targets: Sequence[str]) -> None:
    os.chdir(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] == "multical"]:
        del sys.modules[name]  # the folder has its own
    with open(said, "w") as stream, redirect_stdout(stream), redirect_stderr(stream):
        snakemake_cli.main([*checkout.SNAKEMAKE[1:], "--dry-run", "--", *targets])


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
