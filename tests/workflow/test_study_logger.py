"""`snakemake --logger study` follows a run of Snakemake, for real, in a tiny workflow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import forks

ROOT = Path(__file__).parents[2]
SNAKEFILE = """
rule all:
    input: "second"

rule first:
    output: "first"
    log: "logs/first.log"
    shell: "(echo noise; sleep {config[sleep]}; {config[first]}) 2>&1 | tee {log}; touch {output}"

rule second:
    input: "first"
    output: "second"
    log: "logs/second.log"
    retries: 1
    shell: "(echo noise; {config[second]}) 2>&1 | tee {log}; touch {output}"
"""
#: Fails at its first run
AT_TWICE = "test -e tried || { touch tried; exit 3; }"

pytestmark = pytest.mark.workflow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    return tmp_path


def command(first: str = "true", second: str = "true", sleep: float = 0) -> list[str]:
    settings = [f"first={first}", f"second={second}", f"sleep={sleep}"]
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    return [snakemake, "--cores", "2", "--logger", "study", "--config", *settings]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT / "tools")}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code, and what was said beside the output of jobs."""
    environ = os.environ | {"PYTHONPATH": str(ROOT / "tools")}
    done = forks.run(arguments, cwd=folder, env=environ)
    return done.returncode, done.stderr


def test_a_line_for_each_job_and_the_output_of_jobs_in_their_logs(folder: Path) -> None:
    code, said = run(folder, *command())
    assert code == 0
    first, *lines = said.splitlines()
    assert re.fullmatch(r"0 of 3 jobs, 0%, about \d+ s left \(estimate\)", first)
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert re.search(r": first took \d+ s$", lines[0])
    assert re.fullmatch(r"3 of 3 jobs in \d+ s: all took 0 s", lines[-1])
    assert (folder / "logs/first.log").read_text() == "noise\n"


def test_a_second_run_has_nothing_to_do(folder: Path) -> None:
    run(folder, *command())
    code, said = run(folder, *command())
    assert code == 0
    assert said.splitlines() == [
        "Nothing to be done (all requested files are present and up to date)."
    ]


def test_a_failed_job_is_shown_with_the_end_of_its_log(folder: Path) -> None:
    code, said = run(folder, *command(first="seq 30; exit 3"))
    assert code == 1
    for part in ("Error in rule first", "non-zero exit status 3", "log: logs/first.log"):
        assert part in said
    shown = re.search(r"The last lines of logs/first\.log:\n((?:    \d+\n)+)", said)
    assert shown
    assert shown[1].split() == [str(number) for number in range(11, 31)]


def test_a_job_that_is_run_again_counts_once(folder: Path) -> None:
    code, said = run(folder, *command(second=AT_TWICE))
    assert code == 0
    assert "Error in rule second" in said
    assert re.findall(r"^(\d) of 3 jobs", said, re.MULTILINE) == ["0", "1", "2", "3"]


def test_an_interrupted_run_ends_and_goes_on(folder: Path) -> None:
    process = start(folder, *command(sleep=60))
    deadline = time.monotonic() + 60
    while not (folder / "logs/first.log").exists():
        assert time.monotonic() < deadline, "first did not start"
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said.splitlines()[1:] == ["Interrupted: the same command goes on from here."]
    code, said = run(folder, *command(), "--rerun-triggers", "mtime")
    assert (code, said.splitlines()[-1][:11]) == (0, "3 of 3 jobs")
