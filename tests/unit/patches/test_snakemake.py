"""What Snakemake overlooks: does it still, and does the patched one see it?"""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import snakemake.api
from snakemake.io import IOFile
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake.scheduling.job_scheduler import JobScheduler

from multical.fixity import Digests
from multical.patches import snakemake as patches
from multical.patches import snakemake_speed
from multical.patches.snakemake_jobs import Scheduler
from support import fake_slurm, forks

SNAKEFILE = f"""
import sys
import threading

sys.path.insert(0, {str(Path(patches.__file__).parents[2])!r})
from multical.patches.snakemake import patch_snakemake

if "left" in config:
    patch_snakemake(config["left"].split(","))


rule copy:
    input: "given.txt"
    output: "made.txt"
    shell: "cp given.txt made.txt"
"""
LARGE = "x" * 1_100_000


def run(folder: Path, *options: str) -> str:
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "1", *options]
    done = forks.run(command, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def stale(folder: Path, *config: str) -> bool:
    said = run(folder, "--dry-run", *(["--config", *config] if config else []))
    return "Nothing to be done" not in said


def write_old(folder: Path, text: str) -> None:
    """Put a file in place of the input, with the time of before."""
    file, before = folder / "given.txt", (folder / "given.txt").stat()
    file.write_text(text, encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def add_output(folder: Path) -> None:
    """Have the rule make a file more, one that is there."""
    text = (folder / "Snakefile").read_text(encoding="utf-8")
    (folder / "Snakefile").write_text(text.replace('"made.txt"', '"made.txt", "more.txt"'))
    (folder / "more.txt").write_text("of another rule\n", encoding="utf-8")


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        pytest.param(lambda folder: write_old(folder, "y" * 9), True, id="an older file"),
        pytest.param(lambda folder: (folder / "given.txt").touch(), False, id="a touched file"),
        pytest.param(add_output, True, id="an output more"),
    ],
)
def test_snakemake_alone_is_wrong(
    tmp_path: Path, change: Callable[[Path], None], seen: bool
) -> None:
    """Else the patch is no longer needed for this."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    (tmp_path / "given.txt").write_text(LARGE, encoding="utf-8")
    time.sleep(0.1)
    run(tmp_path, "--config", "left=none")
    assert not stale(tmp_path, "left=none")
    change(tmp_path)
    assert stale(tmp_path) is not seen
    assert stale(tmp_path, "left=none") is seen
    if change is add_output:
        assert not stale(tmp_path, "left=more.txt")


def moved(folder: Path) -> None:
    (folder / "data").rename(folder / "data.old")
    (folder / "data2").rename(folder / "data")


def exchanged(folder: Path) -> None:
    moved(folder)
    (folder / "data.old").rename(folder / "data2")


def linked(folder: Path) -> None:
    (folder / "new").symlink_to("data2")
    (folder / "new").replace(folder / "link")


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("change", "place"), [(moved, "data"), (exchanged, "data"), (linked, "link")]
)
def test_another_folder_in_the_place_of_the_inputs(
    tmp_path: Path, change: Callable[[Path], None], place: str
) -> None:
    """The files in it are older than the output, in all their times."""
    text = SNAKEFILE.replace("given.txt", f"{place}/given.txt")
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    for name in ("data", "data2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "given.txt").write_text(name, encoding="utf-8")
    (tmp_path / "link").symlink_to("data")
    run(tmp_path, "--config", "left=none")
    assert not stale(tmp_path, "left=none")
    change(tmp_path)
    assert stale(tmp_path, "left=none")
    run(tmp_path, "--config", "left=none")
    assert (tmp_path / "made.txt").read_text(encoding="utf-8") == "data2"
    assert not stale(tmp_path, "left=none")


@pytest.mark.workflow
def test_an_input_that_changes_while_the_job_runs(tmp_path: Path) -> None:
    """Snakemake alone records the new content, of which nothing is made."""
    text = SNAKEFILE.replace("cp given.txt made.txt", "cp given.txt made.txt; echo y > given.txt")
    for patched in (False, True):
        (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
        (tmp_path / "given.txt").write_text("x", encoding="utf-8")
        config = ["left=none"] * patched
        said = run(tmp_path, "--forceall", *(["--config", *config] if patched else []))
        assert ("given.txt: changed while copy ran, which must run again" in said) is patched
        assert stale(tmp_path, *config) is patched


@pytest.mark.workflow
def test_results_without_records_are_accepted_by_touch_alone(tmp_path: Path) -> None:
    """And white space in a command counts: docs/reruns.md."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    (tmp_path / "given.txt").write_text("x", encoding="utf-8")
    config = ["--config", "left=none"]
    run(tmp_path, *config)
    shutil.rmtree(tmp_path / ".snakemake")
    assert stale(tmp_path, config[1])
    run(tmp_path, *config, "--touch")
    assert not stale(tmp_path, config[1])
    (tmp_path / "Snakefile").write_text(
        SNAKEFILE.replace("cp given", "cp  given"), encoding="utf-8"
    )
    assert stale(tmp_path, config[1])


@pytest.mark.workflow
def test_what_a_failed_job_did_not_make_is_not_recorded(tmp_path: Path) -> None:
    """Snakemake alone takes a file for made by the failed job, whoever makes it later."""
    text = SNAKEFILE.replace("cp given.txt made.txt", "exit 3")
    (tmp_path / "given.txt").write_text("x", encoding="utf-8")
    for patched in (False, True):
        (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
        left = ["--config", "left=none"] if patched else []
        command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "1", *left]
        assert forks.run(command, cwd=tmp_path).returncode == 1
        (tmp_path / "made.txt").write_text("of a process that was left behind", encoding="utf-8")
        assert stale(tmp_path, *left[1:]) is patched
        (tmp_path / "made.txt").unlink()


@pytest.mark.parametrize(("error", "traced"), [("InputError", False), ("ValueError", True)])
def test_a_sentence_has_no_traceback(tmp_path: Path, error: str, traced: bool) -> None:
    text = SNAKEFILE.replace(
        'input: "given.txt"', f'input: lambda w: (_ for _ in ()).throw({error}("x: found 1"))'
    ).replace("\nif", "\nfrom multical.errors import InputError\nif")
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    command = [snakemake, "--dry-run", "--cores", "1", "--config", "left=none"]
    done = forks.run(command, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert said.count("x: found 1") == 1, said
    assert ("Traceback" in said) is traced


#: Snakemake as a shell starts it in the foreground: Ctrl-C is not ignored
FOREGROUND = """
import signal
from snakemake.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
SUBMITTING = """
rule all:
    input: expand("{job}.txt", job=range(3))

rule one:
    output: "{job}.txt"
    shell: "echo > {output}"
"""


def interrupted(folder: Path, held: str, patched: bool) -> list[str]:
    """The commands of SLURM that Snakemake runs, which gets Ctrl-C while one of them is `held`."""
    text = SNAKEFILE.partition("rule copy")[0] + SUBMITTING
    (folder / "Snakefile").write_text(text, encoding="utf-8")
    slurm = fake_slurm.healthy(folder / "bin")
    answers = {"sbatch": "echo 17", "squeue": "echo '17|COMPLETED'", "scancel": "exit 0"}
    for name, answer in answers.items():
        waits = "[ ! -e answer ]" if name == held else "false"
        script = f'#!/bin/sh\necho {name} "$1" >> called\n'
        script += f"if {waits}; then : > held; while {waits}; do sleep 0.05; done; fi\n{answer}\n"
        (slurm.folder / name).write_text(script, encoding="utf-8")
    options = ["--executor", "slurm", "--jobs", "9", "--slurm-jobname-prefix", "multical"]
    options += ["--slurm-init-seconds-before-status-checks", "1"]
    options += ["--slurm-status-command", "squeue"]
    options += ["--default-resources", "slurm_account=lab", "slurm_partition=cpu"]
    with open(folder / "said", "w") as said:
        driver = subprocess.Popen(
            [sys.executable, "-c", FOREGROUND, *options, *["--config", "left=x"] * patched],
            cwd=folder, env=os.environ | {"PATH": f"{slurm.folder}:{os.environ['PATH']}"},
            stdout=said, stderr=said,
        )  # fmt: skip
    wait_for(folder, "held", "", driver)
    driver.send_signal(signal.SIGINT)
    wait_for(folder, "said", "Terminating processes on user request", driver)
    (folder / "answer").touch()
    driver.wait(60)
    return (folder / "called").read_text(encoding="utf-8").splitlines()


def wait_for(folder: Path, name: str, text: str, driver: subprocess.Popen[bytes]) -> None:
    """Wait until a file has a text."""
    end = time.monotonic() + 60
    while not (folder / name).exists() or text not in (folder / name).read_text(encoding="utf-8"):
        assert driver.poll() is None, (folder / "said").read_text(encoding="utf-8")
        assert time.monotonic() < end, (folder / "said").read_text(encoding="utf-8")
        time.sleep(0.05)


@pytest.mark.workflow
@pytest.mark.parametrize("held", ["squeue", "sbatch"])
def test_ctrl_c_cancels_all_jobs(tmp_path: Path, held: str) -> None:
    """While SLURM is asked for the states of jobs, and while two of three jobs are submitted."""
    for patched in (False, True):
        folder = tmp_path / str(patched)
        folder.mkdir()
        called = interrupted(folder, held, patched)
        submitted = [line for line in called if line.startswith("sbatch")]
        assert len(submitted) == (2 if held == "sbatch" and patched else 3)
        cancelled = [line for line in called if line.startswith("scancel")]
        if patched:
            assert called[-1] == cancelled[-1]
            assert cancelled[-1].startswith("scancel --name=multical_")
        else:
            assert not cancelled  # else the patch is no longer needed


def test_a_record_without_a_time_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "given.txt").write_text("now", encoding="utf-8")
    checksums = {str(tmp_path / "given.txt"): "sha256:then", "made.txt": "sha256:its own"}
    record = MetadataRecord.model_validate({"endtime": None, "input_checksums": checksums})
    monkeypatch.setattr(patches.Records, "metadata", lambda *_: record)
    records = object.__new__(patches.Records)
    records.digests = Digests(tmp_path / "digests.jsonl")
    assert list(records.replaced("made.txt")) == [str(tmp_path / "given.txt")]
    assert records.made("made.txt") == "its own"


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"7", b'{"rule": 7}', b"{"])
def test_a_damaged_record_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    records = object.__new__(patches.Records)
    patches.FilePersistence.__init__(records, nolock=True)
    file = Path(records._record_path(records._metadata_path, "made.txt"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    assert records._read_record("made.txt") is None


class Counted:
    """A parameter that notes each time that it is written into a command."""

    def __str__(self) -> str:
        with open("count", "a") as stream:
            stream.write("x")
        return "once"


@pytest.mark.parametrize("patched", [False, True])
def test_a_command_is_filled_in_once(tmp_path: Path, patched: bool) -> None:
    """Snakemake alone fills it in three times, else the patch is no longer needed."""
    rule = """
rule one:
    output: "made.txt"
    params: Counted()
    shell: "echo {params} > {output}"
"""
    head = SNAKEFILE.partition("rule copy")[0] + inspect.getsource(Counted)
    (tmp_path / "Snakefile").write_text(head + rule, encoding="utf-8")
    said = run(tmp_path, "--dry-run", "-p", *(["--config", "left=none"] * patched))
    assert "echo once > made.txt" in said
    assert (tmp_path / "count").read_text(encoding="utf-8") == "x" * (1 if patched else 3)
    (tmp_path / "count").unlink()
    run(tmp_path, "--dry-run", *(["--config", "left=none"] * patched))
    assert (tmp_path / "count").exists()  # so a dry run shows a wrong name in a command


@pytest.mark.parametrize("inside", ["folder/file.txt", "folder/deep/file.txt", "folder.txt"])
def test_an_output_inside_another_one_is_refused(tmp_path: Path, inside: str) -> None:
    """As by Snakemake alone."""
    rules = f"""
rule all:
    input: "folder", "{inside}"

rule one:
    output: directory("folder")
    shell: "mkdir folder"

rule two:
    output: "{inside}"
    shell: "touch {{output}}"
"""
    text = SNAKEFILE.partition("rule copy")[0] + rules
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("snakemake")), "--dry-run", "--cores", "1"]
    for config in ([], ["--config", "left=none"]):
        done = forks.run([*command, *config], cwd=tmp_path)
        assert ("ChildIOException" in done.stdout + done.stderr) is ("/" in inside)


SOLVER = """
import pulp


def solve(*_):
    raise pulp.PulpSolverError("asked")


pulp.LpProblem.solve = solve
"""


@pytest.mark.workflow
@pytest.mark.parametrize("patched", [False, True])
def test_no_other_program_chooses_jobs(tmp_path: Path, patched: bool) -> None:
    (tmp_path / "Snakefile").write_text(SOLVER + SNAKEFILE, encoding="utf-8")
    (tmp_path / "given.txt").write_text("x", encoding="utf-8")
    said = run(tmp_path, *(["--config", "left=none"] * patched))
    assert (tmp_path / "made.txt").exists()
    assert ("falling back to greedy scheduler" in said) is not patched


def test_other_settings_are_another_command() -> None:
    class Job:
        params, resources = ["a"], ["b"]
        shellcmd: Any = property(lambda job: f"{job.params} {job.resources}")

    Job.shellcmd = snakemake_speed.FilledInOnce(Job.shellcmd)
    job = Job()
    for _ in range(2):
        assert job.shellcmd == "['a'] ['b']"
    for name, command in (("params", "['c'] ['b']"), ("resources", "['c'] ['c']")):
        setattr(job, name, ["c"])
        assert job.shellcmd == command


def test_a_file_matches_as_before_and_no_expression_is_made_in_vain() -> None:
    for file in ("{root,a|b}/{x}.pdf", "{x}", "whole.pdf", "a/{x}"):
        for target in ("a/1.pdf", "c/1.pdf", "whole.pdf", "a/1.png", "a/"):
            found = snakemake_speed.match(pattern := IOFile(file), target)
            expected = pattern.regex().match(target)
            assert (found and found.groupdict()) == (expected and expected.groupdict())
    snakemake_speed.match(pattern := IOFile("{root,a|b}/{x}.pdf"), "a/1.png")
    assert pattern._regex is None


def test_private_names_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").write_text("localrules: a\nrule a:\nrule b:\n", encoding="utf-8")
    with snakemake.api.SnakemakeApi() as api:
        opened = api.workflow(snakemake.api.ResourceSettings(cores=1))
        rules = list(patches.workflow_of(opened).rules)
        assert [(rule.name, patches.is_localrule(rule)) for rule in rules] == [
            ("a", True), ("b", False),
        ]  # fmt: skip
    record = MetadataRecord.model_validate({"rule": "a", "record_format_version": 6})
    patches.write_records({"out": record}, again=())
    assert FilePersistence(nolock=True)._read_record("out").rule == "a"


def test_one_round_of_scheduling_waits() -> None:
    """Snakemake alone starts one more for each round, whether or not a core is free."""

    class Limited:
        def __init__(self, cores: int) -> None:
            self._open_jobs, self.resources = threading.Semaphore(0), {"_cores": cores}

        def rounds(self, later: Any) -> int:
            """How many rounds follow when so many have ended."""
            for _ in range(5):
                later(self, 0.05)
            count = 0
            while self._open_jobs.acquire(timeout=0.3):
                count += 1
            return count

    alone = JobScheduler._schedule_reevalutation
    assert Limited(0).rounds(alone) == 5, "the patch is no longer needed"
    free, busy = Limited(1), Limited(0)
    assert [free.rounds(snakemake_speed.wake_later) for _ in range(3)] == [1, 1, 1]
    assert busy.rounds(snakemake_speed.wake_later) == 0


def test_sigterm_waits_for_no_lock_that_its_own_thread_holds() -> None:
    """Snakemake handles a failed job with a lock that its handler of SIGTERM waits for."""
    for scheduler, waits in ((JobScheduler, True), (Scheduler, False)):
        held: Any = object.__new__(scheduler)
        held._lock, held._open_jobs, held._user_kill = (
            threading.Lock(),
            threading.Semaphore(0),
            None,
        )
        handler = threading.Thread(target=held.exit_gracefully, args=(signal.SIGTERM, None))
        with held._lock:
            handler.start()
            handler.join(0.5)
            assert handler.is_alive() is waits, "the patch is no longer needed" * waits
        assert held._open_jobs.acquire(timeout=60)
        assert held._user_kill == "graceful"
