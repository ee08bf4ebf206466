"""Records of running Snakemakes, and what `make recover` refuses; no cluster is needed.

What it does to jobs is tested on a running cluster: tests/slurm/test_killed_driver.py.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import recover
from multical.cluster import recovery
from multical.config import schema
from multical.errors import InputError
from multical.workflow import drivers
from multical.workflow.drivers import Driver
from support import checkout, forks

RAW = checkout.config()
RECORD = "results/smoke/records/gemma3-270m.facts.ls0.1.s0/cldr-facts.parquet"
WEIGHTS = "results/smoke/runs/gemma3-270m.facts.ls0.1.s0/checkpoint"
USAGE = "results/smoke/runs/gemma3-270m.facts.ls0.1.s0/usage.json"
#: Of a study that tries learning rates: a run that trains nothing, and a trial
ADOPTED = "results/runs/gemma-2-2b.alpaca.ls0.s0/manifest.json"
TRIAL = [f"results/runs/gemma-2-2b.alpaca.lr5e-06/{x}.json" for x in ("usage", "heldout")]


@pytest.fixture
def dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A driver that was killed on this host, on record in the present folder."""
    for name in ("rules", "scripts", "envs"):
        (tmp_path / name).symlink_to(checkout.REPO / name)
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    drivers.record(schema.load(RAW))
    (driver,) = drivers.load_all()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    driver.forget()
    return replace(driver, pid=gone.pid)


def test_this_process_is_on_record_and_alive(dead: Driver) -> None:
    drivers.record(schema.load(RAW))
    (driver,) = drivers.load_all()
    assert driver.here
    assert driver.alive
    assert driver.command[1:3] == ["-m", "snakemake"]
    with pytest.raises(InputError, match="still runs here: found it alive"):
        recovery.check_killed([driver], [])
    # another process that has got the same number is not the driver
    assert not replace(driver, started=f"{driver.started}0").alive
    driver.forget()
    assert drivers.load_all() == []


def test_a_living_one_stays_alive_when_the_clock_is_set(
    dead: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux then moves the time of its boot, from which psutil counts that of each process."""
    drivers.record(schema.load(RAW))
    (driver,) = drivers.load_all()
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot + 3600)
    assert driver.alive
    other = Path("boot_id")
    other.write_text("4a7d\n", encoding="utf-8")
    monkeypatch.setattr(drivers, "BOOT", other)
    assert not driver.alive
    driver.forget()


def test_the_ticks_of_a_process_with_an_odd_name(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    shutil.copy(shutil.which("sleep") or "", odd)
    with subprocess.Popen([odd, "600"]) as process:
        try:
            seconds = psutil.Process(process.pid)._proc.create_time(monotonic=True)
            _, ticks = drivers.started(psutil.Process(process.pid)).split()
            assert int(ticks) == round(seconds * os.sysconf("SC_CLK_TCK"))
        finally:
            process.kill()


def test_a_dead_one_is_accepted(dead: Driver) -> None:
    assert not dead.alive
    recovery.check_killed([dead], [])


def test_only_its_own_host_can_tell(dead: Driver) -> None:
    elsewhere = replace(dead, host="login2")
    with pytest.raises(InputError, match=r"login2 is on record: only login2 can tell .* --dead"):
        recovery.check_killed([elsewhere], ["login3"])
    recovery.check_killed([elsewhere], ["login2"])


def test_a_record_that_is_not_one(dead: Driver) -> None:
    drivers.FOLDER.mkdir(parents=True, exist_ok=True)
    (drivers.FOLDER / "x.1.json").write_text('{"host": "x"}')
    with pytest.raises(
        InputError, match=r"x\.1\.json: .*expected what multical\.workflow\.drivers writes"
    ):
        drivers.load_all()


def test_only_recover_takes_what_was_left(dead: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    drivers.FOLDER.mkdir(parents=True, exist_ok=True)
    dead.file.write_text(json.dumps(asdict(dead)), encoding="utf-8")
    assert drivers.left() == []
    told = recovery.snakemake([sys.executable, "-c", "import os; print(*os.environ)"])
    (name,) = set(told.split()) - os.environ.keys() - {"LC_CTYPE"}
    monkeypatch.setenv(name, "1")
    assert drivers.left() == list(dead.products)


def test_outside_of_a_clone(tmp_path: Path) -> None:
    program = checkout.REPO / "tools/recover.py"
    run = forks.run([sys.executable, program], cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr == f"error: {tmp_path}: no Snakefile here, expected multical's own folder\n"


def learning_rate(raw: dict[str, Any]) -> None:
    raw["studies"]["results/smoke"]["training"]["learning_rate"] = 1e-3


def prompt(raw: dict[str, Any]) -> None:
    raw["prompts"]["default"]["cloze"] = "{question} "


def figures(raw: dict[str, Any]) -> None:
    raw["studies"]["results/smoke"]["figures"]["reference_language"] = "fr"


@pytest.mark.parametrize(
    ("change", "changed"),
    [(learning_rate, {WEIGHTS}), (prompt, {RECORD}), (figures, set())],
)
def test_a_product_is_known_by_its_own_settings(
    dead: Driver, change: Callable[[dict[str, Any]], None], changed: set[str]
) -> None:
    raw = copy.deepcopy(RAW)
    change(raw)
    before, after = dead.products, drivers.products(schema.load(raw))
    assert before.keys() == after.keys() >= {WEIGHTS, RECORD, USAGE, *TRIAL}
    assert ADOPTED not in before
    assert {name for name in (WEIGHTS, RECORD) if before[name] != after[name]} == changed


#: What a killed Snakemake leaves: a training or scoring, and another program
LOCKING = """
import sys, time
from pathlib import Path
from multical import locks
with locks.held(Path("results/smoke/scratch/key"), Path("made")):
    print("held", flush=True)
    time.sleep(float(sys.argv[1]))
"""
OTHER = """
import sys, time
print("held", flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize(("cancel", "seconds"), [(False, 0.5), (True, 600)])
@pytest.mark.parametrize("kind", ["lock", "lock on another disk", "program"])
def test_it_waits_for_processes_without_a_cluster_or_ends_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    cancel: bool,
    seconds: float,
) -> None:
    folder, scratch = tmp_path / "clone", Path("results/smoke/scratch")
    for path in (folder / "scripts", tmp_path / "disk/scratch", folder / "results"):
        path.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(recovery, "POLL_S", 0.05)
    if kind == "lock on another disk":
        scratch.parent.symlink_to(tmp_path / "disk")
    recovery.end_processes(cancel)
    assert capsys.readouterr().out == ""
    Path("scripts/compute.py").write_text(OTHER, encoding="utf-8")
    program = ["scripts/compute.py"] if kind == "program" else ["-c", LOCKING]
    process = subprocess.Popen(
        [sys.executable, *program, str(seconds)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(checkout.REPO / "scripts")},
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    reaper = threading.Thread(target=process.wait)
    reaper.start()
    recovery.end_processes(cancel)
    reaper.join()
    assert process.returncode == (-signal.SIGTERM if cancel else 0)
    (told,) = capsys.readouterr().out.splitlines()
    by = "scripts/compute.py)" if kind == "program" else f"lock {scratch}/"
    assert f": left behind: process {process.pid} on {socket.gethostname()} ({by}" in told
    assert not scratch.exists() or list(scratch.iterdir()) == []


def test_what_was_half_made_is_made_again(
    dead: Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether or not the killed Snakemake was told to; again, if it is killed again."""
    show = [sys.executable, "-c", "import sys; sys.exit(sys.argv[1:].count('--rerun-incomplete'))"]
    for options in ([], ["--rerun-incomplete"]):
        killed = replace(dead, command=[*show, "-c2", *options, "--", "x"])
        assert recover.go_on(killed) == 1
        assert ": going on: snakemake" in capsys.readouterr().out


def test_what_is_accepted_is_recorded_with_the_config_of_the_killed_command(
    dead: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake records the settings of that config, or knows no job for the file."""
    commands: list[list[str]] = []
    monkeypatch.setattr(recovery, "unrecorded", lambda command: [RECORD])
    monkeypatch.setattr(recovery.files, "load", lambda command: schema.load(RAW))
    monkeypatch.setattr(recovery, "snakemake", lambda command: commands.append(command[3:]))
    given = ["--configfile", "mine.yaml", "--config", "a=1", "b=2"]
    recovery.adopt(replace(dead, command=[*dead.command[:3], "-c2", *given, "--", "x"]))
    touch = ["--touch", "--force", "--ignore-incomplete", "--", RECORD]
    assert commands == [["--cores", "1", *given, *touch]]


def test_jobs_of_this_folder_alone(
    dead: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    monkeypatch.setenv("PATH", str(tmp_path))
    squeue.write_text(
        f"#!/bin/sh\necho '7|RUNNING|multical_a|{tmp_path}'\n"
        f"echo '8|PENDING|other|{tmp_path}'\necho '9|RUNNING|multical_b|/elsewhere'\n"
    )
    squeue.chmod(0o755)
    assert recovery.queue() == {"7": "RUNNING"}
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: refused' >&2; exit 1\n")
    with pytest.raises(InputError, match="squeue: slurm_load_jobs error: refused: cannot tell"):
        recovery.queue()
    squeue.unlink()
    recovery.end_jobs(needs_slurm=False, cancel=False)
    with pytest.raises(InputError, match="squeue: not found here"):
        recovery.end_jobs(needs_slurm=True, cancel=False)
