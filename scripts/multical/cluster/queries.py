"""Queries of SLURM: its settings, partitions and nodes.

The answers are in the form of releases since 22.05. `scontrol` and `sinfo` list all partitions
(`-a`), since jobs can use hidden partitions too.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Seconds that a command may take; sinfo needs nine when the controller is down
TIMEOUT_S = 12
#: States of a node, as `sinfo` shortens them, in which it takes no job
UNUSABLE = {
    "down", "drain", "drng", "fail", "failg", "futr", "inval", "maint", "pow_dn", "resv", "unk"
}  # fmt: skip


class SlurmError(Exception):
    """A command of SLURM failed; the message says why."""


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
        """Whether jobs start there. A final `*` means that the node does not answer."""
        return not self.state.endswith("*") and self.state.rstrip("~#!%$@^-") not in UNUSABLE

    def count_gpus(self, model: str) -> int:
        """The number of its GPUs of a model, or of all its GPUs if `model` is empty."""
        return self.gpus.get(model, 0) if model else sum(self.gpus.values())

    def __str__(self) -> str:
        sizes = [f"{self.cpus} CPUs", f"{self.mem_mb} MB", describe_gpus(self.gpus)]
        return ", ".join(filter(None, sizes))


@dataclass(frozen=True)
class Partition:
    """A partition: its settings from `scontrol`, its nodes from `sinfo`."""

    name: str
    settings: dict[str, str]
    nodes: list[Node] = field(default_factory=list)

    def limit(self, key: str) -> float:
        """A limit in `settings`, or infinity."""
        return number(self.settings.get(key, "UNLIMITED"))

    @property
    def tier(self) -> float:
        """Jobs of a higher tier may preempt those of a lower one."""
        return number(self.settings.get("PriorityTier", "1"))


def describe_gpus(gpus: Mapping[str, int]) -> str:
    """GPUs by model, in words: `a100 x 4`."""
    return ", ".join(f"{model or 'gpu'} x {count}" for model, count in sorted(gpus.items()))


def settings() -> dict[str, str]:
    """The configuration of the controller."""
    pairs = (line.split("=", 1) for line in ask("scontrol", "show", "config").splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def partitions() -> dict[str, Partition]:
    """All partitions of the cluster, by name."""
    by_name = {}
    for line in ask("scontrol", "-a", "-o", "show", "partition").splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if name := fields.get("PartitionName"):
            by_name[name] = Partition(name, fields)
    for line in ask("sinfo", "-a", "-h", "-N", "-o", "%R|%N|%t|%c|%m|%G").splitlines():
        name, node, state, cpus, mem_mb, gres = map(str.strip, line.split("|"))
        if name in by_name:
            cores, memory = int(cpus.rstrip("+")), int(mem_mb.rstrip("+"))
            by_name[name].nodes.append(Node(node, state, cores, memory, gpus_of(gres)))
    return by_name


def gpus_of(gres: str) -> dict[str, int]:
    """GPUs by model in a node's generic resources: `gpu:a100:4(S:0-1),shard:8`.

    The model is "" where none is named; `(null)` stands for no GPUs.
    """
    gpus: Counter[str] = Counter()
    for resource in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, _, rest = resource.partition(":")
        model, _, count = rest.rpartition(":")
        if name == "gpu" and int(count or 0):
            gpus[model] += int(count)
    return dict(gpus)


def number(text: str) -> float:
    """A limit of SLURM: a time such as `1-12:00:00` in minutes, a plain number, else infinity."""
    if text.isdigit():
        return int(text)
    if not re.fullmatch(r"\d+-\d+(:\d+){0,2}|\d+(:\d+){1,2}", text):
        return math.inf
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    # hours come first after days, else seconds come last
    hours, minutes, seconds = [*parts, 0, 0][:3] if days else [0, 0, *parts][-3:]
    return int(days or 0) * 24 * 60 + hours * 60 + minutes + seconds / 60


def ask(*command: str) -> str:
    """The output of a command; raises `SlurmError` if it fails or takes too long."""
    process = run(*command)
    if process.returncode:
        raise SlurmError(reason(process))
    return process.stdout


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command, which may fail; raises `SlurmError` if it cannot start or takes too long."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except OSError as error:
        raise SlurmError(f"{command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{command[0]}: no answer in {TIMEOUT_S} s") from error


def reason(process: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed: the first line of its output."""
    output = (process.stderr + process.stdout).strip() or f"exit code {process.returncode}"
    command = process.args[0]
    return f"{command}: {output.splitlines()[0].removeprefix(f'{command}: ')}"
