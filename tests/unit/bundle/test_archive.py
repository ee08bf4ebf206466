"""The archive of a bundle: the same bytes for the same files, and hostile ones refused."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZipFile, ZipInfo

import pytest

from multical.bundle import archive
from multical.bundle.archive import RESTORE
from multical.dag.crate import METADATA
from multical.errors import InputError
from support.bundles import CONTENTS, FIGURE, RECORD, THEN, described, entry, restore, sources


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    archive.write(tmp_path / "bundle.zip", sources())
    return tmp_path / "bundle.zip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


def forged(path: Path, members: dict[str, bytes], *more: tuple[ZipInfo | str, bytes]) -> Path:
    """An archive of any members."""
    with ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for member, content in [*members.items(), *more]:
            made.writestr(member, content)
    return path


def refused(path: Path, folder: Path) -> str:
    """Why an archive is refused, in one line; nothing is left outside of the folder."""
    with pytest.raises(InputError) as error:
        archive.unpack(path, folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert {file.name for file in folder.parent.iterdir()} == {"inside", path.name}
    return str(error.value).removeprefix(f"{path}: ")


def test_is_the_same_bytes_and_unpacks_to_the_same_files(bundle: Path, folder: Path) -> None:
    again = bundle.with_name("again.zip")
    archive.write(again, dict(reversed(sources().items())))
    assert again.read_bytes() == bundle.read_bytes()
    said = archive.unpack(bundle, folder)
    assert said == archive.read(bundle)
    assert said.restore.model_dump() == restore()
    assert said.files == {name: entry(content) for name, content in CONTENTS.items()}
    found = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    assert found == CONTENTS
    with ZipFile(bundle) as members:
        assert members.namelist() == [METADATA, *sorted([*CONTENTS, RESTORE])]


def test_a_source_that_changes_meanwhile_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{FIGURE}: found SHA-256"):
        archive.write(tmp_path / "x.zip", sources() | {FIGURE: b"FIGURE"})
    assert list(tmp_path.iterdir()) == []


def test_what_is_for_the_reader_is_not_unpacked(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "x.zip"
    code = {"scripts/x.py": b"x", "Snakefile": b"x", "Results/tiny/x": b"x"}
    archive.write(path, sources(code))
    assert archive.unpack(path, folder).files == {}
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.5, 0.9, 0.999])
def test_one_that_is_cut_short_is_refused_wherever(bundle: Path, folder: Path, part: float) -> None:
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: int(len(whole) * part)])
    assert "cut short or damaged" in refused(bundle, folder)


@pytest.mark.parametrize("name", [METADATA, RESTORE, RECORD, FIGURE])
def test_a_flipped_bit_is_found(bundle: Path, folder: Path, name: str) -> None:
    whole = bytearray(bundle.read_bytes())
    with ZipFile(bundle) as members:
        info = members.getinfo(name)
    whole[info.header_offset + 30 + len(name) + info.compress_size // 2] ^= 1
    bundle.write_bytes(whole)
    refused(bundle, folder)


@pytest.mark.parametrize("name", [RESTORE, RECORD, FIGURE])
def test_a_changed_file_is_named(tmp_path: Path, folder: Path, name: str) -> None:
    members = sources()
    members[name] = members[name].swapcase()
    path = forged(tmp_path / "x.zip", members)
    assert refused(path, folder).startswith(f"{name}: found SHA-256 ")


OUTSIDE = [
    "../escaped", "/etc/cron.d/x", "results/../../escaped", "results/tiny/../../x",
    ".snakemake/metadata/x", "results/tiny/.hidden", "results//x", "results/a\nb",
    "results\\..\\x", "C:/results/x", "results/-x", "results/ñ",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_out_of_place_is_refused(tmp_path: Path, folder: Path, name: str) -> None:
    path = forged(tmp_path / "x.zip", sources({name: b"x"}))
    assert refused(path, folder).startswith(f"{name!r}: expected a plain relative path")
    assert list(folder.iterdir()) == []


def link(name: str, kind: int) -> ZipInfo:
    info = ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


SMALL = {FIGURE: b"figure"}
Forge = Callable[[Path], Path]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR])
def test_a_member_of_another_kind_is_refused(tmp_path: Path, folder: Path, kind: int) -> None:
    members = sources(SMALL)
    content = members.pop(FIGURE)
    path = forged(tmp_path / "x.zip", members, (link(FIGURE, kind), content))
    assert refused(path, folder) == f"{FIGURE}: no regular file, expected one"


LATE = entry(b"figure").model_dump() | {"time": 10**30}


def without(name: str) -> dict[str, bytes]:
    return {key: value for key, value in sources().items() if key != name}


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (without(RECORD), f"{RECORD}: not in the archive"),
        (without(METADATA), f"no {METADATA} in it, expected a bundle"),
        ({METADATA: b"{}"}, f"{METADATA}: not an RO-Crate"),
        ({METADATA: b"{"}, f"{METADATA}: not readable as JSON"),
        (sources() | {"results/tiny/x": b"x"}, "'results/tiny/x' is not in its crate"),
        (sources() | {FIGURE: b"figure!"}, f"{FIGURE}: 7 bytes, expected 6"),
        (sources(SMALL | {FIGURE.upper(): b""}), f"{FIGURE.upper()}: beside {FIGURE}"),
        (sources(SMALL | {f"{FIGURE}/x": b""}), f"{FIGURE}: a file and a folder"),
        (sources(left_out={"results/../../x": None}), "'results/../../x': expected a plain"),
        (sources(left_out={"scripts/x.py": None}), f"{RESTORE}: 'scripts/x.py': expected a path"),
        (sources(version=3), f"{RESTORE}: version: found 3"),
        (sources(more_keys=1), f"{RESTORE}: unknown keys"),
        (sources(study="../x"), f"{RESTORE}: study"),
        (sources(machines=[{"machine": "x", "starts": []}]), f"{RESTORE}: machines"),
        (sources(more=[{"@id": "x", "@type": "File"}]), f"{METADATA}: "),
        (sources(left_out={FIGURE: LATE}), f"{RESTORE}: left_out.{FIGURE}.time: found 10000"),
        (sources(more=[described({"x": b""})[0] | {"dateModified": "9999-01-01T00:00:00Z"}]),
         f"{METADATA}: x: time: found 253370764800, expected"),
    ],
)  # fmt: skip
def test_an_archive_that_is_not_its_crate_is_refused(
    tmp_path: Path, folder: Path, members: dict[str, bytes], sentence: str
) -> None:
    assert refused(forged(tmp_path / "x.zip", members), folder).startswith(sentence)
    assert list(folder.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path: Path, folder: Path) -> None:
    path = forged(tmp_path / "x.zip", sources(), (FIGURE, b"figure"))
    assert refused(path, folder) == f"{FIGURE!r} is there twice, expected it once"


def test_no_bundle_at_all_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="no such file, expected a bundle"):
        archive.unpack(tmp_path / "x.zip", folder)
    (tmp_path / "x.zip").write_bytes(b"\x1f\x8b a tar.gz, say")
    assert "cut short or damaged" in refused(tmp_path / "x.zip", folder)


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.zip"
    huge: dict[str, Any] = described({RECORD: b""})[0] | {"contentSize": str(10**18)}
    members = sources(SMALL, more=[huge]) | {RECORD: b"\0" * 10_000_000}
    assert refused(forged(path, members), folder).startswith(f"{RECORD}: 10000000 bytes, expected")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    archive.write(path, sources())
    assert "bytes, found 1000 free here" in refused(path, folder)
    monkeypatch.setattr(archive, "LARGEST", 100)
    assert f"{METADATA}: " in refused(path, folder)
    assert list(folder.iterdir()) == []


def test_files_without_a_time_have_that_of_the_crate(tmp_path: Path) -> None:
    content = described({FIGURE: b"figure"})[0]
    del content["dateModified"]
    path = forged(tmp_path / "x.zip", sources({}, more=[content]) | SMALL)
    assert archive.read(path).files[FIGURE].time == THEN
