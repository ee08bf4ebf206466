"""Findings of `make doctor`, and its checks of this machine and of this folder.

A check yields findings, one for each line of the report. It may raise any error, which `checked`
turns into a finding.
"""

from __future__ import annotations

import os
import platform
import runpy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import psutil

from multical import paths
from multical.cluster import recovery
from multical.cluster.queries import SlurmError
from multical.cluster.site import Site
from multical.config.schema import Config
from multical.config.studies import MultilingualStudy, scored
from multical.errors import InputError
from multical.provenance.fingerprint import read_lock
from multical.workflow import drivers

Level = Literal["ok", "warning", "error"]
#: From best to worst; the index of the worst level is the program's exit code
LEVELS: tuple[Level, ...] = ("ok", "warning", "error")
#: The Python that the lock is resolved for
PYTHON = "3.11"
#: Places of profiles that override values of `--profile slurm`
OVERRIDING = ["profiles/default", "default"]
#: Folders that other machines do not see, or that the system empties
LOCAL_FOLDERS = ["/tmp", "/var/tmp", "/dev/shm"]
FEW_FILES = 10_000
ASK = "ask the cluster's administrators; until then only local runs work"


@dataclass(frozen=True)
class Finding:
    """One line of the report; a warning or an error has a remedy."""

    level: Level
    subject: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<8} {self.subject}: {self.message}"
        return f"{line} -> {self.remedy}" if self.remedy else line


Findings = Iterator[Finding]
ok, warn, fail = (partial(Finding, level) for level in LEVELS)


def checked(subject: str, check: Callable[..., Findings], *arguments: Any) -> Findings:
    """The findings of a check, and one more if the check raises an error."""
    try:
        yield from check(*arguments)
    except InputError as error:
        yield fail(subject, str(error), "correct it, and run make doctor again")
    except SlurmError as error:
        yield fail(subject, str(error), ASK)
    except Exception as error:  # one broken check must not hide the other findings
        yield fail(subject, f"not checked ({one_line(error)})", "report it, with this line")


def one_line(error: Exception) -> str:
    """An exception's type and message on one line, at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def versions(lock: Path) -> Findings:
    """Whether Python and each library have the versions of the lock."""
    if not lock.exists():
        raise InputError(f"{lock}: not here, expected the folder of multical's own Makefile")
    python = platform.python_version()
    if python.startswith(f"{PYTHON}."):
        yield ok("python", python)
    else:
        yield warn("python", f"{python}, but the lock is for {PYTHON}", "make env")
    pins = read_lock(lock)
    missing, different = [], []
    for name, pin in pins.items():
        try:
            version = metadata.version(name).partition("+")[0]  # without the build: +cpu, +cu130
        except metadata.PackageNotFoundError:
            missing.append(name)
        else:
            if version != pin:
                different.append(f"{name} {version} for {pin}")
    if missing:
        yield fail("libraries", f"not installed: {_shortened(missing)}", "make env")
    if different:
        yield warn("libraries", f"not as in {lock}: {_shortened(different)}", "make env")
    if not missing and not different:
        yield ok("libraries", f"{len(pins)} as in {lock}")
    if "snakemake" not in missing:
        yield ok("snakemake", metadata.version("snakemake"))


def plugins() -> Findings:
    """Whether Snakemake's executor for SLURM can be imported."""
    try:
        import snakemake_executor_plugin_slurm as executor
        import snakemake_executor_plugin_slurm_jobstep as jobstep
    except Exception as error:  # it runs commands while it is imported
        remedy = "make env" if isinstance(error, ImportError) else "fix what it names"
        yield fail("plugin", f"cannot be imported ({one_line(error)})", remedy)
    else:
        for module in (executor, jobstep):
            yield ok("plugin", f"{module.__name__} {metadata.version(module.__name__)}")


def cuda(site: Site) -> Findings:
    """Whether torch can use the GPUs that jobs request."""
    try:
        torch = metadata.distribution("torch")
    except metadata.PackageNotFoundError:
        yield fail("torch", "not installed", "make env")
        return
    # not imported: that takes seconds
    build = runpy.run_path(str(torch.locate_file("torch/version.py")))
    version, platform = build["__version__"], build.get("cuda") or build.get("hip")
    if platform is None and site.gpus != "none":
        message = (
            f"{version} is a build for CPUs, and jobs request GPUs (MULTICAL_GPUS={site.gpus})"
        )
        remedy = "make env TORCH=cuda, or set MULTICAL_GPUS=none"
        yield warn("torch", message, remedy)
    else:
        yield ok("torch", f"{version}, {platform or 'for CPUs'}")


def folder() -> Findings:
    """Profiles that override ours, and what a killed Snakemake left behind."""
    for name in filter(os.path.exists, OVERRIDING):
        message = f"Snakemake lays {name} over --profile slurm"
        yield warn("profile", message, f"rename {name}, or give Snakemake --workflow-profile none")
    on_record = drivers.load_all()
    for driver in on_record:
        if not (driver.job or driver.here):
            message = f"{driver} is on record, and only {driver.host} can tell whether it runs"
            yield warn("driver", message, f"make doctor on {driver.host}")
        elif recovery.in_queue(driver.job) if driver.job else driver.alive:
            yield ok("driver", f"{driver} runs here")
        else:
            yield warn("driver", f"{driver} was killed; its jobs may still run", "make recover")
    locks = Path(".snakemake/locks")
    if not on_record and locks.is_dir() and any(locks.iterdir()):
        message = f"{locks} is not empty, and no Snakemake is on record"
        yield warn("driver", message, "make recover")
    elif not on_record:
        yield ok("driver", "no Snakemake has left anything here")


def disk(config: Config, root: str) -> Findings:
    """Whether there is room for all that a study still has to write, at most."""
    from multical.workflow.costs import disk_bytes, passing

    needs, temporary = disk_bytes(config, root), passing(config)
    missing = {
        part: sum(sizes) - _bytes(_folders(config, root, part))
        for part, sizes in needs.items()
        if part not in temporary
    }
    needed = sum(max(0, size) for size in missing.values())
    one_run = sum(max(needs.get(part, []), default=0) for part in temporary)
    all_runs = sum(sum(needs.get(part, [])) for part in temporary)
    free = shutil.disk_usage(_existing(Path("results"))).free
    if not needs:
        yield ok("disk", f"{_gb(free)} free in results; {root} has no weights here")
        return
    message = f"{_gb(free)} free in results, {root} needs {_gb(needed)} more at most"
    if all_runs:
        message += f", and during training {_gb(one_run)} a run, {_gb(all_runs)} for all at once"
    if free < needed + one_run:
        largest = max(missing, key=lambda part: missing[part])
        remedy = f"make room: {largest} take {_gb(missing[largest])} of it"
        if largest == "checkpoints":
            remedy += ", unless the config has keep_checkpoints: false"
        yield fail("disk", message, remedy)
    elif free < needed + all_runs:
        jobs = int((free - needed) // one_run)
        yield warn("disk", message, f"make room, or run fewer jobs at a time: --jobs {jobs}")
    else:
        yield ok("disk", message)


def file_system() -> Findings:
    """Whether results are kept and seen by all nodes, and whether there are inodes left."""
    place = _existing(Path("results"))
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    kind = next((mounts[path] for path in [place, *place.parents] if path in mounts), "")
    in_memory = kind in ("tmpfs", "ramfs")
    if in_memory or any(place.is_relative_to(path) for path in LOCAL_FOLDERS):
        where = "in memory" if in_memory else "a folder of one machine"
        remedy = "clone multical into a folder that all nodes share"
        yield warn("file system", f"{place} is {where}: compute nodes do not see it", remedy)
    counts = os.statvfs(place)
    if counts.f_files and counts.f_favail < FEW_FILES:  # f_files is 0 where files are not counted
        message = f"room for {counts.f_favail} more files in {place}"
        yield warn("file system", message, "remove files: the inodes are used up")


def _folders(config: Config, root: str, part: str) -> list[Path]:
    """The folders of a part of `costs.disk_bytes`, as far as this study has files there."""
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
    """The folder of a file pattern of `multical.paths`, with its wildcards filled in."""
    return Path(path.rpartition("/")[0].format(**wildcards))


def _bytes(folders: list[Path]) -> int:
    """Bytes of all files. Hard links count once, as an adopted run links the files of its trial."""
    files = (file.stat() for place in folders for file in place.rglob("*") if file.is_file())
    return sum({(file.st_dev, file.st_ino): file.st_size for file in files}.values())


def _existing(path: Path) -> Path:
    """The path, or the first folder above it that exists."""
    path = path.resolve()
    return next(place for place in [path, *path.parents] if place.exists())


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
