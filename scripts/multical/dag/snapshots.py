"""Snapshots of code and config, which later tell what was edited.

Snakemake records a job's settings and the fingerprint of its code. That is enough to see that the
job is stale, but too little to say which key or function was edited. So the Snakefile records a
snapshot of about 100 kB when a run starts. Runs with the same code and config share one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from multical.claims.schema import Claims, dumped
from multical.config.schema import Config
from multical.errors import InputError
from multical.files import atomic
from multical.params import Strict, canonical
from multical.provenance import fingerprint
from multical.provenance.code_parts import Parts, parts

FOLDER = Path(".snakemake/snapshots")
#: How many snapshots are kept at most
KEPT = 200

#: config.yaml and claims.yaml as plain data, by those names
Settings = dict[str, dict[str, Any]]


class Code(Strict):
    """Parts of files by their paths below `scripts`, and the lock's versions of libraries."""

    files: dict[str, Parts]
    lock: dict[str, str]


class Snapshot(Strict):
    """Settings and code at the start of a run, and the fingerprint of each program."""

    settings: Settings
    programs: dict[str, str]
    code: Code


def settings(config: Config, claims: Claims) -> Settings:
    """Config and claims as a snapshot has them."""
    return {"config.yaml": dumped(config), "claims.yaml": dumped(claims)}


def code(files: Iterable[str]) -> Code:
    """Today's code of some files below `scripts`."""
    by_file = {name: parts(fingerprint.SCRIPTS / name) for name in sorted(files)}
    return Code(files=by_file, lock=fingerprint.read_lock(fingerprint.LOCK))


def record(config: Config, claims: Claims) -> None:
    """Write today's snapshot; one that is there already becomes the newest."""
    programs = dict(_fingerprints())
    used = {file for name in programs for file in fingerprint.modules(name)}
    snapshot = Snapshot(settings=settings(config, claims), programs=programs, code=code(used))
    text = canonical(snapshot.model_dump())
    file = FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if file.exists():
        os.utime(file)
        return
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for old in _newest_first()[KEPT:]:
        old.unlink(missing_ok=True)


def load_all() -> list[Snapshot]:
    """The snapshots, newest first, without those that cannot be read."""
    snapshots = []
    for file in _newest_first():
        try:
            snapshots.append(Snapshot.model_validate_json(file.read_bytes()))
        except (OSError, ValueError):  # of another version, or cut short
            continue
    return snapshots


def _newest_first() -> list[Path]:
    return sorted(FOLDER.glob("*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)


def _fingerprints() -> Iterator[tuple[str, str]]:
    """Each program with its fingerprint, except broken programs."""
    for file in sorted(fingerprint.SCRIPTS.glob("*.py")):
        try:
            yield file.stem, fingerprint.fingerprint(file.stem)
        except (InputError, SyntaxError):
            continue
