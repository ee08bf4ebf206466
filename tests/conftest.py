"""What all tests share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from support.fork_client import SHARED

# What is imported is no garbage, and takes longer with searches for some: until all is collected.
gc.disable()
# Workers of pytest-xdist keep all cores at work: more threads would only wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"
# Programs of tests meet these signals as on a terminal, even if the tests run under nohup or in the
# background, where they are ignored.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


#: Folders by how long their files take
LONGEST = ("paper", "workflow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: at the end they would leave a worker idle."""
    items.sort(key=lambda item: [item.path.parent.name != name for name in LONGEST])


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of collections of garbage.

    Each training asks for one, which otherwise looks through all of PyTorch and takes longer than
    the training of a tiny model. Other collections are rare: at Python's own rate they take up to a
    tenth of the time of a file.
    """
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of `support.forks`, before there are workers."""
    if SHARED not in os.environ:
        os.environ[SHARED] = tempfile.mkdtemp(prefix="multical-")
        Path(os.environ[SHARED], "owner").write_text(str(os.getpid()))
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(SHARED)))
