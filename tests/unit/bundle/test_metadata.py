"""What Snakemake remembers, as a bundle has it: read with care, and not over what is known here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_archive import FIGURE, RECORD, manifest

from multical.bundle import metadata
from multical.errors import InputError
from multical.provenance import hosts

KNOWN = {"rule": "score_run", "params": ["'then'"], "endtime": 3.0, "record_format_version": 6}


def written(folder: Path, value: Any) -> Path:
    path = folder / "snakemake.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([1], "not what Snakemake remembers of files"),
        ({RECORD: 1}, "not what Snakemake remembers of files"),
        ({RECORD: KNOWN | {"params": 3}}, "not what Snakemake remembers of files"),
        ({"results/other/x": KNOWN}, "'results/other/x': expected a file of results/tiny"),
        ({"/etc/x": KNOWN}, "'/etc/x': expected a file of results/tiny"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^results/tiny/bundle/snakemake.json: {sentence}"):
        metadata.read(written(tmp_path, value), manifest())


MACHINE = {"cpu": "fast", "cpus": 2}


def test_machines_are_those_of_their_jobs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    hosts.FILE.write_text('{"since": 1.0, "machine": {"cpu": "mine"}}\n', encoding="utf-8")
    given = [{"machine": MACHINE, "starts": [2.125, 3.0]}]
    found = metadata.machines(written(tmp_path, given), manifest())
    for _ in range(2):
        hosts.note(found)
    assert [hosts.at(moment) for moment in (0.5, 2.0, 2.125, 3.0, 3.5)] == [
        None, {"cpu": "mine"}, MACHINE, MACHINE, {"cpu": "mine"},
    ]  # fmt: skip
    assert len(hosts.FILE.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize("value", [{}, [1], [{"machine": "x", "starts": []}], [{"machine": {}}]])
def test_other_machines_are_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError, match=r"^results/tiny/bundle/snakemake\.json: "):
        metadata.machines(written(tmp_path, value), manifest())


def test_what_is_known_here_stays_unless_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snakemake.persistence.file import FilePersistence

    monkeypatch.chdir(tmp_path)
    given = {RECORD: KNOWN, FIGURE: KNOWN | {"rule": "plot"}}
    records = metadata.read(written(tmp_path, given), manifest())
    metadata.write(records, again=set())
    later = metadata.read(written(tmp_path, {RECORD: KNOWN | {"rule": "later"}}), manifest())
    metadata.write(later, again=set())
    assert FilePersistence(nolock=True)._read_record(RECORD).rule == "score_run"
    metadata.write(later, again={RECORD})
    memory = FilePersistence(nolock=True)
    assert memory._read_record(RECORD).rule == "later"
    assert memory._read_record(FIGURE).params == ["'then'"]
