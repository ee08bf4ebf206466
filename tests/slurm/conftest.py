"""The cluster for the tests of this folder, started before them and stopped after them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import lab


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--study", default="smoke", help="of results/, to compare with a local run")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A running cluster; tests are skipped where there can be none, but not in CI."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    # What a shell runs in the background ignores Ctrl-C, and so would the drivers of tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
        for name in ("slurm.conf", "slurmdbd.conf", "gres.conf", "cgroup.conf"):
            assert not Path("/etc/slurm", name).exists()


#: Sourced by each bash of a job: it goes on in a network of its own, without even loopback.
CUT = """\
if [ -n "$SLURM_JOB_ID" ] && [ -z "$NETWORK_CUT" ] && [ -n "$BASH_EXECUTION_STRING" ]; then
    export NETWORK_CUT=1
    exec unshare --net bash -c ': </dev/tcp/127.0.0.1/80; eval "$0"' "$BASH_EXECUTION_STRING"
fi
"""


@pytest.fixture(scope="session")
def undisturbed(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The study made without a fault, on compute nodes without any network."""
    folder = lab.make_study(tmp_path_factory.mktemp("undisturbed"))
    (folder / "cut.sh").write_text(CUT)
    lab.Driver(folder, BASH_ENV=str(folder / "cut.sh")).finish()
    for rule in ("train_sft", "score_run"):
        assert "connect: Network is unreachable" in lab.job_logs(folder, rule)[0]
    assert not lab.resumed_from(folder)
    return lab.digest(folder)


@pytest.fixture
def study(cluster: None, tmp_path: Path) -> Iterator[Path]:
    """A clone with the study, nothing made yet; none of its jobs outlives the test."""
    yield lab.make_study(tmp_path)
    for number in lab.jobs(tmp_path):
        lab.slurm("scancel", number)
