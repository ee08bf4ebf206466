"""Snakemake as a job of the cluster: what `make submit` and `make stop` do.

The job has an id, a log and a name of its own for as long as the run takes. Shortly before its time
limit it kills Snakemake, whose jobs go on, and has SLURM requeue it. As after a preemption or the
loss of its node, it then starts anew: it puts the folder in order as `make recover` does, and runs
the same command.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from multical import paths
from multical.cluster import profile, queries, recovery, slurm
from multical.cluster.checks import Findings
from multical.cluster.queries import SlurmError
from multical.cluster.recovery import say
from multical.cluster.site import Site
from multical.errors import InputError
from multical.workflow import drivers

#: How the names of drivers begin; those of their jobs begin with `recovery.PREFIX`
PREFIX = "driver-"
#: The most minutes that are requested where a partition has no limit
WEEK = 7 * 24 * 60
#: MB of Snakemake itself
SNAKEMAKE_MB = 1000
#: Variables of a job that its own jobs must not get. SLURM_CONF is the cluster's, and those that
#: begin with SBATCH_ are a user's defaults, but for those of how the job is bound.
OF_A_JOB = re.compile(r"(SLURM|SRUN|SLURMD)_(?!CONF$)|SBATCH_(CPU|MEM)_BIND")


@dataclass(frozen=True)
class Local:
    """What a job that runs beside Snakemake needs."""

    rule: str
    minutes: float
    mem_mb: int
    threads: int


@dataclass(frozen=True)
class Request:
    """What the driver's job requests."""

    minutes: int
    mem_mb: int
    cpus: int

    @property
    def warning_s(self) -> int:
        """Seconds before the time limit at which SLURM warns the job."""
        return min(300, 15 * self.minutes)


def request(
    beside: Iterable[Local],
    cores: int,
    limit: float,
    minutes: float | None = None,
    mem_mb: int | None = None,
) -> Request:
    """What the driver requests, for the jobs beside it on `cores`; `limit` minutes are allowed.

    `minutes` and `mem_mb` are taken as they are, if given. Raises `InputError` where a job would
    be cut off by each limit, and begin anew each time.
    """
    jobs = list(beside)
    time_limit = minutes or min(limit, WEEK)
    longest = max(jobs, key=lambda job: job.minutes, default=None)
    asked = Request(round(time_limit), 0, cores)
    if longest and minutes is None and longest.minutes > time_limit - asked.warning_s / 60:
        raise InputError(
            f"{longest.rule}: runs beside Snakemake for up to {longest.minutes:.0f} minutes; found "
            f"a time limit of {time_limit:.0f}, expected more: set cpu_partitions (slurm/site.yaml)"
        )
    most = max((job.mem_mb * max(1, cores // job.threads) for job in jobs), default=0)
    return replace(asked, mem_mb=mem_mb or SNAKEMAKE_MB + most)


def time_limit(site: Site) -> float:
    """The minutes that the driver's partitions allow; raises `InputError` if there is none."""
    try:
        chosen = slurm.chosen(queries.partitions(), replace(site, partitions=site.cpu))
    except SlurmError as error:
        raise InputError(f"{error}: no driver can be submitted now") from error
    return min(part.limit("MaxTime") for part in chosen)


def check_partitions(settings: dict[str, str], values: dict[str, Any], site: Site) -> Findings:
    """Whether partitions of their own for jobs without GPUs would run them, the driver first.

    `values` is the profile. It needs more than any of the jobs, which may also run beside it.
    """
    if site.cpu_partitions is None:
        return
    cpu = replace(site, partitions=site.cpu, gpus="none")
    job = profile.other(values)
    try:
        limit = time_limit(site)
    except InputError:
        limit = WEEK  # a partition that does not exist, which is found below
    beside = Local("each other job", job.minutes, job.mem_mb, job.cpus)
    asked = request([beside], int(values.get("local-cores", 1)), limit)
    driver = profile.Request("make submit", asked.minutes, asked.mem_mb, asked.cpus)
    yield from slurm.would_run(settings, [driver], cpu, "cpu_partitions")


def check_none() -> None:
    """Raise `InputError` if a driver of this folder waits or runs; wait for one that just ended."""
    end = time.monotonic() + recovery.PATIENCE_S
    while (found := recovery.queue(prefix=PREFIX)) and time.monotonic() < end:
        if {*found.values()} != {"COMPLETING"}:
            break
        time.sleep(recovery.POLL_S)
    for job, state in found.items():
        raise InputError(
            f"job {job} drives this folder: found it {state}, expected none; make stop ends it and "
            "its jobs, or let it end"
        )


def check_folder() -> None:
    """Raise `InputError` if a Snakemake works in this folder, or was killed on a login node."""
    if shutil.which("sbatch") is None:
        raise InputError("sbatch: not found here, expected SLURM's commands: run this on a login "
                         "node")  # fmt: skip
    check_none()
    on_record = drivers.load_all()
    recovery.check_killed(on_record)
    for driver in on_record:
        if not driver.job:
            raise InputError(f"{driver} was killed: found its record, expected none; make recover")


def name(target: str, roots: Iterable[str]) -> str:
    """The name of a driver: that of the study of its target."""
    within = [root for root in roots if target == root or target.startswith(f"{root}/")]
    study = max(within, key=len, default=target).removeprefix("results/")
    return PREFIX + re.sub(r"[^\w.-]", "-", study)


def submit(job_name: str, target: str, asked: Request, site: Site, arguments: list[str]) -> str:
    """Submit `tools/submit.py --drive ARGUMENTS`; the job's id. Raises `InputError`."""
    file = Path(paths.DRIVER_LOG)
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "job-name": job_name,
        "comment": f"Snakemake for {target}",
        "time": asked.minutes,
        "mem": f"{asked.mem_mb}M",
        "ntasks": 1,
        "cpus-per-task": asked.cpus,
        "signal": f"B:USR1@{asked.warning_s}",
        "output": file.with_stem("%j"),
        "open-mode": "append",  # a requeued job goes on writing
        "export": "ALL",
        "account": site.account,
        "partition": site.cpu,
        "qos": site.qos,
    }
    given = [f"--{key}={value}" for key, value in options.items() if value is not None]
    # The program takes bash's place, so that it gets the signal before the time limit.
    command = [sys.executable, "tools/submit.py", "--drive", *arguments]
    environ = dict(os.environ)
    leave_job(environ)
    sbatch = subprocess.run(
        ["sbatch", "--parsable", "--requeue", *given],
        input=f"#!/bin/bash\nexec {shlex.join(command)}\n",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if sbatch.returncode:
        raise InputError(queries.reason(sbatch))
    return sbatch.stdout.strip().partition(";")[0]  # the cluster's name may follow


def leave_job(environ: MutableMapping[str, str]) -> None:
    """Remove the variables of the present job, if any, so that its own jobs do not get them."""
    if "SLURM_JOB_ID" not in environ:
        return
    for key in [key for key in environ if OF_A_JOB.match(key)]:
        del environ[key]


class SignalError(BaseException):
    """SLURM has sent a signal, the argument; no `except Exception` holds it up."""


def drive(command: list[str], arguments: list[str]) -> int:
    """Run Snakemake in this job until it ends or SLURM tells the job to; the exit code.

    `arguments` are those of `make submit`, for `make recover`.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        raise InputError("--drive: found no SLURM_JOB_ID, expected to be run by `make submit`")
    leave_job(os.environ)
    os.environ[drivers.JOB], os.environ[drivers.SUBMITTED] = job, json.dumps(arguments)
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, _raise)
    try:
        return _run(job, command)
    except SignalError as told:
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        end_children()
        if told.args[0] == signal.SIGUSR1:
            say("the time limit is near: Snakemake is ended, its jobs go on, this job is requeued")
            requeue(job)
            return 0
        say("ended by SLURM: Snakemake's jobs go on; unless this job is requeued, make recover "
            "goes on with them, and make stop cancels them")  # fmt: skip
        return 128 + signal.SIGTERM


def _raise(number: int, frame: Any) -> None:
    raise SignalError(number)


def _run(job: str, command: list[str]) -> int:
    for other, state in recovery.queue(recovery.PATIENCE_S, PREFIX).items():
        if state == "RUNNING" and int(other) < int(job):
            raise InputError(f"job {other} drives this folder: found it {state}, expected none")
    on_record = drivers.load_all()
    recovery.check_killed(on_record, own_job=job)
    recovery.settle(on_record, patience_s=recovery.PATIENCE_S)
    say("snakemake " + shlex.join(command[3:]))
    code = subprocess.Popen(command).wait()  # `run` would kill it without its children
    if code < 0:
        say(f"Snakemake was killed by signal {-code}; its jobs go on: make recover")
        return 128 - code
    return code


def end_children() -> None:
    """Kill Snakemake, and what it runs beside it. It cannot cancel its jobs."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(children, timeout=30)


def requeue(job: str, patience_s: float = 240) -> None:
    """Have SLURM start this job again; raises `InputError` if it does not in `patience_s`."""
    end = time.monotonic() + patience_s
    while True:
        try:
            queries.ask("scontrol", "requeue", job)
            return
        except SlurmError as error:
            if time.monotonic() >= end:
                raise InputError(f"{error}: not requeued, make recover goes on") from error
            time.sleep(recovery.POLL_S)


def stop() -> None:
    """End the driver of this folder, then its jobs; what they have finished is kept."""
    told = recovery.queue(prefix=PREFIX)
    on_record = drivers.load_all()
    if told:
        say("ending " + ", ".join(f"job {job} {state}" for job, state in told.items()))
        subprocess.run(["scancel", *told], check=False)
    while recovery.queue(prefix=PREFIX):
        time.sleep(recovery.POLL_S)
    recovery.check_killed(on_record)
    recovery.settle(on_record, cancel=True)
    if told or on_record:
        say("ended, its jobs too; the same `make submit` goes on from here")
    else:
        say("no driver here, nothing to end")
