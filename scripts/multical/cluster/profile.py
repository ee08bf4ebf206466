"""What the jobs of slurm/profile.yaml request of SLURM."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multical.cluster.queries import gpus_of
from multical.errors import InputError

FILE = Path("slurm/profile.yaml")


@dataclass(frozen=True)
class Request:
    """What a rule requests at its first attempt: the most that any of its jobs requests."""

    rule: str
    minutes: int
    mem_mb: int
    cpus: int
    gpus: int = 0


def load(file: Path = FILE) -> dict[str, Any]:
    """The profile as Snakemake reads it; raises `InputError` for one that cannot be read."""
    import yte

    try:
        with open(file, encoding="utf-8") as stream:
            return dict(yte.process_yaml(stream, require_use_yte=True))
    except Exception as error:  # of any kind, since the profile holds expressions
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: not a profile that Snakemake reads ({reason})") from error


def requests(profile: dict[str, Any], runs: Sequence[tuple[str, str]] = ()) -> list[Request]:
    """What each rule requests: the most for any of the `runs`, which are pairs (root, id)."""
    jobs = [Namespace(root=root, run=run) for root, run in runs or [("", "")]]
    return [_request(profile, rule, jobs) for rule in profile.get("set-resources", {})]


def other(profile: dict[str, Any]) -> Request:
    """What each rule requests that the profile does not name."""
    return _request(profile, "", [Namespace(root="", run="")])


def _request(profile: dict[str, Any], rule: str, jobs: list[Namespace]) -> Request:
    own = profile.get("set-resources", {}).get(rule, {})
    values = {**profile.get("default-resources", {}), **own}
    cpus = int(profile.get("set-threads", {}).get(rule, 1))
    minutes, mem_mb, gpus = (
        max(_evaluate(key, values.get(key, 0), cpus, job) for job in jobs)
        for key in ("runtime", "mem_mb", "gres" if "gres" in values else "gpu")
    )
    return Request(rule, minutes, mem_mb, cpus, gpus)


def _evaluate(name: str, value: Any, threads: int, wildcards: Namespace) -> int:
    """A resource at the first attempt. Snakemake evaluates texts: `240 * attempt`, `4h`."""
    from snakemake.resources import Resource

    if isinstance(value, str):
        value = Resource.cli_evaluator(
            name, value, wildcards=wildcards, input=None, attempt=1, threads=threads, async_run=None
        )
        value = Resource.parse_human_friendly(name, value)
    if name == "gres" and isinstance(value, str):
        value = sum(gpus_of(value).values())
    if not isinstance(value, int | float):
        raise InputError(f"{FILE}: {name}: found {value!r}, expected a number")
    return round(value)
