"""What the profile asks of SLURM, and what SLURM says that it has.

SLURM's answers are read as releases from 22.05 on give them. `scontrol` and `sinfo` are
asked for all partitions (`-a`), since one that is hidden can be used all the same.
"""

from __future__ import annotations

import math
import re
import subprocess
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multical.errors import InputError

PROFILE = Path("slurm/profile.yaml")
#: Seconds that a command may take; a controller that is away costs sinfo nine
PATIENCE = 12
#: States of a node, as `sinfo` shortens them, in which it takes no job
AWAY = {
    "down", "drain", "drng", "fail", "failg", "futr", "inval", "maint", "pow_dn", "resv", "unk"
}  # fmt: skip


class SlurmError(Exception):
    """A command of SLURM failed, and why."""


@dataclass(frozen=True)
class Request:
    """What a job of a rule asks for at its first attempt; of several jobs, the most."""

    rule: str
    minutes: int
    mem_mb: int
    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class Node:
    """A node of a partition."""

    name: str
    state: str
    cpus: int
    mem_mb: int
    gpus: dict[str, int]  # by model; "" where the cluster names none

    @property
    def usable(self) -> bool:
        """Whether jobs start there. A last `*` means that the node does not answer."""
        return not self.state.endswith("*") and self.state.rstrip("~#!%$@^-") not in AWAY

    def offers(self, model: str) -> bool:
        """Whether it has a GPU of that model, or any for the empty text."""
        return self.gpus.get(model, 0) > 0 if model else bool(self.gpus)

    def holds(self, asked: Request, cpus: float, mem_mb: float, model: str) -> bool:
        """Whether a job fits, where it may have so many CPUs and so much memory at most."""
        own = self.gpus.get(model, 0) if model else sum(self.gpus.values())
        return (
            asked.cpus <= min(self.cpus, cpus)
            and asked.mem_mb <= min(self.mem_mb, mem_mb)
            and asked.gpus <= own
        )

    def __str__(self) -> str:
        sizes = [f"{self.cpus} CPUs", f"{self.mem_mb} MB", tally(self.gpus)]
        return ", ".join(filter(None, sizes))


@dataclass(frozen=True)
class Partition:
    """A partition as `scontrol` describes it, and its nodes as `sinfo` does."""

    name: str
    about: dict[str, str]
    nodes: list[Node] = field(default_factory=list)

    def limit(self, key: str) -> float:
        """A limit in `about`, or infinity."""
        return number(self.about.get(key, "UNLIMITED"))

    @property
    def tier(self) -> float:
        """Jobs of a higher tier may preempt those of a lower one."""
        return number(self.about.get("PriorityTier", "1"))

    @property
    def up(self) -> list[Node]:
        """The nodes that take jobs."""
        return [node for node in self.nodes if node.usable]

    @property
    def models(self) -> Counter[str]:
        """Its GPUs by model."""
        return sum((Counter(node.gpus) for node in self.nodes), Counter())


def tally(gpus: Mapping[str, int]) -> str:
    """GPUs by model, in words."""
    return ", ".join(f"{model or 'gpu'} x {count}" for model, count in sorted(gpus.items()))


def settings() -> dict[str, str]:
    """The configuration of the controller."""
    pairs = (line.split("=", 1) for line in ask("scontrol", "show", "config").splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def load_profile(file: Path = PROFILE) -> dict[str, Any]:
    """The profile as Snakemake reads it; raises `InputError` for one that cannot be read."""
    import yte

    try:
        with open(file, encoding="utf-8") as stream:
            return dict(yte.process_yaml(stream, require_use_yte=True))
    except Exception as error:  # of any kind, as the profile holds expressions
        told = " ".join(str(error).split())
        raise InputError(f"{file}: not a profile that Snakemake reads ({told})") from error


def requests(profile: dict[str, Any], runs: Sequence[tuple[str, str]] = ()) -> list[Request]:
    """What the profile asks for, a rule each: the most for any of the `runs`, (root, id) each."""
    defaults, threads = profile.get("default-resources", {}), profile.get("set-threads", {})
    jobs = [Namespace(root=root, run=run) for root, run in runs or [("", "")]]
    found = []
    for rule, own in profile.get("set-resources", {}).items():
        cpus = int(threads.get(rule, 1))
        values = {**defaults, **own}

        def most(key: str, values: dict[str, Any] = values, cpus: int = cpus) -> int:
            return max(_first(key, values.get(key, 0), cpus, job) for job in jobs)

        found.append(
            Request(
                rule,
                most("runtime"),
                most("mem_mb"),
                cpus,
                most("gres" if "gres" in values else "gpu"),
            )
        )
    return found


def partitions() -> dict[str, Partition]:
    """All partitions of the cluster."""
    found = {}
    for line in ask("scontrol", "-a", "-o", "show", "partition").splitlines():
        pairs = (word.split("=", 1) for word in line.split() if "=" in word)
        about = dict(pairs)
        if name := about.get("PartitionName"):
            found[name] = Partition(name, about)
    listed = ask("sinfo", "-a", "-h", "-N", "-o", "%R|%N|%t|%c|%m|%G")
    for line in listed.splitlines():
        name, node, state, cpus, mem_mb, gres = (word.strip() for word in line.split("|"))
        if name in found:
            cpu_count, memory = (int(size.rstrip("+")) for size in (cpus, mem_mb))
            found[name].nodes.append(Node(node, state, cpu_count, memory, gpus_of(gres)))
    return found


def gpus_of(gres: str) -> dict[str, int]:
    """GPUs by model of a node's generic resources: `gpu:a100:4(S:0-1),shard:8`.

    The model is "" where none is named; `(null)` is a node without any.
    """
    found: Counter[str] = Counter()
    for one in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *model, count = one.split(":") if ":" in one else ["", "0"]
        if name == "gpu" and int(count):
            found[":".join(model)] += int(count)
    return dict(found)


def number(text: str) -> float:
    """A limit of SLURM: `1-12:00:00` in minutes, a plain number as it is, else infinity."""
    if text.isdigit():
        return int(text)
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){1,2}", text):
        return math.inf
    days, _, clock = text.rpartition("-")
    hours, minutes, seconds = [0, 0, *map(int, clock.split(":"))][-3:]
    return int(days or 0) * 24 * 60 + hours * 60 + minutes + seconds / 60


def ask(*command: str) -> str:
    """What a command prints; raises `SlurmError` if it fails or takes too long."""
    done = run(*command)
    if done.returncode:
        raise SlurmError(reason(done))
    return done.stdout


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command that has ended, well or badly; raises `SlurmError` if it does not."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except OSError as error:
        raise SlurmError(f"{command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{command[0]}: no answer in {PATIENCE} s") from error


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed: the first line that it says."""
    told = (done.stderr + done.stdout).strip() or f"exit code {done.returncode}"
    command = done.args[0]
    return f"{command}: {told.splitlines()[0].removeprefix(f'{command}: ')}"


def _first(name: str, value: Any, threads: int, wildcards: Any) -> int:
    """A resource at the first attempt, by Snakemake's own rules: `240 * attempt`, `4h`."""
    from snakemake.resources import Resource

    if isinstance(value, str):
        value = Resource.cli_evaluator(
            name, value, wildcards=wildcards, input=None, attempt=1, threads=threads, async_run=None
        )
        value = Resource.parse_human_friendly(name, value)
    if name == "gres" and isinstance(value, str):
        value = sum(gpus_of(value).values())
    if isinstance(value, float):
        value = round(value)
    if not isinstance(value, int):
        raise InputError(f"{PROFILE}: {name}: found {value!r}, expected a number")
    return value
