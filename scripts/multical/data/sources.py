"""Types of the keys that the sources of benchmarks, SFT data and models share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from multical.params import Distinct, LocalPath, Strict, matching

Sha256 = Annotated[str, matching(r"^[0-9a-f]{64}$", "64 hexadecimal digits, in lower case")]
Repository = Annotated[
    str, matching(r"^[\w.-]+/[\w.-]+$", "OWNER/NAME", description="OWNER/NAME on the hub")
]
Commit = Annotated[str, matching(r"^[0-9a-f]{40}$", "40 hexadecimal digits, in lower case")]
Revision = Annotated[
    Commit | None,
    Field(
        description="full hash of the commit; null if you do not know it: the job then fails and "
        "names the newest"
    ),
]
Split = Annotated[
    str,
    matching(
        r"^\w+(\.\w+)*$",
        "a name of letters, digits, underscores and points",
        description="split of the data set on the hub",
    ),
]
OddRows = Annotated[
    Literal["error", "leave_out"],
    Field(
        description="what to do with rows that make no valid question or conversation; the job "
        "counts the rows that it leaves out. Conversations with an empty answer are always left out"
    ),
]
FactKinds = Annotated[
    Distinct[Literal["currency", "language", "country"]],
    Field(min_length=1, description="kinds of facts"),
]
HeldOutTerritories = Annotated[
    float,
    Field(
        gt=0,
        lt=1,
        description="fraction of the territories that the benchmark asks about; the SFT data are "
        "about the others",
    ),
]


class File(Strict):
    """A local .parquet or .jsonl file in the documented schema."""

    kind: Literal["file"]
    path: LocalPath = Field(description="path of the file")
    odd_rows: OddRows = "error"
