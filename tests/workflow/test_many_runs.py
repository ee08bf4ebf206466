"""A study of thousands of runs: command lines that are not too long, dry runs that end soon."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from support import checkout, rules

#: In the place of Python: says how many bytes it reads
PYTHON = "#!/bin/sh\nwc --bytes\n"
#: The rules whose settings have an entry for each run
LISTING = ("make_settings_table", "plot_training", "make_page")
#: What is long, by the rules' field: more than 2 MB in words, more than 128 KiB in one
LONG = {
    "input.records:q": ["results/large/records/gemma3-270m.facts.ls0.1.s0/quiz.parquet"] * 40_000,
    "params.settings:q": ["x" * 200_000],
}

#: Calls of functions for a job of a dry run, at most
LIMIT = 5000

pytestmark = pytest.mark.workflow


def test_what_is_long_is_read_from_the_standard_input(tmp_path: Path) -> None:
    commands = {name: text or "" for name, text in rules.commands(tmp_path).items()}
    reading = {name for name, text in commands.items() if "input.records" in text}
    reading -= {"merge_records"}  # of one run
    assert len(reading) > 10
    assert all("printf '%s\\n' {input.records:q} | " in commands[name] for name in reading)
    (tmp_path / "python").write_text(PYTHON, encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    for name in ("compute_metrics", "verify_claims", "compute_msp_auroc", *LISTING):
        field = "params.settings:q" if name in LISTING else "input.records:q"
        filled = commands[name].replace(f"{{{field}}}", " ".join(LONG[field]))
        script = re.sub(r"\{[^{}]+\}", "log", filled)  # all else is short
        (tmp_path / "script").write_text(f"set -euo pipefail; {script}", encoding="utf-8")
        path = f"{tmp_path}:{os.environ['PATH']}"
        subprocess.run(
            ["bash", "script"], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True
        )
        said = (tmp_path / "log").read_text(encoding="utf-8")
        assert int(said) == sum(len(word) + 1 for word in LONG[field]), name


#: Dry runs of studies of more and more seeds: by their config, the jobs and the calls of functions
DRY_RUNS = """
import cProfile
import json
import sys
from multical.dag import dryrun

counts = {}
for file in [sys.argv[1], *sys.argv[1:]]:  # the first imports what it needs
    with cProfile.Profile() as profile:
        with dryrun.opened("results/large/headline.txt", None, ["--configfile", file]) as opened:
            jobs = len(opened[0].dag)
    counts[file] = [jobs, sum(entry.callcount for entry in profile.getstats())]
print(json.dumps(counts))
"""


def test_a_dry_run_takes_as_much_for_each_job_however_many_there_are(tmp_path: Path) -> None:
    """Snakemake alone, and as multical had it first, calls twice as many functions."""
    study = checkout.config()["studies"]["results/demo"]
    files = []
    for seeds in (10, 30, 90):
        files.append(tmp_path / f"{seeds}.json")
        large = study | {"seeds": [*range(seeds)], "smoothing": [0.0, 0.1]}
        files[-1].write_text(json.dumps({"studies": {"results/large": large}}), encoding="utf-8")
    counts = rules.printed(tmp_path, DRY_RUNS, *map(str, files))
    few, some, many = (counts[str(file)] for file in files)
    assert many[0] - some[0] == 3 * (some[0] - few[0]) == 2 * 2 * 60 * 2
    for each, more in ((few, some), (some, many)):
        calls = (more[1] - each[1]) / (more[0] - each[0])
        assert calls < LIMIT, calls
