"""Each job ends well, with a whole log, whatever becomes of what it prints, and on any cores."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import checkout, forks
from support.tiny_study import tiny_study

MADE = "results/inputs/benchmarks/quiz.parquet"
LOG = Path("logs/make_benchmark/quiz.log")
#: Says something before and after its output is closed, in the place of a program
TALKS = """
import subprocess, sys, time
from pathlib import Path

given = dict(zip(sys.argv[1:], sys.argv[2:]))
print("started", flush=True)
time.sleep(1)
for number in range(20000):
    print("line", number, flush=not number % 100)
for flag in ("--output", "--report", "--about"):
    Path(given[flag]).write_text("{}")
sys.stdout.flush()
print("ended", file=sys.stderr)
"""

pytestmark = pytest.mark.workflow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = checkout.copy(tmp_path)
    tiny_study(folder)
    (folder / "scripts/make_benchmark.py").write_text(TALKS, encoding="utf-8")
    return folder


def start(folder: Path, out: int) -> subprocess.Popen[bytes]:
    command = [*checkout.SNAKEMAKE, "--", MADE]
    return subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        start_new_session=True,
    )  # fmt: skip


def check(folder: Path, process: subprocess.Popen[bytes]) -> None:
    process.wait(120)
    assert (folder / MADE).read_text() == "{}"
    lines = (folder / LOG).read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("started", "ended", 20002)


@pytest.mark.parametrize("opened", [os.pipe, os.openpty], ids=["pipe", "terminal"])
def test_a_job_goes_on_when_what_it_prints_to_is_closed(
    folder: Path, opened: Callable[[], tuple[int, int]]
) -> None:
    """A terminal's under nohup or without a controlling one; others get SIGHUP, which ends them."""
    end, out = opened()
    process = start(folder, out)
    os.close(out)
    said = b""
    while b"started" not in said:
        said += os.read(end, 65536)
    os.close(end)
    check(folder, process)


def test_a_log_says_what_ended_its_program(folder: Path) -> None:
    """As where the kernel takes the memory back: the program itself can say no more."""
    program = 'import os\nprint("started", flush=True)\nos.kill(os.getpid(), 9)\n'
    (folder / "scripts/make_benchmark.py").write_text(program, encoding="utf-8")
    # not in a fork, which would be the one that is killed
    done = forks.run([*checkout.SNAKEMAKE, "--", MADE], cwd=folder, env=os.environ)
    assert done.returncode == 1
    first, *_, last = (folder / LOG).read_text().splitlines()
    assert first == "started"
    assert last.startswith("error: ended by the signal KILL (the system sends KILL if memory")
    assert last in done.stdout + done.stderr
    assert not (folder / MADE).exists()


def test_all_rules_print_in_this_way() -> None:
    """By the function `tee` of the Snakefile, whose end is the end of the shell command."""
    printing = [
        line
        for rules in sorted((checkout.REPO / "rules").glob("*.smk"))
        for line in rules.read_text(encoding="utf-8").splitlines()
        if re.search(r"\btee\b|\| *\\\\?$", line)
    ]
    assert len(printing) > 10
    assert [line for line in printing if not re.search(r'2>&1 \| tee \{log:q\}"?$', line)] == []


def test_sums_do_not_depend_on_cores_or_variables(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of OpenBLAS depend on its threads, which Snakemake makes as many as a job's own."""
    for name in ("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"):
        monkeypatch.setenv(name, "3")
    program = """
import os, sys
from pathlib import Path

found = [os.environ.get(f"OPENBLAS_{name}", "none") for name in ("NUM_THREADS", "CORETYPE")]
Path(sys.argv[sys.argv.index("--output") + 1]).write_text(" ".join(found))
print(sys.argv[sys.argv.index("--processes") + 1])
"""
    (folder / "scripts/simulate_coverage.py").write_text(program, encoding="utf-8")
    made = folder / "docs/coverage.csv"
    made.unlink()
    checkout.snakemake(folder, "--", "docs/coverage.csv")
    assert (made.read_text(), (folder / "logs/docs/simulate_coverage.log").read_text()) == (
        "1 none",
        "2\n",
    )
