"""A study of one's own in a bundle, its entries and data unknown to git, in a fresh clone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from multical.bundle import archive
from multical.config.files import LOCAL
from support import checkout, forks
from support.tiny_study import drawn_study

FIGURE = "results/tiny/figures/ece_by_resource.pdf"
OWN = ["quiz.jsonl", "own.jsonl", "little/config.json"]
DATA = ["results/inputs/benchmarks/quiz.parquet", "results/inputs/sft/own.jsonl"]
NOBODY = ["-c", "user.name=Jo Nobody", "-c", "user.email=jo@nobody.example"]
KEYS = ["studies.results/tiny", "models.little", "benchmarks.quiz", "sft_data.own"]

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="session")
def author(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a study whose entries and data git does not know; stubs make what needs a model.

    Beside it there is another study, which is nobody else's business.
    """
    folder = checkout.copy(tmp_path_factory.mktemp("own") / "clone")
    entry = (folder / "config.yaml").read_bytes()
    drawn_study(folder)
    own = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    (folder / "config.yaml").write_bytes(entry)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--", ".", *(f":!{name}" for name in OWN))
    git(folder, *NOBODY, "commit", "--quiet", "--message", "as others have it")
    keys = ("models", "benchmarks", "sft_data", "studies")
    entries: dict[str, Any] = {key: own[key] for key in keys}
    entries["models"]["unsaid"] = entries["models"]["little"]
    unsaid = entries["studies"]["results/tiny"] | {"models": ["unsaid"]}
    entries["studies"]["results/unsaid"] = unsaid
    (folder / LOCAL).write_text(yaml.safe_dump(entries), encoding="utf-8")
    checkout.snakemake(folder, "--", FIGURE)
    return folder


@pytest.fixture
def fresh(author: Path, tmp_path: Path) -> Path:
    """A fresh clone, which has none of it."""
    git(tmp_path, "clone", "--quiet", str(author), "fresh")
    assert not [name for name in [LOCAL, *OWN] if (tmp_path / "fresh" / name).exists()]
    return checkout.warm(tmp_path / "fresh")


@pytest.fixture(scope="session")
def bundle(author: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the study, without its data."""
    path = tmp_path_factory.mktemp("bundle") / "tiny.zip"
    bundled(author, path)
    return path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def program(folder: Path, name: str, *arguments: str) -> list[str]:
    """The lines that a program prints."""
    nobody = {"HOME": str(folder.parent), "LOGNAME": "nobodys"}
    command = [sys.executable, f"tools/{name}.py", *arguments]
    done = forks.run(command, cwd=folder, env=os.environ | nobody)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout).splitlines()


def bundled(folder: Path, path: Path, *arguments: str) -> list[str]:
    study = ["--study", "results/tiny", "--output", str(path)]
    return program(folder, "make_bundle", *study, *arguments)


@pytest.mark.parametrize("arguments", [[], ["--anonymous"]], ids=["named", "anonymous"])
def test_a_fresh_clone_has_nothing_to_do(
    author: Path, fresh: Path, tmp_path: Path, arguments: list[str]
) -> None:
    path = tmp_path / "tiny.zip"
    told = bundled(author, path, *arguments)
    assert f"with entries of the config: {', '.join([*KEYS, 'prompts.default'])}" in told
    assert [line for line in told if line.startswith("without")] == [
        "without results/inputs/benchmarks/quiz.parquet (--share quiz, if you may hand it on)",
        "without results/inputs/models/little/checkpoint (weights)",
        "without results/inputs/sft/own.jsonl (--share own, if you may hand it on)",
        "without results/tiny/runs/little.own.ls0.1.s0/checkpoint (weights)",
        "without results/tiny/runs/little.own.ls0.s0/checkpoint (weights)",
        *(f"without {name} (no job makes it)" for name in sorted(OWN)),
    ]
    with ZipFile(path) as members:
        assert not {*DATA, *OWN, LOCAL} & set(members.namelist())
        assert not [name for name in members.namelist() if b"unsaid" in members.read(name)]
    said = program(fresh, "unpack_bundle", str(path))
    assert said[1] == f"{LOCAL}: has new entries: {', '.join(KEYS)}"
    assert said[-1] == "nothing to do"
    assert "Nothing to be done" in checkout.snakemake(fresh, "--dry-run", "--", FIGURE)
    assert [key for key in said if "made from" in key] == [
        f"{name}: the study was made from it, and it is not here" for name in sorted(OWN)
    ]
    # what the reader has is as good as what the author has
    bundled(fresh, tmp_path / "again.zip", *arguments)
    first, again = archive.read(path), archive.read(tmp_path / "again.zip")
    assert again.files.keys() == first.files.keys()
    assert (
        again.restore.needed
        == first.restore.needed
        == {name: sha256((author / name).read_bytes()).hexdigest() for name in OWN}
    )
    shutil.rmtree(fresh / "results/tiny/figures")
    assert "plot_ece_by_resource" in checkout.snakemake(fresh, "--", FIGURE)
    assert (fresh / FIGURE).read_bytes() == (author / FIGURE).read_bytes()


def test_data_are_taken_along_if_told(author: Path, fresh: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.zip"
    told = bundled(author, path, "--share", "quiz")
    assert "with results/inputs/benchmarks/quiz.parquet" in told
    assert {name for name in DATA if name in archive.read(path).files} == {DATA[0]}
    assert program(fresh, "unpack_bundle", str(path))[-1] == "nothing to do"
    assert (fresh / DATA[0]).read_bytes() == (author / DATA[0]).read_bytes()


def test_only_data_of_others_can_be_shared(author: Path, tmp_path: Path) -> None:
    command = [sys.executable, "tools/make_bundle.py", "--study", "results/tiny"]
    done = forks.run([*command, "--share", "little"], cwd=author)
    assert done.returncode == 1
    assert done.stderr == "error: --share: found 'little', expected one of ['own', 'quiz']\n"


def test_own_data_that_come_back_or_change_count(author: Path, bundle: Path, fresh: Path) -> None:
    program(fresh, "unpack_bundle", str(bundle))
    for name in OWN:
        (fresh / name).parent.mkdir(exist_ok=True)
        shutil.copy(author / name, fresh / name)
    assert "Nothing to be done" in checkout.snakemake(fresh, "--dry-run", "--", FIGURE)
    with (fresh / "quiz.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("\n")
    assert "make_benchmark" in checkout.snakemake(fresh, "--dry-run", "--", FIGURE)


def test_what_needs_own_data_says_so(bundle: Path, fresh: Path) -> None:
    program(fresh, "unpack_bundle", str(bundle))
    command = [*checkout.SNAKEMAKE, "--forcerun", "make_benchmark", "--", DATA[0]]
    done = forks.run(command, cwd=fresh)
    assert done.returncode != 0
    assert "error: quiz.jsonl: " in done.stdout + done.stderr


def test_results_may_be_a_link_to_another_disk(
    author: Path, bundle: Path, fresh: Path, tmp_path: Path
) -> None:
    linked = shutil.copytree(author, tmp_path / "linked", symlinks=True)
    for folder in (linked, fresh):
        (folder / "results").rename(tmp_path / f"{folder.name}-disk")
        (folder / "results").symlink_to(tmp_path / f"{folder.name}-disk")
    bundled(linked, tmp_path / "linked.zip")
    assert archive.read(tmp_path / "linked.zip").files == archive.read(bundle).files
    assert program(fresh, "unpack_bundle", str(tmp_path / "linked.zip"))[-1] == "nothing to do"
    shutil.rmtree(fresh / "results/tiny/figures")
    checkout.snakemake(fresh, "--", FIGURE)
    sidecar = FIGURE.replace(".pdf", ".json")
    made, drawn = (json.loads((x / sidecar).read_text("utf-8")) for x in (author, fresh))
    assert {"inputs": drawn["inputs"], "outputs": drawn["outputs"]} == {
        "inputs": made["inputs"],
        "outputs": made["outputs"],
    }
    said = program(fresh, "show_provenance", FIGURE, "--crate", str(tmp_path / "crate"))
    assert (tmp_path / "crate" / FIGURE).is_file(), said


def test_a_figure_changed_by_hand_is_found_behind_a_link(author: Path, tmp_path: Path) -> None:
    linked = shutil.copytree(author, tmp_path / "linked", symlinks=True)
    (linked / "results").rename(tmp_path / "disk")
    (linked / "results").symlink_to(tmp_path / "disk")
    assert program(linked, "show_provenance", FIGURE)
    with (linked / FIGURE).open("ab") as stream:
        stream.write(b"%")
    for name, *arguments in (
        ("show_provenance", FIGURE),
        ("make_bundle", "--study", "results/tiny", "--output", "refused.zip"),
    ):
        done = forks.run([sys.executable, f"tools/{name}.py", *arguments], cwd=linked)
        assert done.returncode == 1
        assert f"{FIGURE}: " in done.stdout + done.stderr
    assert not (linked / "refused.zip").exists()


@pytest.mark.parametrize("name", OWN)
def test_there_is_no_bundle_without_what_the_config_names(
    author: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(author, tmp_path / "folder", symlinks=True)
    (folder / name).rename(tmp_path / "aside")
    command = [sys.executable, "tools/make_bundle.py", "--study", "results/tiny"]
    done = forks.run([*command, "--output", "refused.zip"], cwd=folder)
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: .*: config: \w+\.\w+\.source\.path: found .*, expected .*\n", done.stderr
    )
    assert not (folder / "refused.zip").exists()


def test_own_entries_stay_as_they_are(bundle: Path, fresh: Path) -> None:
    before = "# mine\nmodels:\n    # of mine\n    other: # too\n        chat_format: plain\n"
    before += "        source: {kind: folder, path: elsewhere}\n"
    (fresh / LOCAL).write_text(before, encoding="utf-8")
    assert program(fresh, "unpack_bundle", str(bundle))[-1] == "nothing to do"
    text = (fresh / LOCAL).read_text(encoding="utf-8")
    assert set(before.splitlines()) <= set(text.splitlines())
    assert set(yaml.safe_load(text)["models"]) == {"other", "little"}
    digest = sha256((fresh / LOCAL).read_bytes()).hexdigest()
    program(fresh, "unpack_bundle", str(bundle))
    assert sha256((fresh / LOCAL).read_bytes()).hexdigest() == digest
