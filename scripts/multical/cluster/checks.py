"""What `make doctor` finds, and its checks of this machine and of this folder.

A check yields findings, one a line: ok, a warning or an error, what it is about, what was
found, and the cure. It may raise what it likes: `checked` makes that an error of its own.
"""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import psutil

from multical import paths
from multical.cluster.cluster import SlurmError
from multical.cluster.site import Site
from multical.config.schema import Config
from multical.config.studies import MultilingualStudy, scored
from multical.errors import InputError
from multical.workflow import drivers

Level = Literal["ok", "warning", "error"]
#: From the best to the worst; a level's place is the program's exit code.
LEVELS: tuple[Level, ...] = ("ok", "warning", "error")
#: The Python that the lock is resolved for
PYTHON = (3, 11)
#: Folders that Snakemake takes for profiles to lay over `--profile slurm`
OVERRIDING = ["profiles/default", "default"]
#: Where files are not those that other machines see, or not for long
PASSING = ["/tmp", "/var/tmp", "/dev/shm"]
FEW_FILES = 10_000
ASK = "ask the cluster's administrators; until then only local runs work"


@dataclass(frozen=True)
class Finding:
    """One line of the report; `cure` is what to do about a warning or an error."""

    level: Level
    what: str
    said: str
    cure: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<8} {self.what}: {self.said}"
        return f"{line} -> {self.cure}" if self.cure else line


Findings = Iterator[Finding]


def checked(what: str, check: Callable[..., Findings], *arguments: Any) -> Findings:
    """The findings of a check; that it fails itself is a finding too."""
    try:
        yield from check(*arguments)
    except InputError as error:
        yield Finding("error", what, str(error), "correct it, and run make doctor again")
    except SlurmError as error:
        yield Finding("error", what, str(error), ASK)
    except Exception as error:  # one broken check must not hide what the others find
        told = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding("error", what, f"not checked ({told})", "report it, with this line")


def versions(lock: Path) -> Findings:
    """Python, and each library against the lock."""
    if not lock.exists():
        raise InputError(f"{lock}: not here, expected the folder of multical's own Makefile")
    found = platform.python_version()
    if sys.version_info[:2] == PYTHON:
        yield Finding("ok", "python", found)
    else:
        wanted = ".".join(map(str, PYTHON))
        yield Finding("warning", "python", f"{found}, the lock is made for {wanted}", "make env")
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    missing, others = [], []
    for name, pin in pins.items():
        try:
            there = metadata.version(name).partition("+")[0]  # +cpu, +cu130: builds of a version
        except metadata.PackageNotFoundError:
            missing.append(name)
        else:
            if there != pin:
                others.append(f"{name} {there} for {pin}")
    if missing:
        yield Finding("error", "libraries", f"not installed: {_some(missing)}", "make env")
    if others:
        yield Finding("warning", "libraries", f"not as in {lock}: {_some(others)}", "make env")
    if not missing and not others:
        yield Finding("ok", "libraries", f"{len(pins)} as in {lock}")
    if "snakemake" not in missing:
        yield Finding("ok", "snakemake", metadata.version("snakemake"))


def plugins() -> Findings:
    """Whether Snakemake's executor for SLURM can be imported."""
    try:
        import snakemake_executor_plugin_slurm as executor
        import snakemake_executor_plugin_slurm_jobstep as jobstep
    except Exception as error:  # it runs commands as it is imported
        told = f"cannot be imported ({type(error).__name__}: {error})"
        cure = "make env" if isinstance(error, ImportError) else "mend what it names"
        yield Finding("error", "plugin", told, cure)
    else:
        for module in (executor, jobstep):
            told = f"{module.__name__} {metadata.version(module.__name__)}"
            yield Finding("ok", "plugin", told)


def cuda(site: Site) -> Findings:
    """Whether torch can use the GPUs that jobs ask for."""
    try:
        torch = metadata.distribution("torch")
    except metadata.PackageNotFoundError:
        yield Finding("error", "torch", "not installed", "make env")
        return
    # not imported: that takes seconds
    built = runpy.run_path(str(torch.locate_file("torch/version.py")))
    kind = built.get("cuda") or built.get("hip")
    if kind is None and site.gpus != "none":
        yield Finding(
            "warning",
            "torch",
            f"{built['__version__']} is a build for CPUs, and jobs ask for GPUs (MULTICAL_GPUS="
            f"{site.gpus})",
            "install torch's CUDA build of the same version, or set MULTICAL_GPUS=none",
        )
    else:
        yield Finding("ok", "torch", f"{built['__version__']}, {kind or 'for CPUs'}")


def folder() -> Findings:
    """Profiles that override ours, and what a Snakemake that was killed left behind."""
    for name in OVERRIDING:
        if Path(name).exists():
            yield Finding(
                "warning",
                "profile",
                f"{name} is here: Snakemake lays it over --profile slurm",
                f"rename {name}, or give Snakemake --workflow-profile none",
            )
    on_record = drivers.load_all()
    for driver in on_record:
        if not driver.here:
            told = f"{driver} is on record, and only {driver.host} can tell whether it runs"
            yield Finding("warning", "driver", told, f"make doctor on {driver.host}")
        elif driver.alive:
            yield Finding("ok", "driver", f"{driver} is at work here")
        else:
            told = f"{driver} was killed; jobs of it may still run"
            yield Finding("warning", "driver", told, "make recover")
    locks = Path(".snakemake/locks")
    if not on_record:
        if locks.is_dir() and any(locks.iterdir()):
            told = f"{locks} is not empty, and no Snakemake is on record"
            yield Finding("warning", "driver", told, "make recover")
        else:
            yield Finding("ok", "driver", "no Snakemake has left anything here")


def disk(config: Config, root: str) -> Findings:
    """Free space against what is still to be written of a study, at most."""
    from multical.workflow.costs import disk_bytes, passing

    needs, going = disk_bytes(config, root), passing(config)
    left = {
        part: sum(sizes) - _bytes(_folders(config, root, part))
        for part, sizes in needs.items()
        if part not in going
    }
    needed = sum(max(0, size) for size in left.values())
    once = sum(max(needs.get(part, []), default=0) for part in going)
    most = sum(sum(needs.get(part, [])) for part in going)
    free = shutil.disk_usage(_existing(Path("results"))).free
    if not needs:
        yield Finding("ok", "disk", f"{_gb(free)} free in results; {root} has no weights here")
        return
    told = f"{_gb(free)} free in results, {root} needs {_gb(needed)} more at most"
    if most:
        told += f", and for each run that is at work {_gb(once)}, {_gb(most)} for all at once"
    if free < needed + once:
        largest = max(left, key=lambda part: left[part])
        cure = f"make room: {largest} take {_gb(left[largest])} of it"
        if largest == "checkpoints":
            cure += ", and keep_checkpoints: false in config.yaml would not keep them"
        yield Finding("error", "disk", told, cure)
    elif free < needed + most:
        cure = f"make room, or have fewer jobs at a time: --jobs {int((free - needed) // once)}"
        yield Finding("warning", "disk", told, cure)
    else:
        yield Finding("ok", "disk", told)


def file_system() -> Findings:
    """Whether results lie where they can stay, and where files can still be made."""
    place = _existing(Path("results"))
    mounts = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    kind = next((mounts[path] for path in [place, *place.parents] if path in mounts), "")
    if kind in ("tmpfs", "ramfs") or any(place.is_relative_to(path) for path in PASSING):
        yield Finding(
            "warning",
            "file system",
            f"{place} is {'in memory' if kind in ('tmpfs', 'ramfs') else 'a folder of one machine'}"
            ": compute nodes do not see it",
            "clone multical into a folder that all nodes share",
        )
    found = os.statvfs(place)
    if found.f_files and found.f_favail < FEW_FILES:  # f_files is 0 where files are not counted
        told = f"room for {found.f_favail} more files in {place}"
        yield Finding("warning", "file system", told, "remove files: the inodes are used up")


def _folders(config: Config, root: str, part: str) -> list[Path]:
    """Where a part of `costs.disk_bytes` lies, in folders of this study's own names."""
    from multical.workflow.costs import fetched

    study = config.model_study(root)
    trained = study.by_id if isinstance(study, MultilingualStudy) else []
    return {
        "base models": [_folder(paths.MODEL_MANIFEST, model=x) for x in fetched(config, study)],
        "benchmarks and SFT data": [_folder(paths.BENCHMARK), _folder(paths.SFT_DATA)],
        "checkpoints": [_folder(paths.RUN_MANIFEST, root=root, run=run) for run in trained],
        "scratch": [_folder(paths.SCRATCH, root=root)],
        "records": [_folder(paths.RECORDS, root=root, run=run) for run in dict(scored(study))],
    }[part]


def _folder(path: str, **wildcards: str) -> Path:
    """The folder of a path of `multical.paths`, whose wildcards are given."""
    return Path(path.rpartition("/")[0].format(**wildcards))


def _bytes(folders: list[Path]) -> int:
    """Bytes of all files, each once: an adopted run has links to those of its trial."""
    files = (file.stat() for one in folders for file in one.rglob("*") if file.is_file())
    return sum({(one.st_dev, one.st_ino): one.st_size for one in files}.values())


def _existing(path: Path) -> Path:
    """The path, or the first folder above it that is there."""
    path = path.resolve()
    return next(one for one in [path, *path.parents] if one.exists())


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
