"""A record of each Snakemake that runs in this folder, so that a later one knows of it.

The Snakefile writes the record when a run starts. The record goes when the process ends, with
success or not. If a record stays, its Snakemake was killed, and recover.py reads it.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from multical import paths
from multical.config.chat_confidence import ChatConfidenceStudy
from multical.config.schema import Config
from multical.config.studies import MultilingualStudy, scored, trials
from multical.errors import InputError
from multical.files import sha256, write_json
from multical.params import Strict, canonical
from multical.provenance.fingerprint import fingerprint
from multical.workflow import job_params, scoring_params

FOLDER = Path(".snakemake/drivers")
#: Linux has in it an id that is another after each boot
BOOT = Path("/proc/sys/kernel/random/boot_id")
#: Set where Snakemake runs in a job of its own: the job's id, and the arguments of `make submit`
JOB, SUBMITTED = "MULTICAL_DRIVER_JOB", "MULTICAL_DRIVER_SUBMITTED"
#: Set where `make recover` asks Snakemake
RECOVERING = "MULTICAL_RECOVERING"


@dataclass(frozen=True)
class Driver:
    """A Snakemake process, and the files that its cluster jobs would make."""

    host: str
    pid: int
    started: str  # as the function `started` says, since a later process may have the same id
    command: list[str]
    products: dict[str, str]  # as the function `products` gives them
    job: str = ""  # the id of the cluster job that it ran in, if any
    submitted: list[str] = field(default_factory=list)  # the arguments of tools/submit.py then

    @property
    def here(self) -> bool:
        """Whether it ran on this host."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether it still runs. Only the process's own host can tell."""
        try:
            process = psutil.Process(self.pid)
            return started(process) == self.started and process.status() != "zombie"
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return False

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.host}.{self.pid}.json"

    def forget(self) -> None:
        """Remove the record."""
        self.file.unlink(missing_ok=True)

    def __str__(self) -> str:
        place = f"{self.host} in job {self.job}" if self.job else self.host
        return f"Snakemake {self.pid} on {place}"


def started(process: psutil.Process) -> str:
    """When a process started: the boot of the machine, and the clock ticks from then.

    Seconds from 1970 would not do, since Linux counts them anew when its clock is set. Where there
    is no such id, as on macOS, they stay what they were.
    """
    if not BOOT.exists():
        return str(process.create_time())
    stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    ticks = stat.rpartition(")")[2].split()[19]  # the name before it may have spaces
    return f"{BOOT.read_text(encoding='utf-8').strip()} {ticks}"


def record(config: Config) -> None:
    """Record this process for as long as it lives."""
    process = psutil.Process()
    command = [sys.executable, "-m", "snakemake", *sys.argv[1:]]
    driver = Driver(
        socket.gethostname(), process.pid, started(process), command, products(config),
        os.environ.pop(JOB, ""), json.loads(os.environ.pop(SUBMITTED, "[]")),
    )  # fmt: skip
    write_json(driver.file, asdict(driver))
    atexit.register(driver.forget)


def load_all() -> list[Driver]:
    """The drivers on record; raises `InputError` for a record that cannot be read."""
    drivers = []
    for file in sorted(FOLDER.glob("*.json")):
        try:
            drivers.append(Driver(**json.loads(file.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            continue  # it has just ended
        except (ValueError, RecursionError, TypeError) as error:
            raise InputError(
                f"{file}: {error}, expected what multical.workflow.drivers writes"
            ) from error
    return drivers


def left() -> list[str]:
    """Files that jobs of killed drivers may have finished, for `make recover`; none for others."""
    if RECOVERING not in os.environ:
        return []
    return [file for driver in load_all() for file in driver.products]


def products(config: Config) -> dict[str, str]:
    """For each file that a cluster job makes, a digest of the settings and code behind it."""
    return {
        file: hashlib.sha256(canonical([settings, code]).encode()).hexdigest()
        for files, settings, code in _jobs(config)
        for file in files
    }


def _jobs(config: Config) -> Iterator[tuple[list[str], Strict, list[str]]]:
    """Files, settings and digests of the code of each cluster job."""
    codes = {
        program: [fingerprint(program), sha256(Path("rules", rules))]
        for program, rules in (
            ("train_sft", "train.smk"),
            ("evaluate_sft", "train.smk"),
            ("score_run", "score.smk"),
        )
    }
    for root, study in config.studies.items():
        if isinstance(study, ChatConfidenceStudy):
            yield from _scorings(config, root, study, codes["score_run"])
        if not isinstance(study, MultilingualStudy):
            continue
        for run in job_params.trained(config, root):
            patterns = (
                paths.RUN_MANIFEST, paths.RUN_CHECKPOINT, paths.LOSS_LOG, paths.TRAINING_USAGE
            )  # fmt: skip
            files = [pattern.format(root=root, run=run.id) for pattern in patterns]
            yield files, job_params.training(config, root, run.id), codes["train_sft"]
        for run in trials(study):
            files = [paths.HELDOUT_LOSS.format(root=root, run=run.id)]
            yield files, job_params.evaluating(config, root, run.id), codes["evaluate_sft"]
        yield from _scorings(config, root, study, codes["score_run"])


def _scorings(
    config: Config, root: str, study: MultilingualStudy | ChatConfidenceStudy, code: list[str]
) -> Iterator[tuple[list[str], Strict, list[str]]]:
    for name, benchmark in scored(study):
        if job_params.is_behind_api(config, root, name):
            continue  # asked from the login node
        for shard in scoring_params.shards(config, root, benchmark):
            settings = scoring_params.scoring(config, root, name, benchmark, shard)
            wildcards = {"root": root, "run": name, "benchmark": benchmark, "shard": shard}
            files = [path.format(**wildcards) for path in (paths.SHARD_RECORDS, paths.SHARD_USAGE)]
            yield files, settings, code
