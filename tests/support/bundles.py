"""A small bundle to write, to damage and to unpack."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from multical.bundle.archive import RESTORE, Entry, Restore
from multical.dag.crate import METADATA

THEN = 1_700_000_000
RECORD, FIGURE = "results/tiny/records/a/b.parquet", "results/tiny/figures/c.pdf"
CONTENTS = {RECORD: b"record " * 40_000, FIGURE: b"figure"}
#: Snakemake's record of an output
KNOWN: dict[str, Any] = {
    "rule": "score_run", "input": [], "log": [], "params": ["'then'"], "starttime": 1.0,
    "endtime": 3.0, "input_checksums": {}, "record_format_version": 6,
}  # fmt: skip


def entry(content: bytes) -> Entry:
    return Entry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), time=THEN)


def restore(**changed: Any) -> dict[str, Any]:
    """What a bundle says of its study."""
    said = Restore(
        version=2, study="results/tiny", anonymous=False, commit="0" * 40, modified=False,
        targets=[FIGURE], needed={}, left_out={}, records={}, machines=[],
    )  # fmt: skip
    return said.model_dump() | changed


def described(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Files as a crate describes them."""
    return [
        {
            "@id": name, "@type": "File", "contentSize": str(len(content)),
            "sha256": hashlib.sha256(content).hexdigest(),
            "dateModified": "2023-11-14T22:13:20+00:00",
        }
        for name, content in files.items()
    ]  # fmt: skip


def sources(
    files: dict[str, bytes] = CONTENTS, more: list[Any] | None = None, **changed: Any
) -> dict[str, bytes]:
    """All of a bundle; the crate describes `more` files than there are."""
    every = files | {RESTORE: json.dumps(restore(**changed)).encode()}
    root = {"@id": "./", "@type": "Dataset", "datePublished": "2023-11-14T22:13:20+00:00"}
    graph = [root, *described(every), *(more or [])]
    return {METADATA: json.dumps({"@graph": graph}).encode(), **every}
