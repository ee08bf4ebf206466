"""What Snakemake remembers of the files of a bundle, taken into this folder's own memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multical.archives import Manifest
from multical.errors import InputError

Records = dict[str, Any]  # of Snakemake's MetadataRecord, by output


def read(path: Path, manifest: Manifest) -> Records:
    """The records of a bundle, each of a file that it has, or has left out.

    Raises `InputError` for anything else.
    """
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
    from snakemake.persistence.file import FilePersistence

    memory = FilePersistence(nolock=True)
    for output, record in records.items():
        if output in again or memory._read_record(output) is None:
            memory._write_record(output, record)
