"""`make recover` after a SIGKILL of Snakemake, with its jobs left behind on a running cluster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

import lab
from lab import Driver, digest, hold_training, job_logs, jobs, resumed_from, wait_for

Result = dict[str, str]


def recover(study: Path, *arguments: str) -> subprocess.Popen[str]:
    """The program of `make recover`, started."""
    return subprocess.Popen(
        [sys.executable, "tools/recover.py", *arguments],
        cwd=study,
        env=lab.environ() | {"MULTICAL_PARTITIONS": "gpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(program: subprocess.Popen[str]) -> str:
    """What the program said; it must have succeeded."""
    said, _ = program.communicate(timeout=lab.PATIENCE)
    assert program.returncode == 0, said
    return said


def killed_in_training(study: Path) -> tuple[str, lab.psutil.Process]:
    """A Snakemake that was killed, its training held: its job and process."""
    driver = Driver(study)
    job, training = hold_training(study)
    driver.kill()
    assert list(jobs(study)) == [job]
    return job, training


def waits_for_the_job_and_keeps_its_work(study: Path, undisturbed: Result) -> None:
    _, training = killed_in_training(study)
    program = recover(study)
    assert program.stdout
    assert "jobs left behind" in program.stdout.readline()
    training.resume()
    said = finish(program)
    assert f"finished meanwhile, accepted: {lab.MANIFEST}" in said
    assert len(job_logs(study, "train_sft")) == 1
    assert not list((study / ".snakemake/drivers").glob("*"))
    assert digest(study) == undisturbed
    # its provenance is known: a change of its settings is seen, and so is none
    again = [lab.SNAKEMAKE, "--cores", "1", "-n", lab.TARGET]
    run = subprocess.run(again, cwd=study, capture_output=True, text=True, check=True)
    assert "Nothing to be done" in run.stdout + run.stderr
    assert "missing provenance" not in run.stdout + run.stderr
    lab.edit(study / "config.yaml", f"steps: {lab.STEPS}\n", "steps: 7\n")
    run = subprocess.run(again, cwd=study, capture_output=True, text=True, check=True)
    assert "rule train_sft:" in run.stdout


def cancels_and_resumes_the_training(study: Path, undisturbed: Result) -> None:
    """Jobs that were submitted from another folder are left alone."""
    other = lab.slurm(
        "sbatch", "--parsable", "-J", "multical_other", "-D", "/var/tmp", "-o", "/dev/null",
        "--wrap", "sleep 600",
    )  # fmt: skip
    try:
        job, _ = killed_in_training(study)
        saved = lab.steps_saved(study)
        said = finish(recover(study, "--cancel"))
        assert f"jobs left behind: {job} RUNNING" in said
        assert resumed_from(study) == [saved]
        assert digest(study) == undisturbed
        assert lab.slurm("squeue", "-h", "-j", other, "-o", "%A") == other
    finally:
        lab.slurm("scancel", other)


def does_not_accept_what_has_changed(study: Path, undisturbed: Result) -> None:
    """The job ends with the old settings; what it made goes, and is made with the new ones."""
    _, training = killed_in_training(study)
    lab.edit(study / "config.yaml", "learning_rate: 5.0e-05", "learning_rate: 6.0e-05")
    training.resume()
    wait_for(lambda: not jobs(study))
    assert (study / lab.MANIFEST).exists()
    said = finish(recover(study))
    assert f"{lab.MANIFEST}: made with settings or code that have changed; removed" in said
    assert len(job_logs(study, "train_sft")) == 2
    assert not resumed_from(study)
    assert digest(study).keys() == undisturbed.keys()
    assert digest(study)[lab.MANIFEST] != undisturbed[lab.MANIFEST]


def refuses_while_one_is_alive(study: Path, undisturbed: Result) -> None:
    driver = Driver(study)
    job, training = hold_training(study)
    program = recover(study)
    said, _ = program.communicate(timeout=lab.PATIENCE)
    assert program.returncode == 1
    assert f"Snakemake {driver.process.pid} on" in said
    assert "still runs here" in said
    assert jobs(study) == {job: "RUNNING"}
    training.resume()
    driver.finish()
    assert digest(study) == undisturbed
    assert "nothing to go on with" in finish(recover(study))


FAULTS: list[lab.Fault] = [
    waits_for_the_job_and_keeps_its_work,
    cancels_and_resumes_the_training,
    does_not_accept_what_has_changed,
    refuses_while_one_is_alive,
]


@pytest.fixture(scope="module")
def running(
    undisturbed: Result, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All cases at work."""
    with lab.side_by_side(FAULTS, tmp_path_factory.mktemp("recover"), undisturbed) as found:
        yield found


@pytest.mark.parametrize("name", [fault.__name__ for fault in FAULTS])
def test_recover(running: dict[str, Future[None]], name: str) -> None:
    running[name].result()
