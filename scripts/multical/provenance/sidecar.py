"""The sidecar beside each figure, table and checkpoint, which says how it was made.

A sidecar may be part of a double-blind submission, so it holds no host name, no user name and no
absolute path.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from multical import files
from multical.errors import InputError
from multical.fixity import Inputs
from multical.params import canonical
from multical.provenance.libraries import libraries
from multical.provenance.machine import machine


def write_sidecar(
    path: str | Path,
    *,
    study: str,
    target: str,
    params: dict[str, Any],
    code: str,
    inputs: Inputs,
    outputs: Iterable[str | Path],
    started: float,
    seed: int | None,
) -> None:
    """Write the JSON sidecar `path` of one product.

    Args:
        study: root of the study's targets, such as `results/demo`.
        target: the product's path, which Snakemake rebuilds.
        params: the canonical parameters of the job; their SHA-256 is written too.
        code: fingerprint of the code that the job ran.
        inputs: the files read; each is listed with its SHA-256 from before.
        outputs: the product's files in all formats; each is listed with its SHA-256.
        started: `time.monotonic()` at the start of the job, for its wall time in seconds.
        seed: seed of the job, None where nothing is random.

    Raises `InputError`, and writes nothing, if an input has changed meanwhile.
    """
    inputs.check()
    document = {
        "study": without_folders(study),
        "target": without_folders(target),
        "rebuild": f"snakemake --cores all {without_folders(target)}",
        "params": without_folders(params),
        "params_sha256": hashlib.sha256(canonical(params).encode()).hexdigest(),
        "code": code,
        "inputs": {relative(name): digest for name, digest in inputs.digests.items()},
        "outputs": {relative(name): files.sha256(name) for name in outputs},
        "seed": seed,
        "wall_seconds": round(time.monotonic() - started, 3),
        "python": platform.python_version(),
        "libraries": libraries(),
        "machine": machine(),
    }
    files.write_json(path, document)


def relative(path: str | Path) -> str:
    """`path` relative to the working folder; outside of that folder, the file's name alone.

    A folder inside, such as `results`, may be a link to another disk.
    """
    here = Path.cwd()
    for absolute in (Path(os.path.normpath(here / path)), Path(path).resolve()):
        if absolute.is_relative_to(here):
            return absolute.relative_to(here).as_posix()
    return Path(path).resolve().name


def without_folders(value: Any) -> Any:
    """A JSON value with each absolute path in it made `relative`."""
    if isinstance(value, dict):
        return {without_folders(k): without_folders(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    if isinstance(value, str) and (Path(value).is_absolute() or value.startswith("~")):
        return relative(Path(value).expanduser())
    return value


def check(path: str | Path) -> None:
    """Raise `InputError` for an output that is gone or changed since the sidecar `path`."""
    try:
        outputs = dict(json.loads(Path(path).read_text(encoding="utf-8"))["outputs"])
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not readable as a sidecar ({error!r})") from error
    for name, then in outputs.items():
        check_output(name, then, path)


def check_output(name: str, then: str, path: str | Path) -> None:
    """Raise `InputError` if an output is gone, or its SHA-256 is not that in the sidecar `path`."""
    if not Path(name).is_file():
        raise InputError(f"{name}: no such file, expected what {path} says was made")
    if (now := files.sha256(name)) != then:
        found = f"found SHA-256 {now}, expected {then} as in {path}"
        raise InputError(f"{name}: changed since it was made: {found}")
