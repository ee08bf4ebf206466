"""Faults of the cluster itself: nodes, daemons, preemption. One after the other."""

from __future__ import annotations

import time
from pathlib import Path

import lab
from lab import Driver, digest, hold_training, resumed_from, slurm, wait_for

Result = dict[str, str]


def test_a_node_dies(study: Path, undisturbed: Result) -> None:
    """SLURM puts the job on another node, where training does not start over."""
    driver = Driver(study)
    hold_training(study)
    node, saved = lab.asked(study, "train_sft", "NodeList")[0], lab.steps_saved(study)
    try:
        crashed = lab.script("crash_node.sh", node)
        assert crashed.returncode == 0, crashed.stderr
        driver.finish()
    finally:
        lab.run_script("up.sh")
    assert lab.asked(study, "train_sft", "NodeList")[-1] != node
    assert resumed_from(study) == [saved]
    assert digest(study) == undisturbed


def test_preempted(study: Path, undisturbed: Result) -> None:
    """Jobs of a higher priority take both nodes; SLURM requeues the training."""
    driver = Driver(study)
    job, _ = hold_training(study)
    saved = lab.steps_saved(study)
    urgent = ["sbatch", "--parsable", "-p", "urgent", "--exclusive", "-o", "/dev/null"]
    both = [slurm(*urgent, "--wrap", "sleep 10") for _ in range(2)]
    try:
        wait_for(lambda: lab.jobs(study).get(job) == "PENDING")
        driver.finish()
    finally:
        slurm("scancel", *both)
    assert len(lab.job_logs(study, "train_sft")) == 1  # the same job, not another attempt
    assert resumed_from(study) == [saved]
    assert digest(study) == undisturbed


def test_controller_restarted(study: Path, undisturbed: Result) -> None:
    """The training ends while there is no controller that it could be reported to."""
    driver = Driver(study)
    _, training = hold_training(study)
    lab.stop_daemon("slurmctld")
    try:
        training.resume()
        wait_for((study / lab.MANIFEST).exists)
        time.sleep(5)
    finally:
        lab.run_script("up.sh")
    driver.finish()
    assert not resumed_from(study)
    assert digest(study) == undisturbed


def test_accounting_away_for_a_while(study: Path, undisturbed: Result) -> None:
    driver = Driver(study)
    _, training = hold_training(study)
    lab.stop_daemon("slurmdbd")
    try:
        training.resume()
        time.sleep(20)  # four times it is asked for jobs
    finally:
        lab.run_script("up.sh")
    driver.finish()
    assert digest(study) == undisturbed


def test_no_accounting_at_all(study: Path, undisturbed: Result) -> None:
    """A job that fails is noticed and retried without slurmdbd too."""
    lab.run_script("up.sh", "--no-dbd")
    try:
        driver = Driver(study)
        job, _ = hold_training(study)
        slurm("scancel", job)
        driver.finish()
    finally:
        lab.run_script("up.sh")
    assert resumed_from(study)
    assert digest(study) == undisturbed
