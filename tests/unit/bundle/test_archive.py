"""The archive of a bundle: the same bytes for the same files, and hostile ones refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multical.bundle import archive as archives
from multical.bundle.archive import Manifest
from multical.errors import InputError

RECORD, FIGURE = "results/tiny/records/a/b.parquet", "results/tiny/figures/c.pdf"
CONTENTS: dict[str, Path | bytes] = {RECORD: b"record " * 40_000, FIGURE: b"figure"}


def manifest(contents: dict[str, Path | bytes] = CONTENTS, **changes: Any) -> Manifest:
    files = {name: archives.entry(content, 1_700_000_000) for name, content in contents.items()}
    return Manifest(
        bundle=1, study="results/tiny", anonymous=False, commit="0" * 40, modified=False,
        targets=[FIGURE], files=files, needed={}, left_out={}, **changes,
    )  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.tar.gz"
    archives.write(path, manifest(), CONTENTS)
    return path


def forged(path: Path, *members: tuple[tarfile.TarInfo | str, bytes], **changes: Any) -> Path:
    """An archive with a manifest of `CONTENTS` that is changed, and with any members."""
    said = manifest().model_dump() | changes
    first = ("results/tiny/bundle/manifest.json", json.dumps(said).encode())
    with tarfile.open(path, "w:gz") as archive:
        for member, content in (first, *members):
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def entries(contents: dict[str, bytes]) -> dict[str, Any]:
    return {
        name: archives.entry(content, 1_700_000_000).model_dump()
        for name, content in contents.items()
    }


def refused(path: Path, folder: Path) -> str:
    """Why an archive is refused, in one line."""
    with pytest.raises(InputError) as error:
        archives.unpack(path, folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "inside"
    found.mkdir()
    return found


def test_is_the_same_bytes_and_unpacks_to_the_same_files(bundle: Path, folder: Path) -> None:
    again = bundle.with_name("again.tar.gz")
    archives.write(again, manifest(), dict(reversed(CONTENTS.items())))
    assert again.read_bytes() == bundle.read_bytes()
    assert archives.unpack(bundle, folder) == manifest()
    found = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    assert found == CONTENTS
    with tarfile.open(bundle) as archive:
        members = archive.getmembers()
    assert [one.name for one in members][1:] == sorted(CONTENTS)
    told = {(m.uid, m.gid, m.uname, m.gname, m.mode, m.mtime) for m in members[1:]}
    assert told == {(0, 0, "", "", 0o644, 1_700_000_000)}


def test_a_source_that_changes_meanwhile_is_no_bundle(tmp_path: Path) -> None:
    said = manifest()
    with pytest.raises(InputError, match=f"{FIGURE}: found SHA-256"):
        archives.write(tmp_path / "x.tar.gz", said, CONTENTS | {FIGURE: b"FIGURE"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.5, 0.9, 0.999])
def test_one_that_is_cut_short_is_refused_wherever(bundle: Path, folder: Path, part: float) -> None:
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: int(len(whole) * part)])
    said = refused(bundle, folder)
    assert "cut short or damaged at" in said or "expected the manifest" in said


def test_the_checksum_at_the_end_counts(bundle: Path, folder: Path) -> None:
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-8] + b"\0" * 4 + whole[-4:])
    assert "cut short or damaged at its end" in refused(bundle, folder)


def test_a_damaged_file_is_named(bundle: Path, folder: Path, tmp_path: Path) -> None:
    unpacked = gzip.decompress(bundle.read_bytes()).replace(b"record record", b"record REcord", 1)
    bundle.write_bytes(gzip.compress(unpacked))
    assert refused(bundle, folder).startswith(f"{RECORD}: found SHA-256 ")


def link(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


OUTSIDE = [
    "../escaped", "/etc/cron.d/x", "results/../../escaped", "results/tiny/../../x", "scripts/x.py",
    ".snakemake/metadata/x", "results/tiny/.hidden", "results//x", "results/tiny/", "results/a\nb",
    "results\\..\\x", "C:/results/x", "results/-x", "results", "Results/tiny/x", "results/ñ",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_out_of_place_is_refused(tmp_path: Path, folder: Path, name: str) -> None:
    path = forged(tmp_path / "x.tar.gz", (name, b"x"), files=entries({name: b"x"}))
    assert refused(path, folder).startswith(f"{name!r}: expected a path below results/ or logs/")
    assert list(folder.iterdir()) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["inside", "x.tar.gz"]


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (link(FIGURE, tarfile.SYMTYPE), f"{FIGURE}: no regular file"),
        (link(FIGURE, tarfile.LNKTYPE), f"{FIGURE}: no regular file"),
        (link(FIGURE, tarfile.CHRTYPE), f"{FIGURE}: no regular file"),
        (link(FIGURE, tarfile.FIFOTYPE), f"{FIGURE}: no regular file"),
        (link(FIGURE, tarfile.DIRTYPE), f"{FIGURE}: no regular file"),
        (link("results/tiny/other", tarfile.SYMTYPE), "'results/tiny/other' is not in it"),
        (tarfile.TarInfo("results/tiny/more.pdf"), "'results/tiny/more.pdf' is not in it"),
        (tarfile.TarInfo(FIGURE), f"{FIGURE}: 7 bytes, expected 6 bytes"),
    ],
)
def test_a_member_of_another_kind_is_refused(
    tmp_path: Path, folder: Path, member: tarfile.TarInfo, sentence: str
) -> None:
    path = forged(tmp_path / "x.tar.gz", (member, b"figure!"))
    assert refused(path, folder).startswith(sentence)


Forged = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("forge", "sentence"),
    [
        (lambda path: forged(path, (FIGURE, b"figure")), f"{RECORD}: not in the archive"),
        (
            lambda path: forged(path, (FIGURE, b"figure"), (FIGURE, b"figure")),
            f"{FIGURE!r} is there twice",
        ),
        (
            lambda path: forged(path, files=entries({FIGURE: b"", FIGURE.upper(): b""})),
            "'RESULTS/TINY/FIGURES/C.PDF': expected a path",
        ),
        (
            lambda path: forged(path, files=entries({FIGURE: b"", f"{FIGURE[:-3]}PDF": b""})),
            "results/tiny/figures/c.PDF: beside results/tiny/figures/c.pdf",
        ),
        (
            lambda path: forged(path, files=entries({FIGURE: b"", f"{FIGURE}/x": b""})),
            f"{FIGURE}: a file and a folder",
        ),
        (
            lambda path: forged(path, left_out={"results/../../x": None}),
            "'results/../../x': expected a path below",
        ),
        (lambda path: forged(path, bundle=2), "results/tiny/bundle/manifest.json: bundle: found 2"),
        (lambda path: forged(path, more=1), "results/tiny/bundle/manifest.json: unknown keys"),
        (lambda path: forged(path, study="results/other"), "results/tiny/bundle/manifest.json: is"),
        (lambda path: forged(path, study="../x"), "results/tiny/bundle/manifest.json: study"),
    ],
)  # fmt: skip
def test_an_archive_that_is_not_its_manifest_is_refused(
    tmp_path: Path, folder: Path, forge: Forged, sentence: str
) -> None:
    assert refused(forge(tmp_path / "x.tar.gz"), folder).startswith(sentence)


def test_no_bundle_at_all_is_refused(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "x.tar.gz"
    assert refused(path, folder) == "no such file, expected a bundle"
    path.write_bytes(b"PK\3\4 a zip, say")
    assert "cut short or damaged at its start" in refused(path, folder)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("README"), io.BytesIO())
    assert refused(path, folder) == "found 'README' first, expected the manifest of a bundle"


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = tarfile.TarInfo("results/tiny/huge")
    path = forged(tmp_path / "x.tar.gz", (huge, b"\0" * 10_000_000), files={})
    assert "is not in it" in refused(path, folder)
    monkeypatch.setattr(archives, "MANIFEST", 100_000)  # zeros after the last member
    with open(path, "ab") as stream:
        stream.write(gzip.compress(b"\0" * 10_000_000))
    small = forged(tmp_path / "y.tar.gz", files={})
    with open(small, "ab") as stream:
        stream.write(gzip.compress(b"\0" * 10_000_000))
    assert refused(small, folder) == "unpacked it is larger than its manifest says"
    large = {RECORD: {"bytes": 10**18, "sha256": "0" * 64, "time": 0}}
    path = forged(tmp_path / "z.tar.gz", files=large)
    assert refused(path, folder).startswith(f"unpacked it has {10**18} bytes, found ")
    assert list(folder.iterdir()) == []


def test_a_header_as_large_as_memory_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MANIFEST", 100_000)
    info = tarfile.TarInfo(RECORD)
    info.pax_headers = {"comment": "x" * 10_000_000}
    path = forged(tmp_path / "x.tar.gz", (info, b"record"))
    assert refused(path, folder) == "unpacked it is larger than its manifest says"
