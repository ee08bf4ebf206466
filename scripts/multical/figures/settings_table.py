"""The settings of a study's runs and what they used, read from the files that their jobs left.

A study is told as `plan.settings_table` does: its root, its runs, its benchmarks, and the
learning rates that it tried. Nothing is derived but hours; what a file does not say, the row
does not say either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multical.errors import InputError
from multical.files import sha256
from multical.params import NAMES, Kinds
from multical.provenance import usage
from multical.provenance.sidecar import without_folders

INPUTS = "results/inputs"
NUMBER = (int, float)
NULL = type(None)
#: What the table needs of each file.
TRAINED: Kinds = {
    "run": str,
    "params": dict,
    "final_loss": NUMBER,
    "examples": int,
    "truncated": int,
    "dropped": int,
    "trained_tokens": int,
    "steps": int,
}
PARAMS: Kinds = {
    "smoothing": NUMBER,
    "seed": int,
    "learning_rate": NUMBER,
    "epochs": (*NUMBER, NULL),
    "batch_size": int,
    "max_length": int,
    "warmup_ratio": NUMBER,
    "weight_decay": NUMBER,
}
SCALE: Kinds = {"precision": str, "sharding": str, "processes": int}
#: How a run is trained whose study does not say (studies.Training.scale).
UNSCALED = {"precision": "float32", "sharding": "none", "processes": 1}
CHOICE: Kinds = {"run": str, "learning_rate": NUMBER, "trials": list}
TRIAL: Kinds = {"run": str, "learning_rate": NUMBER, "loss": NUMBER}
MACHINE: Kinds = {"cpu": str}

COLUMNS = """run role trial model model_source model_revision sft sft_source sft_revision smoothing
seed learning_rate tried held_out_loss final_loss conversations truncated dropped trained_tokens
epochs steps batch_size max_length warmup_ratio weight_decay precision sharding processes benchmarks
hardware training_hours training_gpu_hours scoring_hours scoring_gpu_hours""".split()

Row = dict[str, Any]


def rows(study: dict[str, Any]) -> list[Row]:
    """A row per run with `COLUMNS`; None where one does not apply.

    Raises `InputError` for a file that is missing, lacks what is needed, or is another run's.
    """
    return [dict.fromkeys(COLUMNS) | row(study, one) for one in study["runs"]]


def files(study: dict[str, Any]) -> list[str]:
    """All files that `rows` reads."""
    found = [benchmark_about(name) for name in study["benchmarks"]]
    for one in study["runs"]:
        found.append(model_manifest(one))
        if one["sft"] is not None:
            found += [sft_about(one), manifest(study, one)]
            if study["tried"]:
                found.append(choice(study, one))
        found += [*training_usage(study, one), *scoring_usage(study, one)]
    return list(dict.fromkeys(found))


def model_manifest(one: Row) -> str:
    return f"{INPUTS}/models/{one['model']}/manifest.json"


def sft_about(one: Row) -> str:
    return f"{INPUTS}/sft/{one['sft']}.about.json"


def benchmark_about(name: str) -> str:
    return f"{INPUTS}/benchmarks/{name}.about.json"


def manifest(study: dict[str, Any], one: Row) -> str:
    return f"{study['study']}/runs/{one['run']}/manifest.json"


def choice(study: dict[str, Any], one: Row) -> str:
    return f"{study['study']}/learning_rates/{one['model']}.{one['sft']}.json"


def training_usage(study: dict[str, Any], one: Row) -> Iterator[str]:
    """None for a base model, and for an adopted run, which has a copy of its trial's."""
    if one["sft"] is not None and not one["adopted"]:
        yield f"{study['study']}/runs/{one['run']}/usage.json"


def scoring_usage(study: dict[str, Any], one: Row) -> Iterator[str]:
    """None for a trial: it is not scored."""
    if one["role"] != "trial":
        for benchmark in study["benchmarks"]:
            yield f"{study['study']}/records/{one['run']}/{benchmark}.usage.json"


def row(study: dict[str, Any], one: Row) -> Row:
    """What there is to say of a run."""
    found: Row = {key: one[key] for key in ("run", "role", "model", "sft")}
    found["model_source"], found["model_revision"] = source(model_manifest(one))
    if one["sft"] is not None:
        found["sft_source"], found["sft_revision"] = source(sft_about(one))
        found |= trained(study, one)
    if one["role"] != "trial":
        told = {name: source(benchmark_about(name)) for name in study["benchmarks"]}
        named = [f"{name}: {'@'.join(filter(None, pair))}" for name, pair in told.items()]
        found["benchmarks"] = "; ".join(named)
    hardware: set[str] = set()
    for work, paths in (("training", training_usage), ("scoring", scoring_usage)):
        if used := {path: usage.read(path) for path in paths(study, one)}:
            for unit, key in (("hours", "seconds"), ("gpu_hours", "gpu_seconds")):
                seconds = sum(job[key] for job in used.values())
                found[f"{work}_{unit}"] = round(seconds / 3600, 6)
            hardware.update(*(machines(path, job) for path, job in used.items()))
    return found | {"hardware": "; ".join(sorted(hardware))}


def trained(study: dict[str, Any], one: Row) -> Row:
    """The settings of an SFT run or trial, and its losses."""
    path = manifest(study, one)
    about = read(path, TRAINED)
    same(path, "run", about["run"], one["run"])
    given = about["params"]
    pick(f"{path}: params", given, PARAMS)
    scale = given.get("scale") or UNSCALED
    pick(f"{path}: params.scale", scale, SCALE)
    found: Row = {
        **{key: given[key] for key in PARAMS},
        **{key: scale[key] for key in SCALE},
        **{key: about[key] for key in TRAINED if key not in ("run", "params", "examples")},
        "conversations": about["examples"],
    }
    return found | (held_out(study, one, about) if study["tried"] else {})


def held_out(study: dict[str, Any], one: Row, about: dict[str, Any]) -> Row:
    """The loss of a trial, or of the one that a run adopted; a run's rate must be the chosen."""
    path, chooser = manifest(study, one), choice(study, one)
    chosen = read(chooser, CHOICE)
    for number, trial in enumerate(chosen["trials"], start=1):
        pick(f"{chooser}: trials, number {number}", trial, TRIAL)
    losses = {trial["run"]: trial["loss"] for trial in chosen["trials"]}
    found: Row = {}
    if one["role"] == "run":
        same(path, "learning_rate", about["params"]["learning_rate"], chosen["learning_rate"])
        found["tried"] = " ".join(f"{rate:g}" for rate in study["tried"])
        if not one["adopted"]:
            return found
        same(path, "trial", about.get("trial"), chosen["run"])
        found["trial"] = chosen["run"]
    measured = found.get("trial", one["run"])
    if measured not in losses:
        raise InputError(f"{chooser}: trials: found {list(losses)}, expected {measured} among them")
    return found | {"held_out_loss": losses[measured]}


def source(path: str) -> tuple[str, str]:
    """Where a model or data come from, and which version: a commit, or a SHA-256.

    The version of a folder is the SHA-256 of the manifest that lists its files; what is made
    by the code alone has none.
    """
    about = read(path, {"source": dict, "files": dict})
    told = without_folders(about["source"])
    match told:
        case {"repo": str(repo), "revision": str(revision)}:
            return f"{repo} ({told['config']})" if told.get("config") else repo, revision
        case {"packages": list(packages), "sha256": str(digest)}:
            return " ".join(packages), f"sha256:{digest}"
        case {"kind": "folder", "path": str(folder)}:
            return folder, f"sha256:{sha256(path)}"
        case {"kind": "file", "path": str(name)} if len(about["files"]) == 1:
            return name, "sha256:{}".format(*about["files"].values())
        case {"kind": "cldr"}:
            scalars = [f"{key} {told[key]}" for key in sorted(told) if key != "kind"
                       and not isinstance(told[key], list)]  # fmt: skip
            return f"cldr ({', '.join(scalars)})", ""
    raise InputError(
        f"{path}: source: found {told}, expected a repo and revision, packages and sha256, "
        "the path of a folder or file, or kind cldr"
    )


def machines(path: str, used: Row) -> list[str]:
    """The names of the GPUs that a job used; where it used none, of the CPUs."""
    found: list[str] = []
    for machine in used["machines"]:
        pick(f"{path}: machines", machine, MACHINE)
        gpus = machine.get("gpus") if used["gpu_seconds"] else None
        found += gpus or [machine["cpu"]]
    return found


def read(path: str, kinds: Kinds) -> dict[str, Any]:
    """A JSON object with at least the keys of `kinds`."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    pick(path, found, kinds)
    return dict(found)


def pick(where: str, found: Any, kinds: Kinds) -> None:
    """Raise `InputError` unless `found` is an object with the keys of `kinds`, of their types."""
    if not isinstance(found, dict):
        raise InputError(f"{where}: found {found!r}, expected an object with {list(kinds)}")
    for key, kind in kinds.items():
        wanted = kind if isinstance(kind, tuple) else (kind,)
        if key not in found or type(found[key]) not in wanted:
            value = repr(found[key]) if key in found else "nothing"
            named = " or ".join(NAMES[one] for one in wanted)
            raise InputError(f"{where}: {key}: found {value}, expected {named}")


def same(path: str, key: str, found: Any, expected: Any) -> None:
    """Raise `InputError` unless a file says what others say."""
    if found != expected:
        raise InputError(f"{path}: {key}: found {found!r}, expected {expected!r}")
