"""What is here already when a bundle is unpacked; and what a bundle leaves out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from test_archive import CONTENTS, FIGURE, manifest

import unpack_bundle
from multical.bundle import archive, contents
from multical.params import canonical

THEN = 1_700_000_000
HUB = "results/inputs/benchmarks/mmlu.parquet"
LOG = "logs/results/tiny/plot.log"


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle's files, beside an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name, content in (CONTENTS | {LOG: b"theirs"}).items():
        file = tmp_path / "unpacked" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(content))
    return tmp_path / "unpacked"


def here(name: str, content: bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_files_have_the_time_at_which_their_job_had_ended(unpacked: Path) -> None:
    unpack_bundle.put(manifest(), unpacked, overwrite=False)
    for name, content in CONTENTS.items():
        assert Path(name).read_bytes() == content
        assert Path(name).stat().st_mtime == THEN


def test_what_is_here_with_the_same_content_stays(unpacked: Path) -> None:
    mine = here(FIGURE, b"figure")
    made = mine.stat()
    unpack_bundle.put(manifest(), unpacked, overwrite=False)
    assert (mine.stat().st_ino, mine.stat().st_mtime) == (made.st_ino, made.st_mtime)


def test_a_log_here_stays_unless_told(unpacked: Path) -> None:
    log, said = here(LOG, b"mine"), manifest(CONTENTS | {LOG: b"theirs"})
    assert list(unpack_bundle.differing(said)) == []
    unpack_bundle.put(said, unpacked, overwrite=False)
    assert log.read_bytes() == b"mine"
    (unpacked / LOG).write_bytes(b"theirs")
    unpack_bundle.put(manifest({LOG: b"theirs"}), unpacked, overwrite=True)
    assert log.read_bytes() == b"theirs"


def test_data_that_were_fetched_here_are_no_newer_than_what_is_made_of_them(unpacked: Path) -> None:
    same, other = here(HUB, b"questions"), here(HUB.replace("mmlu", "other"), b"mine")
    later = other.stat().st_mtime
    left_out = {
        HUB: archive.entry(b"questions", THEN),
        str(other): archive.entry(b"theirs", THEN),
        "results/inputs/models/m/checkpoint": None,
    }
    said = manifest().model_copy(update={"left_out": left_out})
    unpack_bundle.put(said, unpacked, overwrite=False)
    assert same.stat().st_mtime == THEN
    assert other.stat().st_mtime == later


@pytest.mark.parametrize(
    ("name", "settings", "folder", "left_out"),
    [
        ("results/inputs/benchmarks/a.parquet", {"kind": "mmlu_prox", "repo": "a/b"}, False, True),
        ("results/inputs/benchmarks/a.about.json", {"repo": "a/b"}, False, False),
        ("results/inputs/benchmarks/a.names.csv", {"repo": "a/b"}, False, False),
        ("results/inputs/benchmarks/a.parquet", {"kind": "cldr", "seed": 0}, False, False),
        ("results/inputs/models/m/manifest.json", {"kind": "hub", "repo": "a/b"}, False, False),
        ("results/tiny/runs/r/checkpoint", {"run": "r"}, True, True),
        ("results/tiny/records/r/a.parquet", {"run": "r", "benchmark": "a"}, False, False),
    ],
)
def test_weights_and_data_of_the_hub_are_left_out(
    name: str, settings: dict[str, str], folder: bool, left_out: bool
) -> None:
    class File(str):
        is_directory = folder

    job = SimpleNamespace(params=[canonical(settings), "0123456789abcdef"])
    assert contents.is_left_out(job, File(name)) is left_out
