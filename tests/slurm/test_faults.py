"""What goes wrong on clusters, done to a running one: nothing is lost, the result is the same.

Each test holds the training at its first checkpoints, breaks something, and compares what
Snakemake makes of it in the end, byte by byte, with a study that nothing happened to.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lab
from lab import Driver, digest, hold_training, jobs, resumed_from, slurm, wait_for

Result = dict[str, str]

#: Sourced by each bash of a job: it goes on in a network of its own, without even loopback.
CUT = """\
if [ -n "$SLURM_JOB_ID" ] && [ -z "$NETWORK_CUT" ] && [ -n "$BASH_EXECUTION_STRING" ]; then
    export NETWORK_CUT=1
    exec unshare --net bash -c ': </dev/tcp/127.0.0.1/80; eval "$0"' "$BASH_EXECUTION_STRING"
fi
"""


@pytest.fixture(scope="module")
def undisturbed(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The study made without a fault, on compute nodes without any network."""
    folder = lab.make_study(tmp_path_factory.mktemp("undisturbed"))
    (folder / "cut.sh").write_text(CUT)
    Driver(folder, BASH_ENV=str(folder / "cut.sh")).finish()
    for rule in ("train_sft", "score_run"):
        assert "connect: Network is unreachable" in lab.job_logs(folder, rule)[0]
    assert not resumed_from(folder)
    return digest(folder)


def states(folder: Path, rule: str) -> list[str]:
    """The final states of the jobs of a rule, oldest first, as sacct has them."""
    ids = [path.stem for path in (folder / "logs/slurm").glob(f"rule_{rule}/**/*.log")]
    command = ["sacct", "-nXP", "-j", ",".join(sorted(ids, key=int)), "--format", "State"]
    return [line.split()[0] for line in slurm(*command).splitlines()]


def test_cancelled_by_somebody_else(study: Path, undisturbed: Result) -> None:
    driver = Driver(study)
    job, _ = hold_training(study)
    slurm("scancel", job)
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in driver.finish()
    assert resumed_from(study)
    assert digest(study) == undisturbed


def test_over_its_time_limit(study: Path, undisturbed: Result) -> None:
    """A job that hangs is ended by its limit; the next attempt has twice the time."""
    driver = Driver(study, "--set-resources", "train_sft:runtime=1 * attempt", "--", lab.TARGET)
    job, _ = hold_training(study)
    wait_for(lambda: job not in jobs(study), seconds=150)
    second = wait_for(lambda: lab.running(study, "train_sft") or lab.running(study, "score_run"))
    assert "TimeLimit=00:02:00" in slurm("scontrol", "show", "job", str(int(job) + 1)), second
    driver.finish()
    assert states(study, "train_sft") == ["TIMEOUT", "COMPLETED"]
    assert resumed_from(study)
    assert digest(study) == undisturbed


def test_over_its_memory(study: Path, undisturbed: Result) -> None:
    """Two Snakemake processes take 450 MB, training 550: 700 is too little, 1400 is enough."""
    said = Driver(study, "--set-resources", "train_sft:mem_mb=700 * attempt", "--", lab.TARGET)
    said.finish()
    assert states(study, "train_sft") in (["FAILED", "COMPLETED"], ["OUT_OF_MEMORY", "COMPLETED"])
    first, second = lab.job_logs(study, "train_sft")
    assert "Exceeded job memory limit" in first
    assert "mem_mb=1400" in second
    assert digest(study) == undisturbed


def test_a_node_dies(study: Path, undisturbed: Result) -> None:
    driver = Driver(study)
    job, _ = hold_training(study)
    node = slurm("squeue", "-h", "-j", job, "-o", "%N")
    saved = lab.steps_saved(study)
    try:
        crashed = lab.script("crash_node.sh", node)
        assert crashed.returncode == 0, crashed.stderr
        driver.finish()
    finally:
        up = lab.script("up.sh")
    assert up.returncode == 0, up.stderr
    assert slurm("sacct", "-nXP", "-j", job, "--format", "NodeList") != node
    assert resumed_from(study) == [saved]
    assert digest(study) == undisturbed


def test_preempted(study: Path, undisturbed: Result) -> None:
    """A job of a partition of higher priority takes the node: SLURM requeues the training."""
    driver = Driver(study)
    job, _ = hold_training(study)
    saved = lab.steps_saved(study)
    both = [
        slurm(
            "sbatch",
            "--parsable",
            "-p",
            "urgent",
            "--gpus=1",
            "-o",
            "/dev/null",
            "--wrap",
            "sleep 5",
        )
        for _ in range(2)
    ]
    wait_for(lambda: jobs(study).get(job) == "PENDING")
    driver.finish()
    assert states(study, "train_sft") == ["COMPLETED"]
    assert resumed_from(study) == [saved]
    assert digest(study) == undisturbed
    slurm("scancel", *both)


def test_requeued_by_hand(study: Path, undisturbed: Result) -> None:
    driver = Driver(study)
    job, _ = hold_training(study)
    saved = lab.steps_saved(study)
    slurm("scontrol", "requeue", job)
    driver.finish()
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
        up = lab.script("up.sh")
    assert up.returncode == 0, up.stderr
    driver.finish()
    assert not resumed_from(study)
    assert digest(study) == undisturbed


def test_accounting_away_for_a_minute(study: Path, undisturbed: Result) -> None:
    driver = Driver(study)
    _, training = hold_training(study)
    lab.stop_daemon("slurmdbd")
    try:
        training.resume()
        time.sleep(60)
    finally:
        up = lab.script("up.sh")
    assert up.returncode == 0, up.stderr
    driver.finish()
    assert digest(study) == undisturbed


def test_interrupted(study: Path, undisturbed: Result) -> None:
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


@pytest.fixture
def small_disk(study: Path) -> Iterator[Path]:
    """A file system of one page where the run's records go."""
    folder = (study / lab.TARGET).parent
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(study: Path, undisturbed: Result, small_disk: Path) -> None:
    driver = Driver(study, "--retries", "0", "--", lab.TARGET)
    said = driver.end()
    assert driver.process.returncode == 1
    assert "No space left on device" in said
    assert not list(small_disk.iterdir())
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    Driver(study).finish()
    assert len(lab.job_logs(study, "train_sft")) == 1  # its result was kept
    assert digest(study) == undisturbed


def test_two_at_once_in_a_folder(study: Path, undisturbed: Result) -> None:
    """The same target is refused, another is made side by side."""
    first = Driver(study)
    _, training = hold_training(study)
    second = Driver(study)
    assert "locked" in second.end()
    assert second.process.returncode == 1
    base = f"{lab.ROOT}/records/tiny/quiz.parquet"
    Driver(study, base, MULTICAL_GPUS="gres").finish()
    asked = slurm("sacct", "-nXP", "--name", "", "-S", "now-1hour", "--format", "AllocTRES")
    assert "gres/gpu=1" in asked
    training.resume()
    first.finish()
    made = digest(study)
    del made[base]
    assert made == undisturbed


@pytest.fixture
def home_of_nobody(cluster: None) -> Iterator[Path]:
    """A folder where the user nobody can work."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="multical-nobody."))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_two_users(study: Path, undisturbed: Result, home_of_nobody: Path) -> None:
    """Each in a clone of their own; where this one cannot be read by others, as one user."""
    theirs = lab.make_study(home_of_nobody / "clone")
    read = ["runuser", "-u", "nobody", "--", lab.SNAKEMAKE, "--version"]
    user = None if subprocess.run(read, check=False, capture_output=True).returncode else "nobody"
    shutil.chown(home_of_nobody, "nobody")
    for path in home_of_nobody.rglob("*"):
        shutil.chown(path, "nobody")
    drivers = [Driver(study), Driver(theirs, user=user, HOME=str(home_of_nobody))]
    for driver, folder in zip(drivers, (study, theirs), strict=True):
        driver.finish()
        assert digest(folder) == undisturbed


def test_wrong_partition(study: Path, undisturbed: Result) -> None:
    driver = Driver(study, MULTICAL_PARTITIONS="nowhere")
    assert "invalid partition specified: nowhere" in driver.end()
    assert driver.process.returncode == 1
    Driver(study).finish()
    assert digest(study) == undisturbed


def test_no_accounting_at_all(study: Path, undisturbed: Result) -> None:
    """Last, since the whole cluster is started anew for it. One job fails, one is retried."""
    up = lab.script("up.sh", "--no-dbd")
    assert up.returncode == 0, up.stderr
    try:
        driver = Driver(study)
        job, _ = hold_training(study)
        slurm("scancel", job)
        driver.finish()
    finally:
        up = lab.script("up.sh")
    assert up.returncode == 0, up.stderr
    assert resumed_from(study)
    assert digest(study) == undisturbed
