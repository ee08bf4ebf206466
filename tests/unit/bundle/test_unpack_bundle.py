"""What is here already when a bundle is unpacked; and what a bundle leaves out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import unpack_bundle
from multical.bundle import unbundling
from multical.bundle.archive import Bundle, Entry, Restore
from multical.bundle.unbundling import Plan
from multical.errors import InputError
from multical.params import validated
from multical.patches.snakemake import write_records
from multical.provenance import hosts
from support.bundles import CONTENTS, FIGURE, KNOWN, RECORD, THEN, entry, restore

HUB = "results/inputs/benchmarks/mmlu.parquet"
LOG = "logs/results/tiny/plot.log"


def manifest(files: dict[str, bytes] = CONTENTS, **changed: Any) -> Bundle:
    """What a bundle of some files says of itself."""
    said = Restore.model_validate(restore(**changed))
    return Bundle(said, {name: entry(content) for name, content in files.items()})


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


def put(said: Bundle, unpacked: Path, overwrite: bool = False) -> list[str]:
    """Put a bundle's files into place; the names of those that were not here."""
    staged: list[str] = []

    def prepare(folder: Path) -> Plan:
        shutil.copytree(unpacked, folder, dirs_exist_ok=True)
        times = dict(unpack_bundle.earlier_inputs(said))
        staged.extend(unpack_bundle.staged(said, folder, overwrite))
        return Plan(bundle="x.zip", times=times, entries={}, records={}, again=[], machines=[])

    unbundling.unbundle(prepare)
    return staged


def test_files_have_the_time_at_which_their_job_had_ended(unpacked: Path) -> None:
    assert put(manifest(), unpacked) == list(CONTENTS)
    for name, content in CONTENTS.items():
        assert Path(name).read_bytes() == content
        assert Path(name).stat().st_mtime == THEN


def test_what_is_here_with_the_same_content_stays(unpacked: Path) -> None:
    mine = here(FIGURE, b"figure")
    made = mine.stat()
    assert put(manifest(), unpacked) == [RECORD]
    assert (mine.stat().st_ino, mine.stat().st_mtime) == (made.st_ino, made.st_mtime)


def test_a_log_here_stays_unless_told(unpacked: Path) -> None:
    log, said = here(LOG, b"mine"), manifest(CONTENTS | {LOG: b"theirs"})
    assert list(unpack_bundle.differing(said)) == []
    put(said, unpacked)
    assert log.read_bytes() == b"mine"
    put(said, unpacked, overwrite=True)
    assert log.read_bytes() == b"theirs"


def test_data_that_were_fetched_here_are_no_newer_than_what_is_made_of_them(unpacked: Path) -> None:
    same, other = here(HUB, b"questions"), here(HUB.replace("mmlu", "other"), b"mine")
    later = other.stat().st_mtime
    left_out: dict[str, Entry | None] = {
        HUB: entry(b"questions"),
        str(other): entry(b"theirs"),
        "results/inputs/models/m/checkpoint": None,
    }
    put(manifest(left_out=left_out), unpacked)
    assert same.stat().st_mtime == THEN
    assert other.stat().st_mtime == later


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in KNOWN.items() if name != key}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({RECORD: KNOWN | {"params": 3}}, f"records.{RECORD}.params: found 3, expected: "),
        ({RECORD: KNOWN | {"params": [["a"]]}}, f"records.{RECORD}.params.0: "),
        ({RECORD: KNOWN | {"endtime": None}}, f"records.{RECORD}.endtime: found None, expected: "),
        ({RECORD: KNOWN | {"endtime": 1e300}}, f"records.{RECORD}.endtime: found 1e\\+300, "),
        ({RECORD: without("starttime")}, f"records.{RECORD}: missing keys"),
        ({"logs/x": KNOWN}, "records.logs/x.*: found 'logs/x', expected: a path below results/"),
        ({"/etc/x": KNOWN}, "records./etc/x.*: found '/etc/x', expected: a path below results/"),
    ],
)
def test_other_records_are_refused(value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^x.zip: {sentence}"):
        validated(Restore, restore(records=value), "x.zip")


def test_what_is_known_here_stays_unless_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snakemake.persistence.file import FilePersistence

    monkeypatch.chdir(tmp_path)
    write_records({RECORD: KNOWN, FIGURE: KNOWN | {"rule": "plot"}}, again=set())
    later = {RECORD: KNOWN | {"rule": "later"}}
    write_records(later, again=set())
    assert FilePersistence(nolock=True)._read_record(RECORD).rule == "score_run"
    write_records(later, again={RECORD})
    memory = FilePersistence(nolock=True)
    assert memory._read_record(RECORD).rule == "later"
    assert memory._read_record(FIGURE).params == ["'then'"]


def test_machines_are_those_of_their_jobs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    hosts.FILE.write_text('{"since": 1.0, "machine": {"cpu": "mine"}}\n', encoding="utf-8")
    given: dict[str, Any] = {"machine": {"cpu": "fast", "cpus": 2}, "starts": [2.125, 3.0]}
    for _ in range(2):
        hosts.note([given])
    assert [hosts.at(moment) for moment in (0.5, 2.0, 2.125, 3.0, 3.5)] == [
        None, {"cpu": "mine"}, given["machine"], given["machine"], {"cpu": "mine"},
    ]  # fmt: skip
    assert len(hosts.FILE.read_text(encoding="utf-8").splitlines()) == 2
