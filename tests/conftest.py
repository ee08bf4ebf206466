"""What all tests share."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from support.fork_client import SHARED

# Workers of pytest-xdist keep all cores at work: more threads would only wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of `support.forks`, before there are workers."""
    if SHARED not in os.environ:
        os.environ[SHARED] = tempfile.mkdtemp(prefix="multical-")
        Path(os.environ[SHARED], "owner").write_text(str(os.getpid()))
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(SHARED)))
