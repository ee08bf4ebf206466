"""The settings and the compute of a study's runs, read from the files that their jobs wrote.

Only hours are computed. A value that no file has is None in the row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from multical import paths
from multical.errors import InputError
from multical.figures.params import SettingsRun, SettingsTable
from multical.files import sha256
from multical.params import validated
from multical.provenance import usage
from multical.provenance.sidecar import without_folders


class _File(BaseModel):
    """The keys of a file that the table needs. The file may have more keys."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_its_keys(cls, raw: Any) -> Any:
        required = {key for key, field in cls.model_fields.items() if field.is_required()}
        if isinstance(raw, dict) and (missing := sorted(required - raw.keys())):
            raise ValueError(f"missing keys {missing}")
        return raw


class Scale(_File):
    """How an SFT run was spread over hardware. The defaults hold for settings without it."""

    precision: str = "float32"
    sharding: str = "none"
    processes: int = 1


class RunSettings(_File):
    """The settings of an SFT run."""

    smoothing: float
    seed: int
    learning_rate: float
    epochs: float | None = None
    batch_size: int
    max_length: int
    warmup_ratio: float
    weight_decay: float
    loss_reduction: str | None = None
    max_grad_norm: float | None = None
    soft_cap: float | None = None
    temperature: float | None = None
    scale: Scale | None = None
    adapter: dict[str, Any] | None = None


class Trained(_File):
    """The manifest of an SFT run."""

    run: str
    params: RunSettings
    final_loss: float
    examples: int
    truncated: int
    dropped: int
    trained_tokens: int
    steps: int
    trial: str | None = None


class Trial(_File):
    """A trial of a learning rate, and its loss on held-out conversations."""

    run: str
    learning_rate: float
    loss: float


class Choice(_File):
    """All trials of a model and SFT set, and the one whose learning rate was chosen."""

    run: str
    learning_rate: float
    trials: list[Trial]


class Source(_File):
    """The source of a model or of data, and the digests of their files."""

    source: dict[str, Any]
    files: dict[str, Any]


class Machine(_File):
    """The hardware of a job."""

    cpu: str
    gpus: list[str] = []


COLUMNS = """run role trial model model_source model_revision sft sft_source sft_revision smoothing
seed learning_rate tried held_out_loss final_loss conversations truncated dropped trained_tokens
epochs steps batch_size max_length warmup_ratio weight_decay precision sharding processes benchmarks
hardware training_hours training_gpu_hours scoring_hours scoring_gpu_hours""".split()
#: Further columns, only where some run has another value than the default
RARE = ["loss_reduction", "max_grad_norm", "soft_cap", "temperature", "adapter"]

Row = dict[str, Any]


def rows(study: SettingsTable) -> list[Row]:
    """A row per run with the columns `COLUMNS` and `RARE`.

    A cell that does not apply is None. Raises `InputError` for a file that is missing, lacks a
    needed key, or is of another run.
    """
    return [dict.fromkeys([*COLUMNS, *RARE]) | row(study, run) for run in study.runs]


def files(study: SettingsTable) -> list[str]:
    """All files that `rows` reads."""
    needed = [benchmark_about(name) for name in study.benchmarks]
    for run in study.runs:
        needed.append(model_manifest(run))
        if run.sft is not None:
            needed += [sft_about(run), manifest(study, run)]
            if study.tried:
                needed.append(choice(study, run))
        needed += [*training_usage(study, run), *scoring_usage(study, run)]
    return list(dict.fromkeys(needed))


def model_manifest(run: SettingsRun) -> str:
    return paths.MODEL_MANIFEST.format(model=run.model)


def sft_about(run: SettingsRun) -> str:
    return paths.SFT_ABOUT.format(sft=run.sft)


def benchmark_about(name: str) -> str:
    return paths.BENCHMARK_ABOUT.format(benchmark=name)


def manifest(study: SettingsTable, run: SettingsRun) -> str:
    return paths.RUN_MANIFEST.format(root=study.study, run=run.run)


def choice(study: SettingsTable, run: SettingsRun) -> str:
    return paths.LEARNING_RATE.format(root=study.study, model=run.model, sft=run.sft)


def training_usage(study: SettingsTable, run: SettingsRun) -> Iterator[str]:
    """The usage file of the training.

    A base model has none. An adopted run has a copy of its trial's file, which is not counted
    again.
    """
    if run.sft is not None and not run.adopted:
        yield paths.TRAINING_USAGE.format(root=study.study, run=run.run)


def scoring_usage(study: SettingsTable, run: SettingsRun) -> Iterator[str]:
    """The usage files of scoring, one per benchmark. A trial has none, since it is not scored."""
    if run.role != "trial":
        for benchmark in study.benchmarks:
            yield paths.SCORING_USAGE.format(root=study.study, run=run.run, benchmark=benchmark)


def row(study: SettingsTable, run: SettingsRun) -> Row:
    """The cells of a run that apply to it."""
    cells: Row = run.model_dump(exclude={"adopted"})
    cells["model_source"], cells["model_revision"] = source(model_manifest(run))
    if run.sft is not None:
        cells["sft_source"], cells["sft_revision"] = source(sft_about(run))
        cells |= trained(study, run)
    if run.role != "trial":
        versions = {name: source(benchmark_about(name)) for name in study.benchmarks}
        cells["benchmarks"] = "; ".join(
            f"{name}: {'@'.join(filter(None, pair))}" for name, pair in versions.items()
        )
    hardware: set[str] = set()
    for work, files_of in (("training", training_usage), ("scoring", scoring_usage)):
        if jobs := {path: usage.read(path) for path in files_of(study, run)}:
            for unit, key in (("hours", "seconds"), ("gpu_hours", "gpu_seconds")):
                seconds = sum(job[key] for job in jobs.values())
                cells[f"{work}_{unit}"] = round(seconds / 3600, 6)
            hardware.update(*(machines(path, job) for path, job in jobs.items()))
    return cells | {"hardware": "; ".join(sorted(hardware))}


def trained(study: SettingsTable, run: SettingsRun) -> Row:
    """The settings of an SFT run or trial, and its losses."""
    path = manifest(study, run)
    about = read(Trained, path)
    require_same(path, "run", about.run, run.run)
    cells: Row = {
        **about.params.model_dump(exclude={"scale", "adapter"}),
        **(about.params.scale or Scale()).model_dump(),
        **about.model_dump(exclude={"run", "params", "examples", "trial"}),
        "conversations": about.examples,
    }
    if about.params.adapter:
        cells["adapter"] = ", ".join(f"{key} {one}" for key, one in about.params.adapter.items())
    return cells | (held_out(study, run, about) if study.tried else {})


def held_out(study: SettingsTable, run: SettingsRun, about: Trained) -> Row:
    """The held-out loss of a trial, or of the trial that a run adopted.

    Raises `InputError` unless a run has the chosen learning rate.
    """
    path, choice_path = manifest(study, run), choice(study, run)
    chosen = read(Choice, choice_path)
    losses = {trial.run: trial.loss for trial in chosen.trials}
    cells: Row = {}
    trial = run.run
    if run.role == "run":
        require_same(path, "learning_rate", about.params.learning_rate, chosen.learning_rate)
        cells["tried"] = " ".join(f"{rate:g}" for rate in study.tried)
        if not run.adopted:
            return cells
        require_same(path, "trial", about.trial, chosen.run)
        cells["trial"] = trial = chosen.run
    if trial not in losses:
        raise InputError(
            f"{choice_path}: trials: found {list(losses)}, expected {trial} among them"
        )
    return cells | {"held_out_loss": losses[trial]}


def source(path: str) -> tuple[str, str]:
    """The source of a model or data set, and its version: a commit or a SHA-256.

    The version of a folder is the SHA-256 of the manifest that lists its files. Data that the code
    alone makes have no version.
    """
    about = read(Source, path)
    origin = without_folders(about.source)
    match origin:
        case {"repo": str(repo), "revision": str(revision)}:
            return f"{repo} ({origin['config']})" if origin.get("config") else repo, revision
        case {"packages": list(packages), "sha256": str(digest)}:
            return " ".join(packages), f"sha256:{digest}"
        case {"kind": "folder", "path": str(folder)}:
            return folder, f"sha256:{sha256(path)}"
        case {"kind": "file", "path": str(name)} if len(about.files) == 1:
            return name, "sha256:{}".format(*about.files.values())
        case {"kind": "cldr"}:
            scalars = [f"{key} {origin[key]}" for key in sorted(origin) if key != "kind"
                       and not isinstance(origin[key], list)]  # fmt: skip
            return f"cldr ({', '.join(scalars)})", ""
    raise InputError(
        f"{path}: source: found {origin}, expected a repo and revision, packages and sha256, "
        "the path of a folder or file, or kind cldr"
    )


def machines(path: str, job: Row) -> list[str]:
    """The names of the GPUs that a job used, or of the CPUs if it used no GPU."""
    names: list[str] = []
    for raw in job["machines"]:
        machine = validated(Machine, raw, f"{path}: machines")
        names += (machine.gpus if job["gpu_seconds"] else []) or [machine.cpu]
    return names


File = TypeVar("File", bound=_File)


def read(schema: type[File], path: str) -> File:
    """Read a JSON file and validate it."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    return validated(schema, raw, path)


def require_same(path: str, key: str, found: Any, expected: Any) -> None:
    """Raise `InputError` unless a file agrees with the others."""
    if found != expected:
        raise InputError(f"{path}: {key}: found {found!r}, expected {expected!r}")
