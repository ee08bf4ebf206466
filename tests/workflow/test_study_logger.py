"""`snakemake --logger study` follows a run of Snakemake, for real, in a tiny workflow.

Jobs find a bar of tqdm in their logs, as programs of multical write it there.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from multical.workflow.progress import Bar
from snakemake_logger_plugin_study.screen import Screen
from support import forks
from support.terminal import Terminal

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
#: Comes half way, as tqdm writes it, and stays there until a test has seen it, or two seconds
HALF = (
    r"printf '\r 50%%|####    | 1/2 [00:01<00:01, 1.00s/it]'; "
    "for i in $(seq 20); do test -e seen && break; sleep 0.1; done"
)
LOG = r"Log: \.snakemake/log/\S+\.snakemake\.log"

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
    first, *lines, log = said.splitlines()
    assert re.fullmatch(LOG, log)
    assert "rule second:" in (folder / log.removeprefix("Log: ")).read_text()
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
    _, interrupted, log = said.splitlines()
    assert interrupted == "Interrupted: the same command goes on from here."
    assert re.fullmatch(LOG, log)
    code, said = run(folder, *command(), "--rerun-triggers", "mtime")
    assert (code, said.splitlines()[-2][:11]) == (0, "3 of 3 jobs")


def on_terminal(
    folder: Path, *arguments: str, columns: int = 80, rows: int = 24, **environ: str
) -> Terminal:
    environ = {"PYTHONPATH": str(ROOT / "tools"), "TERM": "xterm", "LC_ALL": "C.UTF-8"} | environ
    return Terminal(arguments, folder, columns, rows, **environ)


def runs(job: str) -> Callable[[Terminal], bool]:
    """Whether a job's own bar is half full."""
    return lambda terminal: any(
        re.match(rf"{job} +50%\|.* 1/2, \d s$", line) for line in terminal.lines
    )


def bars(line: str) -> str:
    """The bar of a line, with its full and its empty part."""
    return line.split("|")[1]


@pytest.mark.parametrize("columns", [80, 120])
def test_bars_of_the_run_and_of_each_job_and_nothing_else(folder: Path, columns: int) -> None:
    terminal = on_terminal(folder, *command(first=HALF), columns=columns)
    assert terminal.watch(until=runs("first")) is None
    whole, first, *rest = terminal.lines
    assert rest == [""]
    assert re.fullmatch(r"0 of 3 jobs +\d+%\|.*\| about \d+ s left", whole)
    assert columns / 2 < whole.rindex("|") == first.rindex("|") < columns
    width = len(bars(whole))
    assert bars(first) == "█" * (width // 2) + "▌" * (width % 2) + " " * (width // 2)
    (folder / "seen").touch()
    assert terminal.watch() == 0
    assert all(len(line) < columns for screen in terminal.shown for line in screen)
    took, log, rest_of_screen = terminal.lines
    assert re.fullmatch(r"3 of 3 jobs in \d+ s", took)
    assert (bool(re.fullmatch(LOG, log)), rest_of_screen) == (True, "")


def test_a_job_that_counts_nothing_shows_the_time_that_it_is_expected_to_take(
    folder: Path,
) -> None:
    terminal = on_terminal(folder, *command(sleep=3))
    terminal.watch()
    seen = {line for screen in terminal.shown for line in screen if line.startswith("first")}
    expected = re.compile(r"first +(\d+)%\|.*\| (\d) s of about 4 s")
    shares = {match[2]: match[1] for match in map(expected.fullmatch, seen) if match}
    assert {"0", "1", "2"} <= shares.keys()
    assert 12 <= int(shares["1"]) <= 38  # half a second to a second and a half


def test_a_terminal_without_blocks_gets_ascii(folder: Path) -> None:
    terminal = on_terminal(folder, *command(first=HALF), LC_ALL="C")
    assert terminal.watch(until=runs("first")) is None
    assert re.fullmatch("(#+) +", bars(terminal.lines[1]))
    (folder / "seen").touch()
    terminal.watch()
    assert all(line.isascii() for screen in terminal.shown for line in screen)


def test_a_dumb_terminal_gets_a_line_for_each_job(folder: Path) -> None:
    terminal = on_terminal(folder, *command(), TERM="dumb")
    assert terminal.watch() == 0
    assert [line.split()[0] for line in terminal.lines[:4]] == ["0", "1", "2", "3"]


def test_a_narrower_terminal_leaves_nothing_behind(folder: Path) -> None:
    terminal = on_terminal(folder, *command(first=HALF), columns=120)
    assert terminal.watch(until=runs("first")) is None
    terminal.resize(45)
    assert len(terminal.lines) == 7  # each bar in three
    (folder / "seen").touch()
    assert terminal.watch() == 0
    assert all(len(line) < 45 for line in terminal.shown[-2])
    assert [line[:4] for line in terminal.lines] == ["3 of", "Log:", ""] or terminal.columns


def test_errors_stay_above_the_bars(folder: Path) -> None:
    terminal = on_terminal(folder, *command(second=AT_TWICE))
    assert terminal.watch() == 0
    *said, took, _, _ = terminal.lines
    assert "Error in rule second:" in said
    assert "    noise" in said
    assert not any("%|" in line for line in said)
    assert re.fullmatch(r"3 of 3 jobs in \d+ s", took)


def test_ctrl_c_on_a_terminal(folder: Path) -> None:
    terminal = on_terminal(folder, *command(first=HALF, sleep=0))
    terminal.watch(until=runs("first"))
    terminal.type(b"\x03")
    assert terminal.watch() not in {0, None}
    interrupted, took, _, _ = terminal.lines
    assert interrupted == "Interrupted: the same command goes on from here."
    assert re.fullmatch(r"0 of 3 jobs in \d+ s", took)


def runs_still(group: int) -> bool:
    """Whether any process of a group runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_closed_terminal_interrupts_the_run(folder: Path) -> None:
    """All processes of the shell end, and the lock of the folder is removed."""
    terminal = on_terminal(folder, "bash", "-c", f"{shlex.join(command(first=HALF))}; :")
    terminal.watch(until=runs("first"))
    terminal.close()
    terminal.process.wait(60)
    deadline = time.monotonic() + 60
    while runs_still(terminal.process.pid):
        assert time.monotonic() < deadline, "it did not end"
        time.sleep(0.1)
    code, said = run(folder, *command(), "--rerun-triggers", "mtime")
    assert (code, said.splitlines()[-2][:11]) == (0, "3 of 3 jobs")


def test_a_run_goes_on_without_its_terminal_under_nohup(folder: Path) -> None:
    terminal = on_terminal(folder, "nohup", *command(first=HALF))
    terminal.watch(until=runs("first"))
    terminal.close()
    (folder / "seen").touch()
    assert terminal.process.wait(60) == 0
    assert (folder / "second").exists()


def test_no_more_lines_than_the_terminal_has(tmp_path: Path) -> None:
    """A file is no terminal, so that it has 24 lines of 80 columns."""
    jobs = [Bar(f"job {number}", 0.5, "1/2, 5 s") for number in range(40)]
    with open(tmp_path / "file", "w", encoding="utf-8") as stream:
        lines = Screen(stream).lines(jobs)
        few = Screen(stream).lines(jobs[:23])
    assert (len(lines), len(few)) == (23, 23)
    assert (lines[21][:7], lines[22]) == ("job 21 ", "and 18 more")
    assert few[22].startswith("job 22 ")
