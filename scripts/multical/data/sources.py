"""What the sources of benchmarks, SFT data and models have in common: types of their keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from multical.params import LocalPath, Strict

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Repository = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
Revision = Annotated[
    Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None,
    Field(description="a full commit hash; null where you do not know it: the job then says it"),
]
Split = Annotated[str, Field(pattern=r"^\w+(\.\w+)*$")]
OddRows = Annotated[
    Literal["error", "leave_out"],
    Field(description="rows that are no question or conversation; those left out are counted"),
]


class File(Strict):
    """A local file in the documented schema, .parquet or .jsonl."""

    kind: Literal["file"]
    path: LocalPath
