"""Put a folder in order after a Snakemake that was killed while its jobs ran.

These jobs go on, and a new Snakemake would start them a second time, with the same output files.
"""

from __future__ import annotations

import csv
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from multical import locks, paths
from multical.cluster import queries
from multical.cluster.queries import SlurmError
from multical.config import files
from multical.errors import InputError
from multical.workflow import drivers
from multical.workflow.drivers import Driver

#: As in slurm/profile.yaml; the names of the jobs that Snakemake submits begin with it.
PREFIX = "multical_"
POLL_S = 5
#: Seconds without an answer from SLURM that a job waits out, as Snakemake does with the profile
PATIENCE_S = 600
SNAKEMAKE = [sys.executable, "-m", "snakemake"]


def check_killed(
    on_record: Iterable[Driver], lost_hosts: Iterable[str] = (), own_job: str = ""
) -> None:
    """Raise `InputError` if a driver on record is alive, or may be.

    One of `own_job`, the cluster job that asks, is dead: SLURM runs a job once at a time.
    """
    for driver in on_record:
        if driver.job:
            if driver.job != own_job and in_queue(driver.job):
                raise InputError(
                    f"job {driver.job} drives this folder: found it in the queue, expected none; "
                    "make stop ends it and its jobs, or let it end"
                )
        elif driver.here and driver.alive:
            raise InputError(
                f"{driver} still runs here: found it alive, expected none; stop it with "
                f"kill -INT {driver.pid}, which cancels its jobs, or let it end"
            )
        elif not driver.here and driver.host not in lost_hosts:
            raise InputError(
                f"{driver} is on record: only {driver.host} can tell whether it runs; run "
                f"make recover there, or give --dead {driver.host} if that host is gone"
            )


def in_queue(job: str) -> bool:
    """Whether a job of whatever user waits or runs, once it is no longer about to end.

    Raises `InputError` if SLURM does not say.
    """
    end = time.monotonic() + PATIENCE_S
    while (state := _state(job)) == "COMPLETING" and time.monotonic() < end:
        time.sleep(POLL_S)
    return bool(state)


def _state(job: str) -> str:
    try:
        squeue = queries.run("squeue", "--noheader", "--jobs", job, "--format", "%T")
    except SlurmError as error:
        raise InputError(f"{error}: cannot tell whether job {job} runs; try later") from error
    if squeue.returncode and "Invalid job id" not in squeue.stderr:  # one that it has forgotten
        reason = queries.reason(squeue)
        raise InputError(f"{reason}: cannot tell whether job {job} runs; try later")
    return squeue.stdout.strip()


def settle(killed: list[Driver], cancel: bool = False, patience_s: float = 0) -> None:
    """Have a later Snakemake go on where the killed ones were.

    Waits for their running jobs and processes, or ends them; unlocks the folder; has Snakemake
    accept what those jobs finished, but for files whose settings or code have changed since, which
    go.
    """
    by_slurm = any("slurm" in " ".join(driver.command) for driver in killed)
    end_jobs(by_slurm, cancel, patience_s)
    end_processes(cancel)
    for driver in killed:
        snakemake(driver.command, "--unlock")
    for driver in killed:
        adopt(driver)
    for driver in killed:
        driver.forget()


def end_jobs(needs_slurm: bool, cancel: bool, patience_s: float = 0) -> None:
    """Wait until no job of this folder is in the queue any more."""
    if shutil.which("squeue") is None:
        if needs_slurm:
            raise InputError("squeue: not found here, expected SLURM's commands: run this where "
                             "Snakemake was run")  # fmt: skip
        return
    last: dict[str, str] = {}
    while jobs := queue(patience_s):
        if jobs != last:
            say("jobs left behind: " + ", ".join(f"{job} {state}" for job, state in jobs.items()))
            last = jobs
        # a pending job has made nothing; it may also be on its way back from a lost node
        ends = [job for job, state in jobs.items() if cancel or state == "PENDING"]
        if ends:
            subprocess.run(["scancel", *ends], check=False)
        time.sleep(POLL_S)


def end_processes(cancel: bool) -> None:
    """Wait until no program of this folder is at work any more.

    Jobs without a cluster are such processes; if `cancel`, those of this host are told to end.
    """
    last: list[str] = []
    while found := working():
        told = [f"process {pid} on {host} ({by})" for (host, pid), by in found.items()]
        if told != last:
            say("left behind: " + ", ".join(told))
            last = told
        for host, pid in found:
            if cancel and host == socket.gethostname() and pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        time.sleep(POLL_S)


def working() -> dict[tuple[str, int], str]:
    """Processes by host and id, with what tells of them.

    They are programs of this folder that run on this host, and, on whatever host, trainings and
    scorings that hold locks of its studies.
    """
    found = {}
    # not by pathlib, which does not look into folders that are links, as to another disk
    pattern = paths.SCRATCH.format(root="results/**", key="*.lock")
    for file in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207
        if holder := locks.holder(Path(file)):
            found[holder] = f"lock {file}"
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command, folder = process.info["cmdline"] or [], process.info["cwd"]
        if folder == str(Path.cwd()) and "".join(command[1:2]).startswith("scripts/"):
            found.setdefault((socket.gethostname(), process.pid), command[1])
    return found


def queue(patience_s: float = 0, prefix: str = PREFIX) -> dict[str, str]:
    """The states, by job id, of this user's jobs that were submitted from this folder.

    Their names begin with `prefix`. Raises `InputError` without an answer in `patience_s`.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            listed = queries.ask("squeue", "--me", "--noheader", "--format", "%i|%T|%j|%Z")
            break
        except SlurmError as error:
            if time.monotonic() >= end:
                raise InputError(f"{error}: cannot tell what still runs; try later") from error
            time.sleep(POLL_S)
    rows = [line.split("|", 3) for line in listed.splitlines()]
    here = Path.cwd().resolve()
    return {
        job: state
        for job, state, name, folder in rows
        if name.startswith(prefix) and Path(folder).resolve() == here
    }


def adopt(driver: Driver) -> None:
    """Record the provenance of files whose jobs outlived their Snakemake, or remove them."""
    now = drivers.products(files.load(driver.command))
    accepted = []
    for file in unrecorded(driver.command):
        if driver.products.get(file, "") == now.get(file):
            accepted.append(file)
        else:
            say(f"{file}: made with settings or code that have changed; removed")
            if Path(file).is_dir():
                shutil.rmtree(file)
            else:
                Path(file).unlink()
    if accepted:
        say("finished meanwhile, accepted: " + ", ".join(accepted))
        config = files.repeated(driver.command)  # with another, the records would be others
        # without a cluster Snakemake takes what it did not see end for incomplete
        touch = ["--touch", "--force", "--ignore-incomplete"]
        snakemake([*SNAKEMAKE, "--cores", "1", *config, *touch, "--", *accepted])


def unrecorded(command: list[str]) -> list[str]:
    """Files that the command would make, and that are complete and current but have no provenance.

    Snakemake writes a job's provenance when it learns that the job has ended. It would never make a
    file without provenance again, whatever changes. The log, which each of our rules has, is part
    of the provenance.
    """
    rows = csv.DictReader(snakemake(command, "--summary").splitlines(), delimiter="\t")
    return [
        row["output_file"]
        for row in rows
        if (row["log-file(s)"], row["status"], row["plan"]) == ("-", "ok", "no update")
    ]


def snakemake(command: list[str], *more: str) -> str:
    """The output of Snakemake; raises `InputError` if it fails."""
    start, rest = command[:3], command[3:]  # `more` goes first, since all after -- are targets
    process = subprocess.run(
        [*start, *more, *rest], env=os.environ | {drivers.RECOVERING: "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if process.returncode:
        reason = "".join((process.stderr.strip() or process.stdout.strip()).splitlines()[-1:])
        raise InputError(f"snakemake {' '.join([*more, *rest])}: failed: {reason}")
    return process.stdout


def say(text: str) -> None:
    """Print a message at once, with the program's name."""
    print(f"{Path(sys.argv[0]).stem}: {text}", flush=True)
