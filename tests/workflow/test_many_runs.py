"""A study of thousands of runs: what its programs are given does not outgrow a command line."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from support import rules

#: In the place of Python: says how many bytes it reads
PYTHON = "#!/bin/sh\nwc --bytes\n"
#: The rules whose settings have an entry for each run
LISTING = ("make_settings_table", "plot_training", "make_page")
#: What is long, by the rules' field: more than 2 MB in words, more than 128 KiB in one
LONG = {
    "input.records:q": ["results/large/records/gemma3-270m.facts.ls0.1.s0/quiz.parquet"] * 40_000,
    "params.settings:q": ["x" * 200_000],
}

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
