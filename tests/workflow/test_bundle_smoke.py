"""The smoke study in a bundle: elsewhere it is current, and all of it can be drawn again."""

from __future__ import annotations

import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from multical.bundle import archive
from multical.bundle.anonymity import Search, names
from support import checkout, forks
from support.checkout import TARGET, snakemake
from support.crates import VALIDATOR, validated
from support.dry_runs import would_run
from support.rerun_edits import BY_NAME, LOSSES, NONE, SFT, SMOKE, Jobs, jobs, without

PAGE = f"{SMOKE}/index.html"
pytestmark = [pytest.mark.workflow, pytest.mark.smoke]


def program(folder: Path, name: str, *arguments: str) -> str:
    done = forks.run(
        [sys.executable, f"tools/{name}.py", *arguments],
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone with the bundle in it."""
    folder = tmp_path_factory.mktemp("bundle")
    path = folder / "smoke.zip"
    program(smoke, "make_bundle", "--study", "results/smoke", "--output", str(path))
    assert path.stat().st_size < 10e6  # no weights
    clone = checkout.copy(folder / "clone")
    assert program(clone, "unpack_bundle", str(path)).endswith("\nnothing to do\n")
    return clone


@pytest.fixture
def copy(unpacked: Path, tmp_path: Path) -> Path:
    """One to change things in."""
    return shutil.copytree(unpacked, tmp_path / "clone", symlinks=True)


def test_there_is_nothing_to_do_and_figures_are_drawn_byte_for_byte(copy: Path) -> None:
    assert would_run(copy, [TARGET, PAGE]) == NONE
    drawn = {
        path: sha256(path.read_bytes()).hexdigest()
        for path in copy.glob("results/smoke/figures/*.p*")
    }
    figures = (copy / "results/smoke/bundle/figures.txt").read_text(encoding="utf-8").split()
    assert {path.with_suffix(".pdf") for path in drawn} == {copy / name for name in figures}
    shutil.rmtree(copy / "results/smoke/figures")
    snakemake(copy, "--", *figures)
    assert {path: sha256(path.read_bytes()).hexdigest() for path in drawn} == drawn
    assert not list(copy.rglob("*.safetensors"))


@pytest.mark.skipif(not VALIDATOR.exists(), reason="no roc-validator: make test installs it")
def test_it_is_a_valid_crate(unpacked: Path) -> None:
    assert validated(unpacked.with_name("smoke.zip")) == (0, "")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("comments, docstrings and layout of code", NONE),
        ("plot style", NONE),
        ("the seed of intervals", NONE),
        ("the loss", NONE),
        ("one smoothing more", NONE),
        # what scores needs the weights of SFT runs
        ("the scoring of options", jobs("train_sft", SFT) | LOSSES),
    ],
)
def test_what_is_stale_after_an_edit_runs_again(copy: Path, name: str, more: Jobs) -> None:
    edit = BY_NAME[name]
    edit.change(copy)
    assert would_run(copy, [TARGET, PAGE]) == without(edit.jobs, "of logs") | more


def test_an_anonymous_one_names_nobody(smoke: Path, tmp_path: Path) -> None:
    path, folder = tmp_path / "smoke.zip", tmp_path / "unpacked"
    options = ["--study", "results/smoke", "--anonymous", "--output", str(path)]
    program(smoke, "make_bundle", *options)
    folder.mkdir()
    said = archive.unpack(path, folder)
    looking = Search(names([str(smoke), os.uname().nodename]))
    for name in said.files:
        assert looking.find(name, (folder / name).read_bytes()) is None, name
    assert not [name for name in said.files if name.endswith(".log")]
    clone = checkout.copy(tmp_path / "clone")
    assert program(clone, "unpack_bundle", str(path)).endswith("\nnothing to do\n")
    assert TARGET in said.restore.targets
