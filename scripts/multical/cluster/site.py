"""What slurm/profile.yaml must know of a cluster: account, partitions, QOS, how to request GPUs.

Each value is an environment variable or a key of slurm/site.yaml, which is not committed. The
variable takes precedence. None is needed where the cluster's defaults serve.

    MULTICAL_ACCOUNT      account      as `sacctmgr` lists it; default: the user's own
    MULTICAL_PARTITIONS   partitions   one, or several with commas between: the first that is
                                       free; default: the cluster's default partition
    MULTICAL_QOS          qos          quality of service; default: the user's own
    MULTICAL_GPUS         gpus         gpus (--gpus=1, the default), gpus:MODEL, gres
                                       (--gres=gpu:1), gres:MODEL, or none (CPU only)
    MULTICAL_CPU_PARTITIONS  cpu_partitions   as partitions, for jobs without GPUs: the driver of
                                       `make submit`, and jobs by the next key; default: partitions
    MULTICAL_SUBMIT       submit       what is a job of the cluster: models (the default), what runs
                                       a model; statistics, tables, tests and verdicts too;
                                       figures, and figures
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multical import yaml_files
from multical.config import files
from multical.config.files import Data
from multical.errors import InputError

FILE = Path("slurm/site.yaml")
#: Errors that a malformed config may raise; the Snakefile says what is wrong with it
WRONG = (KeyError, TypeError, AttributeError, ValueError)
#: The pattern of each value, which ends up in sbatch's arguments.
SHAPES = {
    "account": r"\w[\w.-]*",
    "partitions": r"\w[\w.-]*(,\w[\w.-]*)*",
    "qos": r"\w[\w.-]*",
    "gpus": r"none|(gpus|gres)(:[\w.]+)?",
    "cpu_partitions": r"\w[\w.-]*(,\w[\w.-]*)*",
    "submit": "models|statistics|figures",
}
#: The pattern of rules that are jobs too, by `submit`; all other rules run beside Snakemake.
STATISTICS = "compute_.*|bin_reliability|verify_claims"
SUBMITTED = {
    "models": "(?!)",
    "statistics": STATISTICS,
    "figures": f"{STATISTICS}|plot_.*|make_.*_table",
}


@dataclass(frozen=True)
class Site:
    """A cluster's values, checked; `None` leaves the choice to SLURM."""

    account: str | None = None
    partitions: str | None = None
    gpus: str = "gpus"
    qos: str | None = None
    cpu_partitions: str | None = None
    submit: str = "models"

    @property
    def cpu(self) -> str | None:
        """The partitions of jobs without GPUs."""
        return self.cpu_partitions or self.partitions

    def submits(self, rule: str) -> bool:
        """Whether a rule that runs no model is a job of the cluster all the same."""
        return bool(re.fullmatch(SUBMITTED[self.submit], rule))

    def request(self, gpus: int | str) -> dict[str, str | int]:
        """The Snakemake resources that request GPUs; `gpus` is a number or an expression."""
        style, _, model = self.gpus.partition(":")
        if style == "none":
            return {}
        if style == "gres":
            # quoted once more: the executor evaluates it as an expression
            prefix = f"gpu:{model}:" if model else "gpu:"
            if isinstance(gpus, int):
                return {"gres": repr(f"{prefix}{gpus}")}
            return {"gres": f"{prefix!r} + str({gpus})"}
        return {"gpu": gpus, **({"gpu_model": repr(model)} if model else {})}


def load(file: Path = FILE, environ: Mapping[str, str] = os.environ) -> Site:
    """The values of the environment and of the file, if there is one.

    Raises `InputError` for an unknown key or a value of another shape.
    """
    values = _read(file)
    sources = {key: str(file) for key in values}
    for key in SHAPES:
        if value := environ.get(f"MULTICAL_{key.upper()}"):
            values[key], sources[key] = value, f"environment: MULTICAL_{key.upper()}"
    for key, value in values.items():
        if not (isinstance(value, str) and re.fullmatch(SHAPES[key], value)):
            raise InputError(
                f"{sources[key]}: {key}: found {value!r}, expected a match of {SHAPES[key]}"
            )
    if "cpu_partitions" in values and "partitions" not in values:
        raise InputError(
            f"{sources['cpu_partitions']}: cpu_partitions: found no partitions, expected them too"
        )
    return Site(**values)


def config(command: Sequence[str]) -> Data:
    """The config with what a Snakemake command line adds; empty where it cannot be read.

    Its values are not validated, since the Snakefile does that.
    """
    try:
        return files.read(command)
    except InputError:
        return {}


def training_gpus(config: Data) -> int | str:
    """The GPUs of a training: 1, or an expression of the job's `wildcards` for Snakemake.

    A training uses one GPU for each of the `processes` of its study's `training.scale`.
    """
    try:
        studies = config["studies"]
        scales = {root: (raw.get("training") or {}).get("scale") for root, raw in studies.items()}
        counts = {root: int((scale or {}).get("processes", 1)) for root, scale in scales.items()}
    except WRONG:
        return 1
    # pairs, since Snakemake 9.27 would replace braces in a run time
    several = [(root, count) for root, count in sorted(counts.items()) if count > 1]
    return f"dict({several!r}).get(wildcards.root, 1)" if several else 1


def scoring_gpus(config: Data) -> int | str:
    """The GPUs of a scoring: 1, or an expression of the job's `wildcards`, as in `billions`."""
    try:
        counts = {name: int(raw.get("gpus") or 1) for name, raw in config["models"].items()}
    except WRONG:
        return 1
    several = [(f"{name}.", count) for name, count in sorted(counts.items()) if count > 1]
    if not several:
        return 1
    matching = f"for name, count in {several!r} if (wildcards.run + '.').startswith(name)"
    return f"max((count {matching}), default=1)"


def billions(config: Data) -> int | str:
    """The weights of a job's model, in billions: 0, or an expression of its `wildcards`.

    It is 0 for models of less than a billion weights, and where the config has no
    `models.*.parameters`. The expression relies on run ids, which begin with the model's name.
    """
    try:
        models = config["models"]
        sizes = {name: int(raw.get("parameters") or 0) / 1e9 for name, raw in models.items()}
    except WRONG:
        return 0
    large = [(f"{name}.", round(size, 2)) for name, size in sorted(sizes.items()) if size >= 1]
    if not large:
        return 0
    matching = f"for name, size in {large!r} if (wildcards.run + '.').startswith(name)"
    return f"max((size {matching}), default=0)"


def scoring_memory(config: Data) -> int | str:
    """MB for a billion weights that a job reads: 5000, or an expression of its `wildcards`.

    Studies that load models in 4 bits need half of that. A model's experts are read together, in 2
    bytes a weight, before they are quantized; its other tensors are quantized one by one.
    """
    try:
        scorings = {root: raw.get("scoring") or {} for root, raw in config["studies"].items()}
        roots = sorted(root for root, raw in scorings.items() if raw.get("quantization") == "nf4")
    except WRONG:
        return 5000
    return f"(2500 if wildcards.root in {roots!r} else 5000)" if roots else 5000


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    values = yaml_files.read(file, as_texts=True) or {}
    if not isinstance(values, dict) or (unknown := sorted(map(str, values.keys() - SHAPES))):
        found = unknown if isinstance(values, dict) else type(values).__name__
        raise InputError(f"{file}: found {found}, expected the keys {list(SHAPES)}")
    return {key: value for key, value in values.items() if value}
