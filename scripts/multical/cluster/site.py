"""What slurm/profile.yaml must know of a cluster: account, partitions, how GPUs are asked for.

Each is an environment variable or a key of slurm/site.yaml, which is not committed;
the variable goes first. None is needed where the cluster's defaults serve.

    MULTICAL_ACCOUNT      account      as `sacctmgr` lists it; default: the user's own
    MULTICAL_PARTITIONS   partitions   one, or several with commas between: the first that is
                                       free; default: the cluster's default partition
    MULTICAL_GPUS         gpus         gpus (--gpus=1, the default), gpus:MODEL, gres
                                       (--gres=gpu:1), gres:MODEL, or none (CPU only)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from multical.config import files
from multical.config.files import Data
from multical.errors import InputError

FILE = Path("slurm/site.yaml")
#: What a config of another form may raise; the Snakefile says what is wrong with it
WRONG = (KeyError, TypeError, AttributeError, ValueError)
#: What each value may be: it ends up in sbatch's arguments.
SHAPES = {
    "account": r"\w[\w.-]*",
    "partitions": r"\w[\w.-]*(,\w[\w.-]*)*",
    "gpus": r"none|(gpus|gres)(:[\w.]+)?",
}


@dataclass(frozen=True)
class Site:
    """A cluster's values, checked; `None` leaves the choice to SLURM."""

    account: str | None = None
    partitions: str | None = None
    gpus: str = "gpus"

    def request(self, gpus: int | str) -> dict[str, str | int]:
        """The Snakemake resources that ask for so many GPUs, a number or an expression."""
        style, _, model = self.gpus.partition(":")
        if style == "none":
            return {}
        if style == "gres":
            # quoted once more: the executor evaluates it as an expression
            asked = f"gpu:{model}:" if model else "gpu:"
            if isinstance(gpus, int):
                return {"gres": repr(f"{asked}{gpus}")}
            return {"gres": f"{asked!r} + str({gpus})"}
        return {"gpu": gpus, **({"gpu_model": repr(model)} if model else {})}


def load(file: Path = FILE, environ: Mapping[str, str] = os.environ) -> Site:
    """The values of the environment and of the file, if there is one.

    Raises `InputError` for an unknown key or a value of another shape.
    """
    values = _read(file)
    sources = {key: str(file) for key in values}
    for key in SHAPES:
        if given := environ.get(f"MULTICAL_{key.upper()}"):
            values[key], sources[key] = given, f"environment: MULTICAL_{key.upper()}"
    for key, value in values.items():
        if not (isinstance(value, str) and re.fullmatch(SHAPES[key], value)):
            raise InputError(
                f"{sources[key]}: {key}: found {value!r}, expected a match of {SHAPES[key]}"
            )
    return Site(**values)


def config(command: Sequence[str]) -> Data:
    """The config with what a Snakemake command line adds; empty where it cannot be read.

    Nothing in it is checked, since the Snakefile does that.
    """
    try:
        return files.read(command)
    except InputError:
        return {}


def training_gpus(config: Data) -> int | str:
    """The GPUs of a training: 1, or an expression of the job's `wildcards` for Snakemake.

    They are the `processes` of the study's `training.scale`.
    """
    try:
        studies = config["studies"]
        scales = {root: (one.get("training") or {}).get("scale") for root, one in studies.items()}
        found = {root: int((scale or {}).get("processes", 1)) for root, scale in scales.items()}
    except WRONG:
        return 1
    # pairs, as Snakemake 9.27 takes braces in a run time for its own
    several = [(root, number) for root, number in sorted(found.items()) if number > 1]
    return f"dict({several!r}).get(wildcards.root, 1)" if several else 1


def billions(config: Data) -> int | str:
    """The weights of a job's model, in billions: 0, or an expression of its `wildcards`.

    0 for a model of less than one, and where `models.*.parameters` does not say. A run's id
    begins with its model's.
    """
    try:
        models = config["models"]
        sizes = {name: int(one.get("parameters") or 0) / 1e9 for name, one in models.items()}
    except WRONG:
        return 0
    large = [(f"{name}.", round(size, 2)) for name, size in sorted(sizes.items()) if size >= 1]
    if not large:
        return 0
    own = f"for name, size in {large!r} if (wildcards.run + '.').startswith(name)"
    return f"max((size {own}), default=0)"


def scoring_memory(config: Data) -> int | str:
    """MB for a billion weights that a job reads: 5000, or an expression of its `wildcards`.

    Half of it in studies whose models are loaded in 4 bits: experts are read whole before they
    are quantized, in 2 bytes a weight, all else weight by weight.
    """
    try:
        studies = config["studies"]
        found = {root: (one.get("scoring") or {}) for root, one in studies.items()}
        roots = sorted(root for root, one in found.items() if one.get("quantization") == "nf4")
    except WRONG:
        return 5000
    return f"(2500 if wildcards.root in {roots!r} else 5000)" if roots else 5000


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        # all values as they are written: an account may be 007
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: not readable as YAML: {error}") from error
    if not isinstance(values, dict) or (unknown := sorted(map(str, values.keys() - SHAPES))):
        found = unknown if isinstance(values, dict) else type(values).__name__
        raise InputError(f"{file}: found {found}, expected the keys {list(SHAPES)}")
    return {key: value for key, value in values.items() if value}
