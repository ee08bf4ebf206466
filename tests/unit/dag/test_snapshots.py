"""What is kept of code and config at the start of a run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from multical.claims import schema as claims_schema
from multical.config import schema
from multical.config.schema import Config
from multical.dag import snapshots
from multical.provenance import fingerprint
from support import checkout


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of states, beside a copy of some scripts of which one is broken."""
    scripts = tmp_path / "scripts"
    shutil.copytree(fingerprint.SCRIPTS / "multical", scripts / "multical")
    shutil.copy(fingerprint.SCRIPTS / "show_plan.py", scripts)
    (scripts / "broken.py").write_text("def", encoding="utf-8")
    (scripts / "foreign.py").write_text("import nothing_known", encoding="utf-8")
    monkeypatch.setattr(fingerprint, "SCRIPTS", scripts)
    monkeypatch.setattr(snapshots, "FOLDER", tmp_path / "states")
    fingerprint.fingerprint.cache_clear()
    return tmp_path / "states"


def read(**changed: object) -> Config:
    raw = checkout.config()
    return schema.load(raw | changed)


def test_a_state_comes_back_as_it_was_and_is_kept_once(kept: Path) -> None:
    said = claims_schema.load(checkout.REPO / "claims.yaml")
    snapshots.record(read(), said)
    snapshots.record(read(keep_checkpoints=False), said)
    first, second = snapshots.found()[::-1]
    assert first.programs == {"show_plan": fingerprint.fingerprint("show_plan")}
    assert second.code == first.code == snapshots.code(set(first.code.files))
    assert schema.load(first.settings["config.yaml"]) == read()
    assert not second.settings["config.yaml"]["keep_checkpoints"]
    assert first.code.lock == fingerprint.read_lock(fingerprint.LOCK)

    for file in kept.iterdir():
        os.utime(file, (0, 0))
    snapshots.record(read(), said)
    assert len(list(kept.iterdir())) == 2
    assert snapshots.found()[0] == first  # the one that was in use last


def test_the_oldest_states_go(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "KEPT", 1)
    said = claims_schema.load(checkout.REPO / "claims.yaml")
    snapshots.record(read(), said)
    for file in kept.iterdir():
        os.utime(file, (0, 0))
    snapshots.record(read(keep_checkpoints=False), said)
    (left,) = snapshots.found()
    assert not left.settings["config.yaml"]["keep_checkpoints"]


@pytest.mark.parametrize("text", ["", "[]", '{"settings": {}}', '{"code": {"files": {"a": [1]}}}'])
def test_a_torn_state_is_left_out(kept: Path, text: str) -> None:
    kept.mkdir()
    (kept / "torn.json").write_text(text, encoding="utf-8")
    assert snapshots.found() == []
