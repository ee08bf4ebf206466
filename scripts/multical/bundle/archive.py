"""A bundle as a file: a zip of an RO-Crate. The same content gives the same bytes.

`ro-crate-metadata.json` has the size and SHA-256 of every other file, and the time at which its
job ended. Only files below `results/` and `logs/` are ever unpacked. The rest (code, README,
`restore.json`) is for the reader.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from pydantic import AwareDatetime, BaseModel, Field, NonNegativeInt

from multical.config.schema import ROOT
from multical.dag.crate import METADATA
from multical.data.sources import Sha256
from multical.errors import InputError
from multical.files import atomic
from multical.params import Strict, matching, validated

RESTORE = "restore.json"
#: Where a bundle may write
UNPACKED = ("results/", "logs/")
#: No part of a name begins with a dot or a hyphen
NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+.-]*(/[A-Za-z0-9_+][A-Za-z0-9_+.-]*)*")
#: The most bytes of a file that is read into memory
LARGEST = 2**28
#: A later time is absurd, and file systems would cut it: the end of 2099, in seconds from 1970
LATEST = 4_102_444_799
DAMAGED = (BadZipFile, EOFError, zlib.error, OSError, NotImplementedError, RuntimeError)


class Entry(Strict):
    """Size, digest and time of a file."""

    bytes: NonNegativeInt
    sha256: Sha256
    time: int = Field(ge=0, le=LATEST, description="when its job ended, seconds from 1970")


Moment = Annotated[float, Field(ge=0, le=LATEST)]
Output = Annotated[str, matching("^results/", "a path below results/")]


class Record(Strict):
    """Snakemake's record of an output, which each later start compares with the config and files.

    Its fields are those of `snakemake.persistence.MetadataRecord`.
    """

    rule: str
    input: list[str]
    log: list[str]
    params: list[str]
    starttime: Moment = Field(description="seconds from 1970")
    endtime: Moment
    input_checksums: dict[str, str]
    record_format_version: int
    shellcmd: str | None = None
    code: str | None = None
    conda_env: str | None = None
    container_img_url: str | None = None
    software_stack_hash: str | None = None
    incomplete: bool | None = None
    job_hash: None = Field(default=None, description="of one run alone")
    external_jobid: None = None


class Machine(Strict):
    """A machine, and when its local jobs started."""

    machine: dict[str, Any]
    starts: list[float]


class Restore(Strict):
    """Which study a bundle holds, and the records of Snakemake that make it up to date."""

    version: Literal[2]
    study: Annotated[str, Field(pattern=ROOT)]
    anonymous: bool
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")] | None = Field(
        description="of the code; null if there is none, or the bundle is anonymous"
    )
    modified: bool = Field(description="whether the code had uncommitted changes")
    targets: list[str] = Field(description="files that no job reads: figures, tables, ...")
    needed: dict[str, Sha256 | None] = Field(
        description="files of the repository, or of the user, that the study was made from"
    )
    left_out: dict[str, Entry | None] = Field(
        description="weights (folders, so null) and downloaded data"
    )
    records: dict[Output, Record] = Field(description="Snakemake's records, by output")
    machines: list[Machine] = Field(description="where local jobs ran")


@dataclass(frozen=True)
class Bundle:
    """What a bundle says of itself; `files` are the files to unpack."""

    restore: Restore
    files: dict[str, Entry]


class _File(BaseModel):
    """A file as the crate describes it."""

    name: str = Field(alias="@id")
    size: NonNegativeInt = Field(alias="contentSize")
    sha256: Sha256
    modified: AwareDatetime | None = Field(alias="dateModified", default=None)


def about_folder(study: str) -> str:
    """The folder of files about the bundle itself."""
    return f"{study}/bundle"


def write(path: Path, sources: Mapping[str, Path | bytes]) -> None:
    """Write the crate of `sources`, by name, atomically, and check it first."""
    with atomic(path) as temporary:
        with ZipFile(temporary, "w") as archive:
            for name in sorted(sources, key=lambda name: (name != METADATA, name)):
                source = sources[name]
                member = ZipInfo(name)  # dated 1980, so that the bytes are the same each time
                member.compress_type, member.create_system = ZIP_DEFLATED, 3
                member.external_attr = (stat.S_IFREG | 0o644) << 16
                if isinstance(source, bytes):
                    archive.writestr(member, source)
                    continue
                member.file_size = source.stat().st_size
                with open(source, "rb") as stream, archive.open(member, "w") as target:
                    shutil.copyfileobj(stream, target)
        unpack(temporary, None)


def read(path: Path) -> Bundle:
    """What a bundle says of itself. The contents of its files are not checked."""
    with _opened(path) as archive:
        return _read(path, archive)[0]


def unpack(path: Path, folder: Path | None) -> Bundle:
    """Unpack a bundle into an empty folder, or only check it where `folder` is `None`.

    Raises `InputError`, which names the bad file, for an archive that is cut short or damaged,
    a member that is no regular file, is not in the crate or is there twice, a name that is no
    plain relative path, and a size or SHA-256 that differs from the crate's.
    """
    with _opened(path) as archive:
        bundle, entries = _read(path, archive)
        total = sum(entry.bytes for entry in entries.values())
        if folder and total > (free := shutil.disk_usage(folder).free):
            raise InputError(f"{path}: unpacked it has {total} bytes, found {free} free here")
        for name, entry in entries.items():
            file = folder / name if folder and name in bundle.files else Path(os.devnull)
            file.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with archive.open(name) as source, open(file, "wb") as target:
                while chunk := source.read(2**20):
                    digest.update(chunk)
                    target.write(chunk)
            _check_digest(path, name, digest.hexdigest(), entry)
    return bundle


def _check_digest(path: Path, name: str, digest: str, entry: Entry) -> None:
    if digest != entry.sha256:
        found = f"found SHA-256 {digest}, expected {entry.sha256}"
        raise InputError(f"{path}: {name}: {found}")


@contextmanager
def _opened(path: Path) -> Iterator[ZipFile]:
    try:
        with ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file, expected a bundle") from error
    except DAMAGED as error:
        raise InputError(f"{path}: cut short or damaged ({error})") from error


def _read(path: Path, archive: ZipFile) -> tuple[Bundle, dict[str, Entry]]:
    """What a bundle says of itself, and all its files except the crate's metadata."""
    members = {member.filename: member for member in archive.infolist()}
    crate = _json(path, METADATA, _content(path, METADATA, archive, members))
    entries = _entries(path, crate)
    for member in archive.infolist():
        name, entry = member.filename, entries.get(member.filename)
        if members[name] is not member:
            raise InputError(f"{path}: {name!r} is there twice, expected it once")
        if entry is None and name != METADATA:
            raise InputError(f"{path}: {name!r} is not in its crate, expected the crate's files")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise InputError(f"{path}: {name}: no regular file, expected one")
        if entry is not None and member.file_size != entry.bytes:
            found = f"{member.file_size} bytes, expected {entry.bytes}"
            raise InputError(f"{path}: {name}: {found} as its crate says")
    if missing := sorted(entries.keys() - members.keys()):
        raise InputError(f"{path}: {missing[0]}: not in the archive, but in its crate")
    content = _content(path, RESTORE, archive, members)
    _check_digest(path, RESTORE, hashlib.sha256(content).hexdigest(), entries[RESTORE])
    restore = validated(Restore, _json(path, RESTORE, content), f"{path}: {RESTORE}")
    _check_names(path, [*entries, *restore.left_out])
    if wrong := [name for name in restore.left_out if not name.startswith(UNPACKED)]:
        raise InputError(f"{path}: {RESTORE}: {wrong[0]!r}: expected a path below results/")
    files = {name: entry for name, entry in entries.items() if name.startswith(UNPACKED)}
    return Bundle(restore, files), entries


def _content(path: Path, name: str, archive: ZipFile, members: dict[str, ZipInfo]) -> bytes:
    if name not in members:
        raise InputError(f"{path}: no {name} in it, expected a bundle")
    if members[name].file_size > LARGEST:
        size = members[name].file_size
        raise InputError(f"{path}: {name}: {size} bytes, expected at most {LARGEST}")
    return archive.read(name)


def _json(path: Path, name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {name}: not readable as JSON ({error})") from error


def _entries(path: Path, crate: Any) -> dict[str, Entry]:
    """The files of a crate. A file without a time gets the crate's time."""
    try:
        graph = {entity["@id"]: entity for entity in crate["@graph"]}
        published = datetime.fromisoformat(graph["./"]["datePublished"]).timestamp()
        described = [entity for entity in graph.values() if "File" in entity["@type"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: {METADATA}: not an RO-Crate ({error!r})") from error
    place = f"{path}: {METADATA}"
    files = [validated(_File, entity, place) for entity in described]
    return {
        file.name: validated(
            Entry,
            {
                "bytes": file.size,
                "sha256": file.sha256,
                "time": int(file.modified.timestamp() if file.modified else published),
            },
            f"{place}: {file.name}",
        )
        for file in files
    }


def _check_names(path: Path, names: list[str]) -> None:
    """Raise `InputError` for an unsafe name, or names that some file systems take for the same."""
    seen: dict[str, str] = {}
    for name in names:
        if not NAME.fullmatch(name):
            raise InputError(f"{path}: {name!r}: expected a plain relative path")
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise InputError(f"{path}: {name}: beside {other}, expected names that differ by more")
    for name in names:
        for parent in map(str, PurePosixPath(name).parents):
            if parent.casefold() in seen:
                raise InputError(f"{path}: {parent}: a file and a folder, expected one of them")
