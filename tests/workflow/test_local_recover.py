"""`make recover` after a SIGKILL of Snakemake on a computer without a cluster.

The training that it ran goes on, as it does where a terminal's Snakemake runs out of memory. The
same with a cluster: tests/slurm/test_killed_driver.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lab

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

#: As make starts Snakemake, but for what runs again by itself
COMMAND = [lab.SNAKEMAKE, "--cores", "1", "--logger", "study", "--", lab.MANIFEST]


class Study:
    """A study whose Snakemake was killed, its training held after the first checkpoint."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder = lab.make_study(folder, steps)
        (folder / "bin").mkdir()
        (folder / "bin/squeue").write_text("#!/bin/sh\n")  # in place of that of this computer
        (folder / "bin/squeue").chmod(0o755)
        self.path = f"{folder / 'bin'}:{os.environ['PATH']}"
        with open(folder / "snakemake.log", "w") as log:
            snakemake = subprocess.Popen(
                COMMAND, cwd=folder, env=lab.environ() | {"PYTHONPATH": "tools"}, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        lab.wait_for(lambda: lab.steps_saved(folder) or snakemake.poll() is not None, every=0.05)
        (self.training,) = lab.programs(folder, "train_sft")
        self.training.suspend()
        snakemake.send_signal(signal.SIGKILL)
        snakemake.wait()

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.folder, env=os.environ | {"PATH": self.path}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def recover(self, *arguments: str) -> str:
        """What `make recover` says once the training is let go; it must succeed."""
        program = self.start(sys.executable, "tools/recover.py", *arguments)
        assert program.stdout
        told = program.stdout.readline()
        assert told.startswith(f"recover: left behind: process {self.training.pid} on "), told
        self.training.resume()
        said, _ = program.communicate(timeout=lab.PATIENCE)
        assert program.returncode == 0, said
        self.training.wait(lab.PATIENCE)  # it frees its locks a moment before it ends
        return said

    def made(self) -> dict[str, bytes]:
        """All of the run but the time that it took."""
        folder = (self.folder / lab.MANIFEST).parent
        return {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file() and file.name != "usage.json"
        }

    def log(self) -> str:
        return (self.folder / f"logs/{lab.ROOT}/train_sft/{lab.RUN}.log").read_text()

    def end(self) -> None:
        for process in lab.programs(self.folder, "train_sft"):
            process.kill()


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = [Study(tmp_path_factory.mktemp(name), steps=40) for name in ("waits", "cancels")]
    yield dict(zip(("waits", "cancels"), found, strict=True))
    for study in found:
        study.end()


def test_a_training_left_behind_keeps_others_out(studies: dict[str, Study]) -> None:
    """Even after `--unlock`."""
    study = studies["waits"]
    scratch = study.folder / lab.SCRATCH
    before = sorted(scratch.rglob("*"))
    plain = [word for word in COMMAND if word not in ("--logger", "study")]
    for command, status in (([*plain[:1], "--unlock", *plain[1:]], 0), (plain, 1)):
        process = study.start(*command)
        said, _ = process.communicate(timeout=lab.PATIENCE)
        assert process.returncode == status, said
    assert f"process {study.training.pid} on " in study.log()
    assert study.log().count("error: ") == 1
    assert sorted(scratch.rglob("*")) == before


def test_it_waits_for_the_training_or_ends_it(studies: dict[str, Study]) -> None:
    """One that goes on from a checkpoint makes the same as one that nothing disturbed."""
    waits, cancels = studies["waits"], studies["cancels"]
    said = waits.recover()
    assert f"finished meanwhile, accepted: {lab.MANIFEST}" in said
    assert "Nothing to be done" in said
    said = cancels.recover("--cancel")
    assert "accepted" not in said
    assert f"goes on from checkpoint-{lab.SAVE_EVERY}" in cancels.log()
    assert len(waits.made()) > 5
    assert waits.made() == cancels.made()
    for study in (waits, cancels):
        assert list((study.folder / lab.SCRATCH).iterdir()) == []
        assert not list((study.folder / ".snakemake/drivers").iterdir())
