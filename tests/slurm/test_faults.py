"""What goes wrong with jobs and with Snakemake on a cluster, done to a running one.

Each fault holds the training at its first checkpoints, breaks something, and compares what
Snakemake makes of it in the end, byte by byte, with a study that nothing happened to.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

import lab
from lab import Driver, digest, hold_training, job_logs, jobs, resumed_from, slurm, wait_for

Result = dict[str, str]


def cancelled_by_somebody_else(study: Path, undisturbed: Result) -> None:
    driver = Driver(study)
    job, _ = hold_training(study)
    slurm("scancel", job)
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in driver.finish()
    assert resumed_from(study)
    assert digest(study) == undisturbed


def over_its_time_limit(study: Path, undisturbed: Result) -> None:
    """A job that hangs is ended by its limit; the next attempt has twice the time."""
    driver = Driver(study)
    job, _ = hold_training(study)
    assert lab.asked(study, "train_sft", "Timelimit") == ["04:00:00"]
    slurm("scontrol", "update", f"JobId={job}", "TimeLimit=1")  # now: it had time to save
    driver.finish()
    assert lab.states(study, "train_sft") == ["TIMEOUT", "COMPLETED"]
    assert lab.asked(study, "train_sft", "Timelimit") == ["00:01:00", "08:00:00"]
    assert resumed_from(study)
    assert digest(study) == undisturbed


def over_its_memory(study: Path, undisturbed: Result) -> None:
    """Two Snakemake processes and the training take 0.7 to 0.9 GB: 500 MB is too little."""
    file = study / "slurm/profile.yaml"
    file.write_text(file.read_text().replace("1500 * attempt", "500 * attempt", 1))
    Driver(study).finish()
    assert lab.states(study, "train_sft")[0] in ("FAILED", "OUT_OF_MEMORY")
    assert lab.asked(study, "train_sft", "ReqMem")[:2] == ["500M", "1000M"]
    assert "Exceeded job memory limit" in job_logs(study, "train_sft")[0]
    assert digest(study) == undisturbed


def requeued_by_hand(study: Path, undisturbed: Result) -> None:
    driver = Driver(study)
    job, _ = hold_training(study)
    saved = lab.steps_saved(study)
    slurm("scontrol", "requeue", job)
    driver.finish()
    assert resumed_from(study) == [saved]
    assert digest(study) == undisturbed


def interrupted(study: Path, undisturbed: Result) -> None:
    """Ctrl-C cancels the jobs and leaves a folder in which one can simply start again."""
    driver = Driver(study)
    hold_training(study)
    driver.kill(signal.SIGINT)
    assert driver.process.returncode != 0
    wait_for(lambda: not jobs(study))
    assert not list((study / ".snakemake/drivers").glob("*"))
    Driver(study).finish()
    assert resumed_from(study)
    assert digest(study) == undisturbed


def disk_full(study: Path, undisturbed: Result) -> None:
    """The file system where the run's records go has a single page."""
    folder = (study / lab.TARGET).parent
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", folder], check=True)
    try:
        driver = Driver(study, "--retries", "0", "--", lab.TARGET)
        assert "No space left on device" in driver.end()
        assert driver.process.returncode == 1
        assert not list(folder.iterdir())
        subprocess.run(["mount", "-o", "remount,size=10m", folder], check=True)
        Driver(study).finish()
        assert len(job_logs(study, "train_sft")) == 1  # its result was kept
        assert digest(study) == undisturbed
    finally:
        subprocess.run(["umount", folder], check=True)


def two_at_once_in_a_folder(study: Path, undisturbed: Result) -> None:
    """The same target is refused, another is made side by side, here with --gres."""
    Driver(study, "results/inputs/models/tiny/manifest.json", lab.QUIZ).finish()
    first = Driver(study)
    _, training = hold_training(study)
    second = Driver(study)
    assert "cannot be locked" in second.end()
    assert second.process.returncode == 1
    base = f"{lab.ROOT}/records/tiny/quiz.parquet"
    Driver(study, base, MULTICAL_GPUS="gres").finish()
    assert "gres/gpu=1" in lab.asked(study, "score_run", "AllocTRES")[0]
    training.resume()
    first.finish()
    assert len(job_logs(study, "train_sft")) == 1
    made = digest(study)
    del made[base]
    assert made == undisturbed


def two_users(study: Path, undisturbed: Result) -> None:
    """Each in a clone; both are one user where others cannot read this environment."""
    home = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="multical-nobody."))
    home.chmod(0o755)
    theirs = lab.make_study(home / "clone")
    read = ["runuser", "-u", "nobody", "--", lab.SNAKEMAKE, "--version"]
    user = None if subprocess.run(read, check=False, capture_output=True).returncode else "nobody"
    try:
        for path in [home, *home.rglob("*")]:
            shutil.chown(path, user or "root")
        drivers = [Driver(study), Driver(theirs, user=user)]
        for driver, folder in zip(drivers, (study, theirs), strict=True):
            driver.finish()
            assert digest(folder) == undisturbed
        assert set(lab.asked(theirs, "train_sft", "User")) == {user or "root"}
    finally:
        shutil.rmtree(home)


def wrong_partition(study: Path, undisturbed: Result) -> None:
    driver = Driver(study, MULTICAL_PARTITIONS="nowhere")
    assert "invalid partition specified: nowhere" in driver.end()
    assert driver.process.returncode == 1
    Driver(study, MULTICAL_GPUS="none").finish()
    assert digest(study) == undisturbed


FAULTS: list[lab.Fault] = [
    cancelled_by_somebody_else,
    over_its_time_limit,
    over_its_memory,
    requeued_by_hand,
    interrupted,
    disk_full,
    two_at_once_in_a_folder,
    two_users,
    wrong_partition,
]


@pytest.fixture(scope="module")
def running(
    undisturbed: Result, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All faults at work."""
    with lab.side_by_side(FAULTS, tmp_path_factory.mktemp("faults"), undisturbed) as found:
        yield found


@pytest.mark.parametrize("name", [fault.__name__ for fault in FAULTS])
def test_nothing_is_lost(running: dict[str, Future[None]], name: str) -> None:
    running[name].result()
