"""What is remembered of the files of a bundle, taken into this folder's own memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multical.bundle.archive import Manifest
from multical.errors import InputError
from multical.params import (
    Strict,
    validated,
)

Records = dict[str, Any]  # of Snakemake's MetadataRecord, by output


class Machine(Strict):
    """A machine, and when its local jobs started."""

    machine: dict[str, Any]
    starts: list[float]


def machines(path: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """The machines of a bundle. Raises `InputError` for anything else."""
    name = f"{manifest.own}/{path.name}"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: not readable as JSON ({error})") from error
    if not isinstance(raw, list):
        raise InputError(f"{name}: found no list, expected the machines of jobs")
    return [validated(Machine, one, name).model_dump() for one in raw]


def read(path: Path, manifest: Manifest) -> Records:
    """What Snakemake remembers, by file. Raises `InputError` for anything else."""
    from pydantic import ValidationError
    from snakemake.persistence import MetadataRecord

    name = f"{manifest.own}/{path.name}"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        records = {output: MetadataRecord.model_validate(record) for output, record in raw.items()}
    except (OSError, ValueError, RecursionError, AttributeError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: not what Snakemake remembers of files ({reason})") from error
    for output in records:
        if not output.startswith((f"{manifest.study}/", "results/inputs/")):
            raise InputError(f"{name}: {output!r}: expected a file of {manifest.study}")
    return records


def write(records: Records, again: set[str]) -> None:
    """Have Snakemake remember them, but for what it knows already, unless that is made `again`."""
    from multical.patches.snakemake import write_records

    write_records(records, again)
