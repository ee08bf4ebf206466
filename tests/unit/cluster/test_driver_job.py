"""`make submit`, `make stop` and the job that drives, with SLURM's commands pretended.

A running cluster, and what becomes of a study: tests/slurm/test_driver_job.py.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import submit
from multical.cluster import driver_job, recovery
from multical.cluster.driver_job import Local, Request
from multical.cluster.site import Site
from multical.errors import InputError
from multical.workflow import drivers
from multical.workflow.drivers import Driver
from support import checkout, fake_slurm, forks

SMALL = Local("fetch_model", minutes=30, mem_mb=2000, threads=1)
LARGE = Local("compute_metrics", minutes=120, mem_mb=3000, threads=2)
KILLED = Driver("node1", 7, "1", ["python", "-m", "snakemake", "x"], {}, "17", ["--", "x"])


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake_slurm.Slurm:
    """A healthy cluster with an empty queue, and an empty folder to work in."""
    found = fake_slurm.healthy(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{found.folder}:{os.defpath}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recovery, "POLL_S", 0.05)
    in_queue(found)
    return found


def in_queue(slurm: fake_slurm.Slurm, *rows: str) -> None:
    """Jobs of this user as `id state name`, all submitted from the present folder."""
    lines = ["|".join([*row.split(), str(Path.cwd())]) for row in rows]
    text = "".join(f"{line}\\n" for line in lines)
    slurm.does("squeue --me --noheader --format %i|%T|%j|%Z", f"printf '{text}'")


def knows(slurm: fake_slurm.Slurm, job: str, state: str) -> None:
    """What squeue says of one job; "" for one that it has forgotten."""
    command = f"squeue --noheader --jobs {job} --format %T"
    if state:
        slurm.says(command, state)
    else:
        slurm.says(command, "slurm_load_jobs error: Invalid job id specified", 1)


def record(driver: Driver) -> None:
    drivers.FOLDER.mkdir(parents=True, exist_ok=True)
    driver.file.write_text(json.dumps(asdict(driver)))


def test_memory_is_what_runs_beside_snakemake_at_a_time() -> None:
    assert driver_job.request([], 2, 60).mem_mb == 1000
    assert driver_job.request([SMALL], 2, 60).mem_mb == 1000 + 2 * 2000
    assert driver_job.request([LARGE], 2, 600).mem_mb == 1000 + 3000
    assert driver_job.request([LARGE, SMALL], 4, 600) == Request(600, 1000 + 4 * 2000, 4)
    assert driver_job.request([SMALL], 2, 60, mem_mb=700).mem_mb == 700


def test_time_is_what_the_partition_allows_and_a_week_at_most() -> None:
    assert driver_job.request([SMALL], 2, float("inf")).minutes == 7 * 24 * 60
    assert driver_job.request([SMALL], 2, 1440).minutes == 1440
    assert driver_job.request([SMALL], 2, 1440, minutes=2).minutes == 2
    with pytest.raises(
        InputError,
        match="compute_metrics: runs beside Snakemake for up to 120 minutes; found a time limit "
        r"of 120, expected more: set cpu_partitions \(slurm/site.yaml\)",
    ):
        driver_job.request([SMALL, LARGE], 2, 120)


def test_a_time_as_the_docs_have_it() -> None:
    assert submit.limit("2-0") == 2 * 24 * 60
    with pytest.raises(argparse.ArgumentTypeError, match="found soon, expected minutes, HH:MM:SS"):
        submit.limit("soon")


@pytest.mark.parametrize(("minutes", "seconds"), [(2, 30), (20, 300), (10080, 300)])
def test_the_warning_comes_in_time(minutes: int, seconds: int) -> None:
    assert Request(minutes, 1, 1).warning_s == seconds


def test_limits_of_partitions(slurm: fake_slurm.Slurm) -> None:
    assert driver_job.time_limit(Site()) == 1440
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "MaxTime=1-00:00:00", "MaxTime=12:00:00")
    assert driver_job.time_limit(Site(partitions="gpu", cpu_partitions="cpu,gpu")) == 720
    with pytest.raises(InputError, match="no partition big; the cluster has cpu, gpu"):
        driver_job.time_limit(Site(partitions="gpu", cpu_partitions="big"))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("results/demo/headline.txt", "driver-demo"),
        ("results/msp/one_shot/x.csv", "driver-msp-one_shot"),
        ("results/figures/x.pdf", "driver-results"),
        ("msp_v2", "driver-msp_v2"),
        ("docs/coverage.pdf", "driver-docs-coverage.pdf"),
    ],
)
def test_names_say_which_study(target: str, name: str) -> None:
    roots = ["results", "results/demo", "results/msp", "results/msp/one_shot"]
    assert driver_job.name(target, roots) == name
    assert not name.startswith(recovery.PREFIX)


def test_what_jobs_of_the_driver_do_not_get() -> None:
    of_job = {"SLURM_JOB_ID": "17", "SLURM_MEM_PER_NODE": "4000", "SRUN_DEBUG": "3",
              "SLURMD_NODENAME": "node1", "SBATCH_CPU_BIND": "quiet"}  # fmt: skip
    of_user = {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "mine", "PATH": "/bin"}
    environ = {**of_job, **of_user}
    driver_job.leave_job(environ)
    assert environ == of_user
    login = {"SLURM_CLUSTERS": "big"}
    driver_job.leave_job(login)
    assert login == {"SLURM_CLUSTERS": "big"}


def writes_down(slurm: fake_slurm.Slurm, name: str, says: str = "") -> Path:
    """A command that writes down its arguments, a line each, and its input."""
    notes = slurm.folder.parent / f"{name}.said"
    script = f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {notes}\ncat >> {notes}\necho '{says}'\n"
    (slurm.folder / name).write_text(script)
    (slurm.folder / "cat").symlink_to("/bin/cat")
    return notes


def test_what_sbatch_is_asked(slurm: fake_slurm.Slurm) -> None:
    notes = writes_down(slurm, "sbatch", "17;cluster")
    site = Site(account="mine", partitions="gpu", cpu_partitions="cpu")
    asked = Request(1440, 5000, 2)
    assert driver_job.submit("driver-demo", "results/demo/x", asked, site, ["--", "a b"]) == "17"
    assert notes.read_text().splitlines() == [
        "--parsable", "--requeue",
        "--job-name=driver-demo", "--comment=Snakemake for results/demo/x",
        "--time=1440", "--mem=5000M", "--ntasks=1", "--cpus-per-task=2", "--signal=B:USR1@300",
        "--output=logs/slurm/driver/%j.log", "--open-mode=append", "--export=ALL",
        "--account=mine", "--partition=cpu", "#!/bin/bash",
        f"exec {sys.executable} tools/submit.py --drive -- 'a b'",
    ]  # fmt: skip
    assert Path("logs/slurm/driver").is_dir()
    slurm.remove("sbatch")
    (slurm.folder / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no such QOS' >&2; exit 1")
    (slurm.folder / "sbatch").chmod(0o755)
    with pytest.raises(InputError, match="sbatch: error: no such QOS"):
        driver_job.submit("driver-demo", "results/demo/x", asked, site, [])


def test_a_second_driver_is_refused(slurm: fake_slurm.Slurm) -> None:
    driver_job.check_folder()
    in_queue(slurm, "16 RUNNING multical_a")  # left behind: the driver waits for it
    driver_job.check_folder()
    in_queue(slurm, "17 PENDING driver-demo")
    with pytest.raises(
        InputError,
        match="job 17 drives this folder: found it PENDING, expected none; make stop ends it",
    ):
        driver_job.check_folder()
    in_queue(slurm)
    record(KILLED)
    knows(slurm, "17", "RUNNING")  # of another user
    with pytest.raises(InputError, match="job 17 drives this folder: found it in the queue"):
        driver_job.check_folder()
    knows(slurm, "17", "")
    driver_job.check_folder()
    record(replace(KILLED, job="", host="login9"))
    with pytest.raises(InputError, match="only login9 can tell whether it runs"):
        driver_job.check_folder()


def test_submitting_needs_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="sbatch: not found here, expected SLURM's commands"):
        driver_job.check_folder()


def test_one_killed_on_this_host_is_left_to_recover(slurm: fake_slurm.Slurm) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    record(replace(KILLED, job="", submitted=[], host=drivers.socket.gethostname(), pid=gone.pid))
    with pytest.raises(InputError, match="was killed: found its record, expected none; make reco"):
        driver_job.check_folder()


def test_a_queue_that_cannot_be_read_is_no_empty_one(slurm: fake_slurm.Slurm) -> None:
    slurm.says("squeue --me --noheader --format %i|%T|%j|%Z", "Unable to contact slurm", 1)
    slurm.says("squeue --noheader --jobs 17 --format %T", "Unable to contact slurm", 1)
    with pytest.raises(InputError, match="Unable to contact slurm: cannot tell what still runs"):
        driver_job.check_none()
    with pytest.raises(InputError, match="cannot tell whether job 17 runs; try later"):
        recovery.check_killed([KILLED])
    started = time.monotonic()
    with pytest.raises(InputError):
        recovery.queue(patience_s=0.3)
    assert time.monotonic() - started > 0.3


#: The job that drives, its Snakemake pretended
DRIVE = """
import sys
sys.path.insert(0, {scripts!r})
from multical.cluster import driver_job, recovery
recovery.POLL_S = 0.05
sys.exit(driver_job.drive([sys.executable, "-c", {snakemake!r}], ["--", "x"]))
"""
#: It has a job beside it, and does not heed SIGTERM.
SNAKEMAKE = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
beside = subprocess.Popen(["sleep", "600"])
open("pids", "w").write(f"{os.getpid()} {beside.pid}")
names = [key for key in os.environ if "SLURM" in key or "DRIVER" in key]
open("variables", "w").write(" ".join(names))
os.rename("pids", "started")
time.sleep(600)
"""


def drive(snakemake: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """The job, started as job 17."""
    scripts = str(checkout.REPO / "scripts")
    return subprocess.Popen(
        [sys.executable, "-c", DRIVE.format(scripts=scripts, snakemake=snakemake)],
        env={**os.environ, "SLURM_JOB_ID": "17", "SLURM_NTASKS": "1", **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def told(slurm: fake_slurm.Slurm, number: int) -> tuple[int, str]:
    """Exit code and output of a driver that gets a signal when Snakemake runs."""
    job = drive(SNAKEMAKE)
    while not Path("started").exists():
        time.sleep(0.02)
        assert job.poll() is None, job.communicate()
    job.send_signal(number)
    said, _ = job.communicate(timeout=60)
    for pid in Path("started").read_text().split():
        assert not Path("/proc", pid).exists()
    return job.returncode, said


def test_near_its_time_limit_the_job_is_requeued(slurm: fake_slurm.Slurm) -> None:
    slurm.does("scontrol requeue 17", "echo yes >> requeued")
    code, said = told(slurm, signal.SIGUSR1)
    assert code == 0
    assert "the time limit is near: Snakemake is ended, its jobs go on" in said
    assert Path("requeued").read_text() == "yes\n"
    assert Path("variables").read_text().split() == [drivers.JOB, drivers.SUBMITTED]


def test_ended_by_slurm_it_leaves_the_jobs_alone(slurm: fake_slurm.Slurm) -> None:
    code, said = told(slurm, signal.SIGTERM)
    assert code == 143
    assert "unless this job is requeued, make recover goes on with them" in said
    assert "unexpected" not in said  # no command but squeue


def test_the_exit_code_is_snakemake_s(slurm: fake_slurm.Slurm) -> None:
    for snakemake, code, text in (
        ("", 0, "submit"),
        ("raise SystemExit(3)", 3, ""),
        ("import os; os.kill(os.getpid(), 9)", 137, "killed by signal 9; its jobs go on: make re"),
    ):
        job = drive(snakemake)
        said, _ = job.communicate(timeout=60)
        assert (job.returncode, text in said or text == "submit") == (code, True), said


def test_of_two_that_were_submitted_at_once_the_first_drives(slurm: fake_slurm.Slurm) -> None:
    in_queue(slurm, "16 RUNNING driver-demo", "17 RUNNING driver-demo")
    job = drive("")
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 1
    assert "job 16 drives this folder: found it RUNNING, expected none" in said
    in_queue(slurm, "17 RUNNING driver-demo", "18 RUNNING driver-demo")
    job = drive("")
    job.communicate(timeout=60)
    assert job.returncode == 0


def test_requeue_waits_for_the_controller(slurm: fake_slurm.Slurm) -> None:
    slurm.does("scontrol requeue 17", "[ -e up ] || { : > up; echo 'no controller' >&2; exit 1; }")
    driver_job.requeue("17")
    slurm.says("scontrol requeue 17", "Requested operation is presently disabled", 1)
    with pytest.raises(InputError, match="presently disabled: not requeued, make recover goes on"):
        driver_job.requeue("17", patience_s=0)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to the folder and to jobs left behind."""
    calls: list[str] = []
    monkeypatch.setattr(recovery, "snakemake", lambda command, more: calls.append(more))
    monkeypatch.setattr(recovery, "adopt", lambda driver: calls.append(f"adopt {driver.job}"))
    return calls


def test_stop_ends_the_driver_then_its_jobs(
    slurm: fake_slurm.Slurm, settled: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    record(KILLED)
    knows(slurm, "17", "")
    Path("jobs").write_text(f"17|RUNNING|driver-demo|{Path.cwd()}\n")
    slurm.does("squeue --me --noheader --format %i|%T|%j|%Z", "/bin/cat jobs")
    inner = f"18|RUNNING|multical_a|{Path.cwd()}\n"
    slurm.does("scancel 17", f"printf '{inner}' > jobs; echo 17 >> order")
    slurm.does("scancel 18", ": > jobs; echo 18 >> order")
    driver_job.stop()
    assert Path("order").read_text().split() == ["17", "18"]
    assert settled == ["--unlock", "adopt 17"]
    assert drivers.load_all() == []
    said = capsys.readouterr().out
    assert "ending job 17 RUNNING" in said
    assert "ended, its jobs too; the same `make submit` goes on from here" in said
    driver_job.stop()
    assert "no driver here, nothing to end" in capsys.readouterr().out


def test_stop_leaves_another_snakemake_alone(slurm: fake_slurm.Slurm) -> None:
    process = drivers.psutil.Process()
    here = replace(KILLED, job="", host=drivers.socket.gethostname(), pid=process.pid)
    record(replace(here, started=drivers.started(process)))
    with pytest.raises(InputError, match=rf"stop it with kill -INT {process.pid}, which cancels"):
        driver_job.stop()


def test_the_record_of_a_requeued_job_is_that_of_a_dead_one(slurm: fake_slurm.Slurm) -> None:
    knows(slurm, "17", "RUNNING")
    recovery.check_killed([KILLED], own_job="17")
    with pytest.raises(InputError, match="job 17 drives this folder"):
        recovery.check_killed([KILLED], own_job="18")


def test_options_are_no_targets() -> None:
    """A command may have `--` before its targets."""
    show = "import sys; print(sys.argv[1:])"
    said = recovery.snakemake([sys.executable, "-c", show, "--cores", "1", "--", "x"], "--unlock")
    assert said.strip() == "['--unlock', '--cores', '1', '--', 'x']"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout.copy(tmp_path_factory.mktemp("clone"))


def tool(clone: Path, slurm: fake_slurm.Slurm, *command: str) -> tuple[int, str]:
    """Exit code and output of a tool in the clone, with the pretended cluster."""
    environ = {key: value for key, value in os.environ.items() if "MULTICAL" not in key}
    path = f"{slurm.folder}:{os.environ['PATH']}"
    done = forks.run([sys.executable, *command], cwd=clone, env={**environ, "PATH": path})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.workflow
def test_submit(clone: Path, slurm: fake_slurm.Slurm) -> None:
    notes = writes_down(slurm, "sbatch", "17")
    target = "results/smoke/headline.txt"
    code, said = tool(clone, slurm, "tools/submit.py", "--jobs=3", "--", target)
    assert code == 0, said
    assert "job 17 (driver-smoke) drives " in said
    assert "it has 5000 MB, 2 CPUs, and 1440 minutes before it requeues itself" in said
    assert "fetch_model, make_benchmark, make_sft_data may need a network" in said
    assert "tail -f logs/slurm/driver/17.log" in said
    assert notes.read_text().endswith(f"tools/submit.py --drive --jobs=3 -- {target}\n")
    code, said = tool(clone, slurm, "tools/submit.py", "--", "results/smoke/headlin.txt")
    assert (code, said.count("\n")) == (1, 1)
    assert "results/smoke/headlin.txt: no rule makes it" in said


@pytest.mark.workflow
def test_recover_submits_what_was_a_job(clone: Path, slurm: fake_slurm.Slurm) -> None:
    notes = writes_down(slurm, "sbatch", "18")
    target = "results/smoke/headline.txt"
    folder = clone / drivers.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    killed = replace(KILLED, submitted=["--mem=700", "--time=10", "--", target])
    (folder / "node1.7.json").write_text(json.dumps(asdict(killed)))
    knows(slurm, "17", "RUNNING")
    code, said = tool(clone, slurm, "tools/recover.py")
    assert code == 1
    assert "job 17 drives this folder" in said
    knows(slurm, "17", "")
    code, said = tool(clone, slurm, "tools/recover.py")
    assert code == 0, said
    assert "job 18 (driver-smoke) drives" in said
    assert "--time=10" in notes.read_text().splitlines()
    assert "--mem=700M" in notes.read_text().splitlines()
    (folder / "node1.7.json").unlink()
