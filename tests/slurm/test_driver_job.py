"""Snakemake as a job of a running cluster: timed out, killed, requeued, stopped.

Each fault holds the training, does something to the driver, and compares what is made in the end,
byte by byte, with a local run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

import lab
from lab import digest, hold_training, job_logs, jobs, resumed_from, slurm, wait_for
from multical.cluster import queries
from support import checkout, hub_repos, hub_server, hub_study
from support.hub_server import Hub

Result = dict[str, str]
SITE = {"MULTICAL_PARTITIONS": "gpu", "MULTICAL_CPU_PARTITIONS": "cpu"}
#: So that four drivers have room on a node
SMALL = ("--mem=2500", "--slurm-init-seconds-before-status-checks=3")


def tool(study: Path, *command: str, **environ: str) -> tuple[int, str]:
    """Exit code and output of a tool in a study's folder."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=study,
        env=lab.environ() | SITE | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def submit(study: Path, *options: str, target: str = lab.TARGET, **environ: str) -> str:
    """Submit a driver; its job."""
    code, said = tool(study, "tools/submit.py", *SMALL, *options, "--", target, **environ)
    assert code == 0, said
    return driver_of(said)


def driver_of(said: str) -> str:
    (job,) = re.findall(r"^job (\d+) \(driver-lab\) drives", said, re.M)
    return str(job)


def log(study: Path, driver: str) -> str:
    file = study / f"logs/slurm/driver/{driver}.log"
    return file.read_text() if file.exists() else ""


def finish(study: Path, driver: str) -> str:
    """What the driver said until it ended; it must have succeeded."""
    wait_for(lambda: driver not in jobs(study))
    said = log(study, driver)
    wait_for(lambda: state(driver) not in ("RUNNING", "COMPLETING", "PENDING", "REQUEUED"))
    assert state(driver) == "COMPLETED", said
    assert not jobs(study)
    assert not list((study / ".snakemake/drivers").glob("*"))
    assert "running snakemake in a SLURM job context" not in said  # of its own variables
    return said


def state(driver: str) -> str:
    """The state of a job's last run, by sacct."""
    return slurm("sacct", "-nXP", "-j", driver, "--format", "State").split()[0]


def time_out_and_kill(study: Path, driver: str) -> lab.psutil.Process:
    """Have a driver meet its time limit in a training, then kill it; the training, held."""
    _, training = hold_training(study)
    elapsed = queries.number(slurm("squeue", "--noheader", "--jobs", driver, "--format", "%M"))
    # within the five minutes before which SLURM warns
    slurm("scontrol", "update", f"JobId={driver}", f"TimeLimit={round(elapsed) + 4}")
    wait_for(lambda: "the time limit is near" in log(study, driver))
    wait_for(lambda: jobs(study).get(driver) == "PENDING")
    slurm("scontrol", "update", f"JobId={driver}", "TimeLimit=60")
    wait_for(lambda: "jobs left behind" in log(study, driver))
    (process,) = (one for one in lab.psutil.process_iter(["cmdline", "cwd"]) if drives(one, study))
    process.kill()  # scancel would end it by SIGTERM first
    wait_for(lambda: driver not in jobs(study))
    return training


def drives(process: lab.psutil.Process, study: Path) -> bool:
    """Whether a process is a driver itself."""
    line = process.info["cmdline"] or []
    return process.info["cwd"] == str(study.resolve()) and "--drive" in line


def timed_out_and_killed(study: Path, local: Result) -> None:
    """The driver goes on by itself after its time limit, and by `make recover` after a kill."""
    training = time_out_and_kill(study, submit(study))
    code, said = tool(study, "tools/recover.py")
    assert code == 0, said
    again = driver_of(said)
    training.resume()
    said = finish(study, again)
    assert f"finished meanwhile, accepted: {lab.MANIFEST}" in said
    assert len(job_logs(study, "train_sft")) == 1
    assert digest(study) == local


def requeued(study: Path, local: Result) -> None:
    """As after a preemption. Meanwhile a second driver, and `make recover`, are refused."""
    driver = submit(study)
    _, training = hold_training(study)
    for name in (("submit.py", "--", lab.TARGET), ("recover.py",)):
        code, said = tool(study, f"tools/{name[0]}", *name[1:])
        assert code == 1
        assert f"job {driver} drives this folder: found it RUNNING, expected none" in said
    slurm("scontrol", "requeue", driver)
    wait_for(lambda: "ended by SLURM" in log(study, driver))
    wait_for(lambda: jobs(study).get(driver) == "PENDING")  # before, it is completing
    training.resume()
    assert f"finished meanwhile, accepted: {lab.MANIFEST}" in finish(study, driver)
    assert len(job_logs(study, "train_sft")) == 1
    assert digest(study) == local


def stopped(study: Path, local: Result) -> None:
    """`make stop` cancels all jobs; the next driver resumes the training."""
    driver = submit(study)
    job, _ = hold_training(study)
    listed = slurm("squeue", "--noheader", "--jobs", f"{driver},{job}", "--format", "%i %j %k")
    assert f"{driver} driver-lab Snakemake for {lab.TARGET}" in listed.splitlines()
    assert re.search(rf"^{job} multical_\S+ rule_train_sft_", listed, re.M)
    code, said = tool(study, "tools/stop.py")
    assert code == 0, said
    assert f"jobs left behind: {job} " in said
    assert not jobs(study)
    assert not list((study / ".snakemake/drivers").glob("*"))
    assert not list((study / ".snakemake/locks").glob("*"))
    finish(study, submit(study))
    assert resumed_from(study)
    assert digest(study) == local


def snakemake_killed(study: Path, local: Result) -> None:
    """As by a lack of memory: the job fails, and `make recover` goes on with another."""
    driver = submit(study)
    _, training = hold_training(study)
    (line,) = (one for one in lab.psutil.process_iter(["cmdline", "cwd"]) if is_driver(one, study))
    line.kill()
    wait_for(lambda: driver not in jobs(study))
    assert "Snakemake was killed by signal 9; its jobs go on: make recover" in log(study, driver)
    code, said = tool(study, "tools/recover.py")
    assert code == 0, said
    training.resume()
    finish(study, driver_of(said))
    assert len(job_logs(study, "train_sft")) == 1
    assert digest(study) == local


def is_driver(process: lab.psutil.Process, study: Path) -> bool:
    """Whether a process is the Snakemake of a driver."""
    line = process.info["cmdline"] or []
    here = process.info["cwd"] == str(study.resolve())
    return here and line[1:4] == ["-m", "snakemake", "--profile"]


def statistics_as_jobs(study: Path, local: Result) -> None:
    """By one key; as jobs, they make the same bytes as beside Snakemake."""
    target = f"{lab.ROOT}/metrics.csv"
    finish(study, submit(study, target=target, MULTICAL_SUBMIT="statistics"))
    assert len(job_logs(study, "compute_metrics")) == 1
    made = (study / target).read_bytes()
    checkout.snakemake(study, "--force", target)
    assert (study / target).read_bytes() == made
    assert local.items() <= digest(study).items()


FAULTS: list[lab.Fault] = [
    timed_out_and_killed,
    requeued,
    stopped,
    snakemake_killed,
    statistics_as_jobs,
]


@pytest.fixture(scope="session")
def local(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The study made by a local run."""
    folder = lab.make_study(tmp_path_factory.mktemp("local"))
    checkout.snakemake(folder, lab.TARGET)
    return digest(folder)


@pytest.fixture(scope="module")
def running(
    local: Result, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All faults at work."""
    with lab.side_by_side(FAULTS, tmp_path_factory.mktemp("drivers"), local) as found:
        yield found


@pytest.mark.parametrize("name", [fault.__name__ for fault in FAULTS])
def test_a_driver_loses_nothing(running: dict[str, Future[None]], name: str) -> None:
    running[name].result()


def test_the_node_of_a_driver_dies(study: Path, local: Result) -> None:
    """SLURM starts the driver again when there is a node, and it goes on."""
    driver = submit(study)
    _, training = hold_training(study)
    try:
        crashed = lab.script("crash_node.sh", "cpu1")
        assert crashed.returncode == 0, crashed.stderr
        training.resume()
        wait_for(lambda: jobs(study).get(driver) == "PENDING")
    finally:
        lab.run_script("up.sh")
    finish(study, driver)
    assert len(job_logs(study, "train_sft")) == 1
    assert digest(study) == local


FIGURE = f"{lab.ROOT}/figures/ece_by_lang.pdf"


def from_hub(study: Path, hub: Hub) -> None:
    """Have the model and the data of a study come from a hub."""
    model = hub.add("models", "lab/tiny", study / "parts/tiny/checkpoint")
    mmlu = hub.add("datasets", "lab/Global-MMLU", hub_repos.global_mmlu(["en", "sw"]))
    hermes = hub.add("datasets", "lab/hermes", hub_repos.openhermes(80))
    said = hub_study.source("hub", hermes, layout="sharegpt", seed=1, examples=64, held_out=4)
    checkout.edit_config(
        study,
        {
            "models:tiny": hub_study.source("hub", model) | {"chat_format": "tulu"},
            "benchmarks:quiz": hub_study.questions_of("global-mmlu", mmlu, ["en", "sw"])
            | {"options": 4},
            "sft_data:facts": said,
            f"studies:{lab.ROOT}:languages": ["en", "sw"],
        },
    )


def make(study: Path, verb: str, *words: str, **environ: str) -> str:
    """What a verb of the Makefile says, in a clone with the environment of these tests."""
    done = subprocess.run(
        ["make", "--silent", "--old-file=env", verb, *words],
        cwd=study,
        env=os.environ | SITE | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fetched_then_submitted_without_a_network(cluster: None, tmp_path: Path) -> None:
    """The same bytes as a local run, by a driver that is timed out once and killed once.

    The hub is gone then, and login node, compute nodes and their daemons have loopback alone.
    """
    study = lab.make_study(tmp_path / "study")
    (study / ".venv").symlink_to(sys.prefix)
    with hub_server.serve() as hub:
        from_hub(study, hub)
        said = make(study, "fetch", "STUDY=lab", **hub.environment(tmp_path / "cache"))
        assert said.splitlines()[-1] == f"{lab.ROOT}: all is here"
    here = shutil.copytree(study, tmp_path / "local", symlinks=True)
    checkout.snakemake(here, FIGURE)
    with lab.no_network():
        tried = ["srun", "--quiet", "bash", "-c", ": </dev/tcp/192.0.2.1/80"]
        reached = subprocess.run(tried, capture_output=True, text=True, check=False)
        assert "Network is unreachable" in reached.stderr
        # one job at a time, so that only one training is to be held
        options = "--mem=4000 --jobs=1 --slurm-init-seconds-before-status-checks=3"
        said = make(study, "submit", f"TARGET={FIGURE}", f"ARGS={options}")
        training = time_out_and_kill(study, driver_of(said))
        again = driver_of(make(study, "recover"))
        training.resume()
        said = finish(study, again)
    assert re.search(rf"finished meanwhile, accepted: {lab.ROOT}/runs/\S+/manifest.json", said)
    assert len(job_logs(study, "train_sft")) == 2  # a run each
    local = digest(here)
    names = {Path(file).name for file in local}
    assert {"quiz.parquet", "metrics.csv", "ece_by_lang.pdf", "ece_by_lang.png"} <= names
    assert digest(study) == local
