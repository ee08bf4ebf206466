"""What the code and the config were each time that Snakemake ran, to tell later edits by name.

Snakemake remembers of a job its settings and the fingerprint of its code: enough to see that
it is stale, too little to say which key or function was edited. The Snakefile has both kept
here when a run starts: once for each state that differs, in some 100 kB.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multical.claims.schema import Claims, dumped
from multical.config.schema import Config
from multical.errors import InputError
from multical.files import atomic
from multical.params import canonical
from multical.provenance import fingerprint
from multical.provenance.code_parts import Parts, parts

FOLDER = Path(".snakemake/states")
#: At most so many states are kept
KEPT = 200

#: config.yaml and claims.yaml as plain data, by those names
Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Code:
    """Parts of files, by their names below `scripts`, and the lock's versions of libraries."""

    files: dict[str, Parts]
    lock: dict[str, str]


@dataclass(frozen=True)
class State:
    """Settings and code at the start of a run; `programs` has the fingerprint of each."""

    settings: Settings
    programs: dict[str, str]
    code: Code


def settings(config: Config, claims: Claims) -> Settings:
    """Config and claims as they are kept."""
    return {"config.yaml": dumped(config), "claims.yaml": dumped(claims)}


def record(config: Config, claims: Claims) -> None:
    """Keep the state of now, or mark the one that is the same as the newest."""
    programs = dict(_programs())
    used = {file for name in programs for file in fingerprint.modules(name)}
    state = State(settings(config, claims), programs, code(used))
    text = canonical(asdict(state))
    file = FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if file.exists():
        os.utime(file)
        return
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for old in _newest_first()[KEPT:]:
        old.unlink(missing_ok=True)


def _newest_first() -> list[Path]:
    """The files of the states."""
    return sorted(FOLDER.glob("*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)


def _programs() -> Iterator[tuple[str, str]]:
    """The programs and their fingerprints."""
    for file in sorted(fingerprint.SCRIPTS.glob("*.py")):
        try:
            yield file.stem, fingerprint.fingerprint(file.stem)
        except (InputError, SyntaxError):  # no rule's, or Snakemake had not started
            continue


def code(files: set[str]) -> Code:
    """The code of now."""
    found = {name: parts(fingerprint.SCRIPTS / name) for name in sorted(files)}
    return Code(found, fingerprint.read_lock(fingerprint.LOCK))


def found() -> list[State]:
    """The states that are kept, the newest first; one that cannot be read is left out."""
    states = []
    for file in _newest_first():
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
            kept = {
                name: [(part, digest) for part, digest in listed]
                for name, listed in raw["code"]["files"].items()
            }
            code = Code(kept, raw["code"]["lock"])
            states.append(State(raw["settings"], raw["programs"], code))
        except (OSError, ValueError, TypeError, KeyError):  # of another version, or torn
            continue
    return states
