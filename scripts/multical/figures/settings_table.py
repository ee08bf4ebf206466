"""The settings of a study's runs and what they used, read from the files that their jobs left.

Nothing is derived but hours; what a file does not say, the row does not say either.
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
    """What the table needs of a file, which may hold more."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_its_keys(cls, raw: Any) -> Any:
        required = {key for key, field in cls.model_fields.items() if field.is_required()}
        if isinstance(raw, dict) and (missing := sorted(required - raw.keys())):
            raise ValueError(f"missing keys {missing}")
        return raw


class Scale(_File):
    """How an SFT run was spread over hardware; as here where its settings do not say."""

    precision: str = "float32"
    sharding: str = "none"
    processes: int = 1


class Given(_File):
    """The settings of an SFT run."""

    smoothing: float
    seed: int
    learning_rate: float
    epochs: float | None = None
    batch_size: int
    max_length: int
    warmup_ratio: float
    weight_decay: float
    scale: Scale | None = None


class Trained(_File):
    """The manifest of an SFT run."""

    run: str
    params: Given
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
    """The trial whose learning rate was chosen, among all."""

    run: str
    learning_rate: float
    trials: list[Trial]


class Source(_File):
    """Where a model or data come from, and the digests of their files."""

    source: dict[str, Any]
    files: dict[str, Any]


class Machine(_File):
    """What a job ran on."""

    cpu: str
    gpus: list[str] = []


COLUMNS = """run role trial model model_source model_revision sft sft_source sft_revision smoothing
seed learning_rate tried held_out_loss final_loss conversations truncated dropped trained_tokens
epochs steps batch_size max_length warmup_ratio weight_decay precision sharding processes benchmarks
hardware training_hours training_gpu_hours scoring_hours scoring_gpu_hours""".split()

Row = dict[str, Any]


def rows(study: SettingsTable) -> list[Row]:
    """A row per run with `COLUMNS`; None where one does not apply.

    Raises `InputError` for a file that is missing, lacks what is needed, or is another run's.
    """
    return [dict.fromkeys(COLUMNS) | row(study, run) for run in study.runs]


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
    """None for a base model, and for an adopted run, which has a copy of its trial's."""
    if run.sft is not None and not run.adopted:
        yield paths.TRAINING_USAGE.format(root=study.study, run=run.run)


def scoring_usage(study: SettingsTable, run: SettingsRun) -> Iterator[str]:
    """None for a trial: it is not scored."""
    if run.role != "trial":
        for benchmark in study.benchmarks:
            yield paths.SCORING_USAGE.format(root=study.study, run=run.run, benchmark=benchmark)


def row(study: SettingsTable, run: SettingsRun) -> Row:
    """What there is to say of a run."""
    made: Row = run.model_dump(exclude={"adopted"})
    made["model_source"], made["model_revision"] = source(model_manifest(run))
    if run.sft is not None:
        made["sft_source"], made["sft_revision"] = source(sft_about(run))
        made |= trained(study, run)
    if run.role != "trial":
        versions = {name: source(benchmark_about(name)) for name in study.benchmarks}
        named = [f"{name}: {'@'.join(filter(None, pair))}" for name, pair in versions.items()]
        made["benchmarks"] = "; ".join(named)
    hardware: set[str] = set()
    for work, files_of in (("training", training_usage), ("scoring", scoring_usage)):
        if used := {path: usage.read(path) for path in files_of(study, run)}:
            for unit, key in (("hours", "seconds"), ("gpu_hours", "gpu_seconds")):
                seconds = sum(job[key] for job in used.values())
                made[f"{work}_{unit}"] = round(seconds / 3600, 6)
            hardware.update(*(machines(path, job) for path, job in used.items()))
    return made | {"hardware": "; ".join(sorted(hardware))}


def trained(study: SettingsTable, run: SettingsRun) -> Row:
    """The settings of an SFT run or trial, and its losses."""
    path = manifest(study, run)
    about = read(Trained, path)
    same(path, "run", about.run, run.run)
    made: Row = {
        **about.params.model_dump(exclude={"scale"}),
        **(about.params.scale or Scale()).model_dump(),
        **about.model_dump(exclude={"run", "params", "examples", "trial"}),
        "conversations": about.examples,
    }
    return made | (held_out(study, run, about) if study.tried else {})


def held_out(study: SettingsTable, run: SettingsRun, about: Trained) -> Row:
    """The loss of a trial, or of that which a run adopted; a run's rate must be the chosen."""
    path, chooser = manifest(study, run), choice(study, run)
    chosen = read(Choice, chooser)
    losses = {trial.run: trial.loss for trial in chosen.trials}
    made: Row = {}
    if run.role == "run":
        same(path, "learning_rate", about.params.learning_rate, chosen.learning_rate)
        made["tried"] = " ".join(f"{rate:g}" for rate in study.tried)
        if not run.adopted:
            return made
        same(path, "trial", about.trial, chosen.run)
        made["trial"] = chosen.run
    measured = made.get("trial", run.run)
    if measured not in losses:
        raise InputError(f"{chooser}: trials: found {list(losses)}, expected {measured} among them")
    return made | {"held_out_loss": losses[measured]}


def source(path: str) -> tuple[str, str]:
    """Where a model or data come from, and which version: a commit, or a SHA-256.

    The version of a folder is the SHA-256 of the manifest that lists its files; what is made
    by the code alone has none.
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


def machines(path: str, used: Row) -> list[str]:
    """The names of the GPUs that a job used; where it used none, of the CPUs."""
    names: list[str] = []
    for one in used["machines"]:
        machine = validated(Machine, one, f"{path}: machines")
        names += (machine.gpus if used["gpu_seconds"] else []) or [machine.cpu]
    return names


File = TypeVar("File", bound=_File)


def read(schema: type[File], path: str) -> File:
    """A JSON file as its schema."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    return validated(schema, raw, path)


def same(path: str, key: str, found: Any, expected: Any) -> None:
    """Raise `InputError` unless a file says what others say."""
    if found != expected:
        raise InputError(f"{path}: {key}: found {found!r}, expected {expected!r}")
