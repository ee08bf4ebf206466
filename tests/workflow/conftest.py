"""Fixtures that the workflow's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import checkout


@pytest.fixture(scope="session")
def smoke() -> Path:
    """The repository with its smoke study made."""
    checkout.make()
    return checkout.REPO
