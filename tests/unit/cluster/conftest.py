"""The folder that the checks of `make doctor` look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.doctor_house import healthy_clone
from support.fake_slurm import Slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """A clone of multical on a healthy cluster; the test runs in it."""
    return healthy_clone(tmp_path, monkeypatch)
