"""What tests of data share: a hub on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from multical.data import hub
from support import hub_server
from support.hub_server import Hub


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with hub_server.serve() as served:
        yield served


@pytest.fixture
def served(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub, with nothing in it and a fresh cache; nobody waits."""
    server.repos.clear()
    server.point(monkeypatch, tmp_path / "cache")
    hub.check.cache_clear()
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield server
    server.faults.clear()
