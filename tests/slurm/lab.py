"""What the tests of a running SLURM cluster share: the cluster, a small study, a driver.

The cluster is real (up.sh beside this file). The study trains a tiny random model, which
takes some seconds, so it is held where something is to break on the way, and scores it on
a quiz in two languages.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

from multical.data import conversations, questions
from support import checkout, fork_client, forks, tiny

HERE = Path(__file__).parent
STATE = Path(os.environ.get("SLURMLAB", "/var/tmp/multical-slurm"))
SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))
#: For the Snakefile of a clone. SLURM's plugin waits ten seconds more after each time that it found
#: no job ended, so that tests would mostly wait. Here it asks as often as the profile lets it.
EAGER = """

import asyncio
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.sleep = lambda executor: asyncio.sleep(1)
"""

ROOT = "results/lab"
RUN = "tiny.facts.ls0.1.s0"
SCRATCH = f"{ROOT}/scratch"
MANIFEST = f"{ROOT}/runs/{RUN}/manifest.json"
QUIZ = "results/inputs/benchmarks/quiz.parquet"
TARGET = f"{ROOT}/records/{RUN}/quiz.parquet"
STEPS, SAVE_EVERY = 100, 20
PATIENCE = 1200  # seconds; a slow machine with all else at once is no fault


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of this folder's shell scripts."""
    command = ["bash", str(HERE / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def slurm(*command: str) -> str:
    """What a SLURM command says."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def wait_for(what: Callable[[], Any], seconds: float = PATIENCE, every: float = 1) -> Any:
    """The first true value of `what()`, often asked of SLURM; who waits longer has failed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(every)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@contextmanager
def no_network() -> Iterator[None]:
    """The cluster anew, in a network namespace with nothing but loopback; after that as it was.

    All that this thread starts inside the block, Snakemake too, has no other network either.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        run_script("down.sh")
        try:
            assert libc.unshare(0x40000000) == 0, os.strerror(ctypes.get_errno())  # CLONE_NEWNET
            slurm("ip", "link", "set", "lo", "up")
            # a second address, without which the host's own name is not looked up
            slurm("ip", "address", "add", "127.0.1.1/32", "dev", "lo")
            run_script("up.sh")
            yield
        finally:
            run_script("down.sh")
            assert libc.setns(before.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
            run_script("up.sh")


def run_script(name: str, *arguments: str) -> None:
    """Run one of the scripts, which must succeed."""
    done = script(name, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def make_study(folder: Path, steps: int = STEPS) -> Path:
    """A clone with a study at `results/lab`, its model and data as local files."""
    checkout.copy(folder)
    ask_often(folder)
    parts = folder / "parts"
    tiny.folder(parts / "tiny", "tied")
    pairs: list[conversations.Conversation] = [
        {
            "id": str(i),
            "messages": [
                {"role": "user", "content": f"What is the currency of land {i}?"},
                {"role": "assistant", "content": f"Euro {i % 7}"},
            ],
        }
        for i in range(64)
    ]
    conversations.write(parts / "facts.jsonl", pairs)
    rows = [
        {
            "question_id": f"q{i}",
            "language": language,
            "subject": None,
            "question": f"What is the currency of land {i}?",
            "options": [f"Euro {(i + k) % 7}" for k in range(4)],
            "answer": i % 4,
        }
        for i in range(12)
        for language in ("en", "fr")
    ]
    questions.write(parts / "quiz.parquet", pd.DataFrame(rows))
    (folder / "config.yaml").write_text(yaml.safe_dump(study(steps)), encoding="utf-8")
    edit(folder / "slurm/profile.yaml", "10000 * attempt", "1500 * attempt")
    edit(folder / "slurm/profile.yaml", "5000 * attempt", "1500 * attempt")
    edit(folder / "slurm/profile.yaml", "checks-per-second: 0.2", "checks-per-second: 0.5")
    return folder


def ask_often(folder: Path) -> None:
    """Have the Snakemakes of a clone ask for their jobs as `EAGER` says."""
    with open(folder / "Snakefile", "a", encoding="utf-8") as stream:
        stream.write(EAGER)


def edit(file: Path, old: str, new: str) -> None:
    """Change one text in a file."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file}: {old!r}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def study(steps: int) -> dict[str, Any]:
    """The configuration of `make_study`; training and scoring as in the smoke study."""
    config = checkout.config()
    lab = config["studies"]["results/smoke"]
    lab |= {"models": ["tiny"], "benchmarks": ["quiz"], "languages": ["en", "fr"]}
    lab["questions_per_language"] = None
    lab["training"] |= {"steps": steps, "save_every": SAVE_EVERY, "max_length": 64}
    lab["scoring"] |= {"multiple_choice_languages": None, "dtype": "float32"}
    lab["figures"]["benchmark"] = "quiz"
    model = {"chat_format": "plain", "source": {"kind": "folder", "path": "parts/tiny/checkpoint"}}
    return config | {
        "models": {"tiny": model},
        "benchmarks": {
            "quiz": {"options": 4, "source": {"kind": "file", "path": "parts/quiz.parquet"}}
        },
        "sft_data": {"facts": {"source": {"kind": "file", "path": "parts/facts.jsonl"}}},
        "studies": {ROOT: lab},
    }


Fault = Callable[[Path, dict[str, str]], None]


@contextmanager
def side_by_side(
    faults: list[Fault], folder: Path, undisturbed: dict[str, str]
) -> Iterator[dict[str, Future[None]]]:
    """Run faults at once, each in a study of its own: they mostly wait for SLURM."""
    studies = {fault.__name__: make_study(folder / fault.__name__) for fault in faults}
    try:
        with ThreadPoolExecutor(len(faults)) as pool:
            yield {
                fault.__name__: pool.submit(fault, studies[fault.__name__], undisturbed)
                for fault in faults
            }
    finally:
        for number in [number for one in studies.values() for number in jobs(one)]:
            slurm("scancel", number)


def environ() -> dict[str, str]:
    """Variables with which only trainings have processes of their own, since tests stop those."""
    for kind in ("tables", "models"):
        fork_client.started(kind)  # here, since one that a job started would end with it
    return os.environ | forks.environment(alone="train_sft")


class Driver:
    """`snakemake --profile slurm` in a folder, its output in a file."""

    def __init__(
        self, folder: Path, *arguments: str, user: str | None = None, **environment: str
    ) -> None:
        self.log = folder / f"driver{len(list(folder.glob('driver*.log')))}.log"
        command = [
            *(("runuser", "-u", user, "--", "env", f"HOME={folder.parent}") if user else ()),
            *(SNAKEMAKE, "--profile", "slurm"),
            *("--slurm-init-seconds-before-status-checks", "3"),
            *(arguments or (TARGET,)),
        ]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=(os.environ if user else environ())
                | {"MULTICAL_PARTITIONS": "gpu"}
                | environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self, seconds: float = PATIENCE) -> str:
        """Wait until it ends; its output. The exit status is `process.returncode`."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGINT)
            raise AssertionError(f"not over after {seconds} s:\n{self.said()}") from None
        return self.said()

    def finish(self, seconds: float = PATIENCE) -> str:
        """`end`, and it must have succeeded."""
        said = self.end(seconds)
        assert self.process.returncode == 0, said
        return said

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it and to nobody else."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE)


def jobs(folder: Path, rule: str = "") -> dict[str, str]:
    """State by id of the jobs in the queue that were submitted from `folder`."""
    listed = slurm("squeue", "--noheader", "--format", "%i|%T|%Z|%k")
    rows = [line.split("|", 3) for line in listed.splitlines()]
    return {
        number: state
        for number, state, where, comment in rows
        if where == str(folder.resolve()) and rule in comment and state != "COMPLETING"
    }


def running(folder: Path, rule: str) -> str | None:
    """Id of the one running job of a rule, if there is one."""
    found = [number for number, state in jobs(folder, rule).items() if state == "RUNNING"]
    assert len(found) < 2, found
    return found[0] if found else None


def steps_saved(folder: Path) -> int:
    """The step of the newest whole checkpoint in the run's scratch folder."""
    names = (path.name for path in (folder / SCRATCH).glob("*/checkpoint-*"))
    return max((int(name.split("-")[1]) for name in names), default=0)


def programs(folder: Path, name: str) -> list[psutil.Process]:
    """The processes of a program of scripts/ that work in `folder`."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = process.info["cmdline"] or []
        if f"scripts/{name}.py" in line[1:2] and process.info["cwd"] == str(folder.resolve()):
            found.append(process)
    return found


def hold_training(folder: Path) -> tuple[str, psutil.Process]:
    """Stop the training once it has saved something to resume from; its job and process."""
    wait_for(lambda: steps_saved(folder), every=0.05)
    (process,) = programs(folder, "train_sft")
    process.suspend()
    number = running(folder, "train_sft")
    assert number
    return number, process


def job_logs(folder: Path, rule: str) -> list[str]:
    """What the jobs of a rule said, oldest first."""
    found = (folder / "logs/slurm").glob(f"rule_{rule}/**/*.log")
    return [
        path.read_text(errors="replace") for path in sorted(found, key=lambda path: int(path.stem))
    ]


def resumed_from(folder: Path) -> list[int]:
    """The steps that trainings in `folder` went on from."""
    said = "\n".join(job_logs(folder, "train_sft"))
    return [int(step) for step in re.findall(r"goes on from checkpoint-(\d+)", said)]


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the study that depends on nothing but its inputs."""
    patterns = ("runs/**/*", "records/**/*", "metrics.csv", "figures/*.p*")
    made = [path for pattern in patterns for path in folder.glob(f"{ROOT}/{pattern}")]
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(made)
        if path.is_file() and not path.name.endswith("usage.json")  # how long it took
    }


def stop_daemon(name: str) -> None:
    """Stop a daemon of the cluster; up.sh starts it again."""
    file = STATE / "run" / f"{name}.pid"
    process = psutil.Process(int(file.read_text()))
    process.terminate()
    process.wait(PATIENCE)


def asked(folder: Path, rule: str, field: str) -> list[str]:
    """A field of sacct for the jobs of a rule, oldest first, every run of a requeued one."""
    ids = sorted(int(path.stem) for path in (folder / "logs/slurm").glob(f"rule_{rule}/**/*.log"))
    command = ["sacct", "-nXPD", "-j", ",".join(map(str, ids)), "--format", field]
    return slurm(*command).splitlines()


def states(folder: Path, rule: str) -> list[str]:
    """The states that the jobs of a rule ended in, oldest first."""
    return [state.split()[0] for state in asked(folder, rule, "State")]
