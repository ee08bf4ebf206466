"""Snapshots of code and config at the start of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from multical.claims import schema as claims_schema
from multical.config import schema
from multical.config.schema import Config
from multical.dag import snapshots
from multical.provenance import fingerprint
from support import checkout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of snapshots, beside a copy of some scripts of which one is broken."""
    scripts = tmp_path / "scripts"
    shutil.copytree(fingerprint.SCRIPTS / "multical", scripts / "multical")
    shutil.copy(fingerprint.SCRIPTS / "plot_coverage.py", scripts)
    (scripts / "broken.py").write_text("def", encoding="utf-8")
    (scripts / "foreign.py").write_text("import nothing_known", encoding="utf-8")
    monkeypatch.setattr(fingerprint, "SCRIPTS", scripts)
    monkeypatch.setattr(snapshots, "FOLDER", tmp_path / "snapshots")
    cached = (fingerprint.fingerprint, fingerprint._files)
    for function in cached:
        function.cache_clear()
    yield tmp_path / "snapshots"
    for function in cached:
        function.cache_clear()


def read(**changed: object) -> Config:
    raw = checkout.config()
    return schema.load(raw | changed)


def test_a_snapshot_comes_back_as_it_was_and_is_kept_once(folder: Path) -> None:
    said = claims_schema.load(checkout.REPO / "claims.yaml")
    snapshots.record(read(), said)
    snapshots.record(read(keep_checkpoints=False), said)
    first, second = snapshots.load_all()[::-1]
    assert first.programs == {"plot_coverage": fingerprint.fingerprint("plot_coverage")}
    assert second.code == first.code == snapshots.code(set(first.code.files))
    assert schema.load(first.settings["config.yaml"]) == read()
    assert not second.settings["config.yaml"]["keep_checkpoints"]
    assert first.code.lock == fingerprint.read_lock(fingerprint.LOCK)

    for file in folder.iterdir():
        os.utime(file, (0, 0))
    snapshots.record(read(), said)
    assert len(list(folder.iterdir())) == 2
    assert snapshots.load_all()[0] == first  # the one that was in use last


def test_the_oldest_snapshots_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "KEPT", 1)
    said = claims_schema.load(checkout.REPO / "claims.yaml")
    snapshots.record(read(), said)
    for file in folder.iterdir():
        os.utime(file, (0, 0))
    snapshots.record(read(keep_checkpoints=False), said)
    (left,) = snapshots.load_all()
    assert not left.settings["config.yaml"]["keep_checkpoints"]


@pytest.mark.parametrize("text", ["", "[]", '{"settings": {}}', '{"code": {"files": {"a": [1]}}}'])
def test_a_torn_snapshot_is_left_out(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "torn.json").write_text(text, encoding="utf-8")
    assert snapshots.load_all() == []
