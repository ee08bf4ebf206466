"""The cluster for the tests of this folder, started before them and stopped after them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import lab


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A running cluster; tests are skipped where there can be none, but not in CI."""
    found_up = lab.STATE.joinpath("run/slurmctld.pid").exists()
    up = lab.script("up.sh")
    if up.returncode:
        why = f"no SLURM cluster can be started here: {up.stderr.strip().splitlines()[-1]}"
        if "CI" in os.environ:
            pytest.fail(f"{why}\n{up.stdout}{up.stderr}")
        pytest.skip(why)
    yield
    if not found_up:  # else it is someone's at work on these tests
        down = lab.script("down.sh", "--purge")
        assert down.returncode == 0, down.stdout + down.stderr
        assert not list(Path("/etc/slurm").glob("*.conf"))


@pytest.fixture
def study(cluster: None, tmp_path: Path) -> Iterator[Path]:
    """A clone with the study, nothing made yet; none of its jobs outlives the test."""
    yield lab.make_study(tmp_path)
    for number in lab.jobs(tmp_path):
        lab.slurm("scancel", number)
