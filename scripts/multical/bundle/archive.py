"""A bundle as a file: a .tar.gz that is the same bytes for the same content, and is checked first.

The manifest is its first member: it has the size and SHA-256 of every other. All members are
regular files below `results/` or `logs/`, of nobody, with the time at which their job had ended.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal, cast

from pydantic import Field, NonNegativeInt

from multical.config.schema import ROOT
from multical.data.sources import Sha256
from multical.errors import InputError
from multical.files import atomic, sha256
from multical.params import (
    Strict,
    validated,
)

#: Where a bundle may write: no name begins with a dot or a hyphen
NAME = re.compile(r"(results|logs)(/[A-Za-z0-9_+][A-Za-z0-9_+.-]*)+")
#: Most bytes of the manifest, and beside content: the tar headers of a member and its padding
MANIFEST, HEADERS = 2**26, 2**12
BLOCK = 2**20
DAMAGED = (tarfile.TarError, EOFError, zlib.error, OSError)


class Entry(Strict):
    """A file of a bundle."""

    bytes: NonNegativeInt
    sha256: Sha256
    time: NonNegativeInt = Field(description="when its job had ended, seconds from 1970")


class Manifest(Strict):
    """What is in a bundle, and what it is of."""

    bundle: Literal[1]
    study: Annotated[str, Field(pattern=ROOT)]
    anonymous: bool
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")] | None = Field(
        description="of the code; null where there is none, or it is not told"
    )
    modified: bool = Field(description="the code had changes that no commit has")
    targets: list[str] = Field(description="what nobody reads but people: figures, tables, ...")
    files: dict[str, Entry]
    needed: dict[str, Sha256 | None] = Field(
        description="files of the repository, or of the user, that the study was made from"
    )
    left_out: dict[str, Entry | None] = Field(
        description="weights (folders, null) and downloaded data"
    )

    @property
    def own(self) -> str:
        """The folder of what is said of the bundle itself."""
        return own_folder(self.study)


def own_folder(study: str) -> str:
    """Where a bundle of a study puts its manifest, README and the like."""
    return f"{study}/bundle"


def entry(source: Path | bytes, time: int) -> Entry:
    """Size and SHA-256 of a content, with its time."""
    if isinstance(source, bytes):
        return Entry(bytes=len(source), sha256=hashlib.sha256(source).hexdigest(), time=time)
    return Entry(bytes=source.stat().st_size, sha256=sha256(source), time=time)


def write(path: Path, manifest: Manifest, sources: Mapping[str, Path | bytes]) -> None:
    """Write the bundle of `sources`, by name, atomically; it is read back before it is there."""
    said = json.dumps(manifest.model_dump(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    with atomic(path) as temporary:
        with (
            open(temporary, "wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            _add(archive, f"{manifest.own}/manifest.json", said.encode(), 0)
            for name in sorted(sources):
                _add(archive, name, sources[name], manifest.files[name].time)
        _extract(temporary, _nowhere)


def _add(archive: tarfile.TarFile, name: str, source: Path | bytes, time: int) -> None:
    member = tarfile.TarInfo(name)
    member.mtime, member.mode = time, 0o644
    if isinstance(source, bytes):
        member.size = len(source)
        archive.addfile(member, io.BytesIO(source))
    else:
        member.size = source.stat().st_size
        with open(source, "rb") as stream:
            archive.addfile(member, stream)


def unpack(path: Path, folder: Path) -> Manifest:
    """Unpack a bundle into an empty folder; all of it has been checked when this returns."""
    manifest = read_manifest(path)
    total, free = sum(one.bytes for one in manifest.files.values()), shutil.disk_usage(folder).free
    if total > free:
        raise InputError(f"{path}: unpacked it has {total} bytes, found {free} free here")

    def opened(name: str) -> IO[bytes]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        return open(folder / name, "xb")

    _extract(path, opened)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """The manifest of a bundle, itself checked; nothing is known of the other members yet."""
    with _archive(path, MANIFEST) as (archive, stream):
        return _manifest(path, archive, stream)


def _extract(path: Path, opened: Callable[[str], IO[bytes]]) -> None:
    """Write each file of a bundle into what `opened` gives for its name.

    Raises `InputError`, which names the bad file, for an archive that is cut short or damaged,
    a member that is no regular file, is not in the manifest or is there twice, a name that
    leaves the folders of a bundle, and any other size or SHA-256 than the manifest has.
    """
    manifest = read_manifest(path)
    missing = dict(manifest.files)
    size = sum(one.bytes + HEADERS for one in manifest.files.values())
    with _archive(path, MANIFEST + size) as (archive, stream):
        _manifest(path, archive, stream)
        for member in iter(archive.next, None):
            stream.member = member.name
            expected = missing.pop(member.name, None)
            if expected is None:
                twice = "is there twice" if member.name in manifest.files else "is not in it"
                raise InputError(f"{path}: {member.name!r} {twice}, expected the manifest's files")
            if not member.isreg() or member.size != expected.bytes:
                found = f"{member.size} bytes" if member.isreg() else "no regular file"
                raise InputError(f"{path}: {member.name}: {found}, expected {expected.bytes} bytes")
            digest = _copied(cast(IO[bytes], archive.extractfile(member)), opened(member.name))
            if digest != expected.sha256:
                found = f"found SHA-256 {digest}, expected {expected.sha256}"
                raise InputError(f"{path}: {member.name}: {found}")
        stream.member = "its end"
        while stream.read(BLOCK):  # the checksum of gzip is there
            pass
    if missing:
        raise InputError(f"{path}: {min(missing)}: not in the archive, but in its manifest")


def _nowhere(name: str) -> IO[bytes]:
    return open(os.devnull, "wb")


def _copied(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream, and give the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with target:
        while chunk := source.read(BLOCK):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


@contextmanager
def _archive(path: Path, limit: int) -> Iterator[tuple[tarfile.TarFile, _Limited]]:
    """A bundle of at most so many bytes when unpacked, as members and as the stream of them."""
    stream = None
    try:
        with gzip.open(path) as packed:
            stream = _Limited(cast(IO[bytes], packed), path, limit)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                yield archive, stream
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file, expected a bundle") from error
    except DAMAGED as error:
        place = stream.member if stream else "its start"
        raise InputError(f"{path}: cut short or damaged at {place} ({error})") from error


class _Limited(io.RawIOBase):
    """A stream that refuses to be longer than it may be, as a bomb would."""

    def __init__(self, stream: IO[bytes], path: Path, limit: int) -> None:
        self.stream, self.path, self.left = stream, path, limit
        self.member = "its start"  # where the reader is, for errors

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(BLOCK if size < 0 else min(size, BLOCK))
        self.left -= len(content)
        if self.left < 0:
            raise InputError(f"{self.path}: unpacked it is larger than its manifest says")
        return content


def _manifest(path: Path, archive: tarfile.TarFile, stream: _Limited) -> Manifest:
    """The first member, as the manifest."""
    member = archive.next()
    name = "" if member is None else member.name
    if member is None or not member.isreg() or not name.endswith("/bundle/manifest.json"):
        raise InputError(f"{path}: found {name!r} first, expected the manifest of a bundle")
    stream.member = name
    text = cast(IO[bytes], archive.extractfile(member)).read()
    try:
        manifest = validated(Manifest, json.loads(text), f"{path}: {name}")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {name}: not readable as JSON ({error})") from error
    if name != f"{manifest.own}/manifest.json":
        raise InputError(f"{path}: {name}: is of {manifest.study}, expected that in its name")
    _check_names(path, [*manifest.files, *manifest.left_out])
    return manifest


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Raise `InputError` for a name out of place, or one that other file systems confuse."""
    seen: dict[str, str] = {}
    for name in names:
        if not NAME.fullmatch(name):
            raise InputError(f"{path}: {name!r}: expected a path below results/ or logs/")
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise InputError(f"{path}: {name}: beside {other}, expected names that differ by more")
    for name in names:
        for parent in map(str, PurePosixPath(name).parents):
            if parent.casefold() in seen:
                raise InputError(f"{path}: {parent}: a file and a folder, expected one of them")
