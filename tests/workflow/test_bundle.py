"""A tiny study in a bundle: out of one clone, into another, and what is refused on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import psutil
import pytest
import yaml

from multical.bundle import archive
from multical.bundle.anonymity import Search
from multical.workflow.drivers import started
from support import checkout, forks
from support.crates import VALIDATOR, validated
from support.rerun_edits import code
from support.tiny_study import drawn_study

FIGURE = "results/tiny/figures/ece_by_resource.pdf"
OWN = "results/tiny/bundle"
TUNED = "little.own.ls0.1.s0"
SHARED = ["--share", "quiz", "--share", "own"]
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
NOBODY = ["-c", "user.name=Jo Nobody", "-c", "user.email=jo@nobody.example"]

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in nobody's home with two tiny studies, one in the folder of the other.

    Stubs make what needs a model; the figure is real.
    """
    folder = checkout.copy(tmp_path_factory.mktemp("home") / "nobodys" / "clone")
    drawn_study(folder)
    raw = checkout.config(folder)
    raw["studies"]["results"] = raw["studies"]["results/tiny"]
    (folder / "config.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    run(folder, "git", "init", "--quiet")
    commit(folder)
    snakemake(folder, FIGURE, FIGURE.replace("/tiny", ""))
    return folder


@pytest.fixture
def made(tiny: Path, tmp_path: Path) -> Path:
    """One to change things in."""
    return shutil.copytree(tiny, tmp_path / "nobodys" / "clone", symlinks=True)


@pytest.fixture
def fresh(tiny: Path, tmp_path: Path) -> Path:
    """A fresh clone of it, as a reader has one."""
    run(tmp_path, "git", "clone", "--quiet", str(tiny), "fresh")
    return checkout.warm(tmp_path / "fresh")


@pytest.fixture(scope="session")
def bundle(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the tiny study, with its data; test_own_bundle.py leaves them out."""
    path = tmp_path_factory.mktemp("bundle") / "tiny.zip"
    said = bundled(tiny, path, *SHARED)
    assert said.stdout.startswith(f"{path}: ")
    assert said.stderr == ""
    return path


def run(folder: Path, *command: str) -> Any:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", *NOBODY, "commit", "--quiet", "--message", "as it is")


def snakemake(folder: Path, *arguments: str) -> str:
    return checkout.snakemake(folder, "--", *arguments)


def program(folder: Path, name: str, *arguments: str, **environ: str) -> Any:
    """A program in a folder whose user, home and host would tell who it is."""
    nobody = {"HOME": str(folder.parent), "LOGNAME": "nobodys", **environ}
    command = [sys.executable, f"tools/{name}.py", *arguments]
    return forks.run(command, cwd=folder, env=os.environ | nobody)


def bundled(folder: Path, path: Path, *arguments: str, **environ: str) -> Any:
    study = [] if "--study" in arguments else ["--study", "results/tiny"]
    return program(folder, "make_bundle", *study, "--output", str(path), *arguments, **environ)


def refused(done: Any) -> str:
    """Why a program refused: one line."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return str(done.stderr).removeprefix("error: ").rstrip()


def tree(folder: Path) -> dict[str, str]:
    """The files of a folder but git's, by content."""
    found = (file for file in folder.rglob("*") if file.is_file() and ".git" not in file.parts)
    return {
        str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest()
        for file in found
        if "__pycache__" not in file.parts
    }


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


def recorded(folder: Path, name: str) -> Path:
    """Snakemake's record of an output."""
    return folder / ".snakemake/metadata" / urlsafe_b64encode(name.encode()).decode()


def written(folder: Path, name: str, text: str) -> None:
    """Have an output as if its job had made it so."""
    (folder / name).write_text(text, encoding="utf-8")
    record = json.loads(recorded(folder, name).read_text(encoding="utf-8"))
    record["input_checksums"][name] = f"sha256:{sha256(text.encode()).hexdigest()}"
    recorded(folder, name).write_text(json.dumps(record), encoding="utf-8")


def would_run(folder: Path) -> dict[str, int]:
    """The jobs by rule that a dry run for the figure lists."""
    told = checkout.snakemake(folder, "--dry-run", "--", FIGURE)
    if "Nothing to be done" in told:
        return {}
    table = told.split("Job stats:")[1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


def test_a_fresh_clone_has_nothing_to_do_and_draws_the_same_figures(
    tiny: Path, bundle: Path, fresh: Path, tmp_path: Path
) -> None:
    said = program(fresh, "unpack_bundle", str(bundle))
    assert said.stderr == ""
    assert said.stdout.splitlines()[1:] == ["nothing to do"]
    assert would_run(fresh) == {}
    # what the reader has is as good as what the author has
    assert bundled(fresh, tmp_path / "again.zip", *SHARED).returncode == 0
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    # nothing that models made is needed to draw a figure
    assert not list(fresh.rglob("*.safetensors"))
    shutil.rmtree(fresh / "results/tiny/figures")
    tables = [f"results/tiny/{name}.csv" for name in ("metrics", "summary")]
    for name in tables:
        (fresh / name).unlink()
    figures = (fresh / OWN / "figures.txt").read_text(encoding="utf-8").split()
    assert figures == [FIGURE]
    assert "plot_ece_by_resource" in snakemake(fresh, *figures, *tables)
    for name in (*tables, FIGURE, FIGURE.replace(".pdf", ".png")):
        assert (fresh / name).read_bytes() == (tiny / name).read_bytes()
    # whoever wants to train fetches the base model first, which makes nothing stale
    snakemake(fresh, "results/inputs/models/little/checkpoint")
    assert list(fresh.rglob("*.safetensors"))
    assert would_run(fresh) == {}


def test_what_is_in_it(tiny: Path, bundle: Path) -> None:
    said = archive.read(bundle)
    files, restore = said.files, said.restore
    assert f"{OWN}/figures.txt" in files
    assert f"results/tiny/records/{TUNED}/quiz.parquet" in files
    assert "results/inputs/benchmarks/quiz.parquet" in files
    assert "logs/results/tiny/plot_ece_by_resource.log" in files
    assert "logs/results/tiny/plot_ece_by_resource.tsv" in files
    assert all(name.startswith(("results/tiny/", "results/inputs/", "logs/")) for name in files)
    assert not [name for name in files if "checkpoint" in name]
    with ZipFile(bundle) as members:
        assert members.namelist()[0] == "ro-crate-metadata.json"
        for_readers = {name for name in members.namelist() if name not in files}
    own = {"README.md", "CITATION.cff", "restore.json", "Snakefile", "envs/requirements.lock"}
    assert own <= for_readers
    assert "quiz.jsonl" not in for_readers  # of the user
    assert restore.left_out == {
        "results/inputs/models/little/checkpoint": None,
        f"results/tiny/runs/{TUNED}/checkpoint": None,
        "results/tiny/runs/little.own.ls0.s0/checkpoint": None,
    }
    assert restore.needed == {
        name: sha256((tiny / name).read_bytes()).hexdigest()
        for name in ("little/config.json", "own.jsonl", "quiz.jsonl")
    }
    head = run(tiny, "git", "rev-parse", "HEAD").stdout.strip()
    assert (restore.commit, restore.modified, restore.anonymous) == (head, False, False)


@pytest.mark.skipif(not VALIDATOR.exists(), reason="no roc-validator: make test installs it")
def test_it_is_a_valid_crate(bundle: Path) -> None:
    assert validated(bundle) == (0, "")


def test_the_study_of_all_of_results_does_not_sweep_in_the_others(
    tiny: Path, tmp_path: Path
) -> None:
    done = bundled(tiny, tmp_path / "x.zip", "--study", "results")
    assert done.returncode == 0, done.stderr
    files = archive.read(tmp_path / "x.zip").files
    assert "results/bundle/figures.txt" in files
    assert f"results/records/{TUNED}/quiz.parquet" in files
    assert not [name for name in files if "/tiny/" in name]


EDITS: dict[str, tuple[Callable[[Path], None], dict[str, int]]] = {
    "plots": (
        code("multical/figures/style"),
        {"plot_ece_by_resource": 1},
    ),
    "how runs are trained": (
        edit("config.yaml", "learning_rate: 5.0e-05", "learning_rate: 1.0e-04"),
        {"train_sft": 2, "score_run": 2, "compute_metrics": 1, "plot_ece_by_resource": 1},
    ),
    "questions": (
        edit("quiz.jsonl", "What is", "What, then, is"),
        {"make_benchmark": 1, "score_run": 3, "compute_metrics": 1, "plot_ece_by_resource": 1,
         "train_sft": 2},  # whose weights are not here
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_what_is_stale_after_an_edit_runs_again(bundle: Path, fresh: Path, name: str) -> None:
    change, jobs = EDITS[name]
    assert program(fresh, "unpack_bundle", str(bundle)).returncode == 0
    change(fresh)
    assert would_run(fresh) == jobs


def test_the_code_of_another_commit_is_told_with_what_is_stale(bundle: Path, fresh: Path) -> None:
    then = run(fresh, "git", "rev-parse", "HEAD").stdout.strip()
    EDITS["plots"][0](fresh)
    edit("quiz.jsonl", "What is", "What, then, is")(fresh)
    commit(fresh)
    now = run(fresh, "git", "rev-parse", "HEAD").stdout.strip()
    said = program(fresh, "unpack_bundle", str(bundle))
    assert said.returncode == 0
    assert said.stdout.splitlines()[1:3] == [
        "quiz.jsonl: the study was made from another content of it",
        f"its code is of commit {then}, here it is {now}",
    ]
    assert said.stdout.splitlines()[3].startswith("Snakemake would run 1 compute_metrics, ")


def test_other_results_are_kept_unless_told(bundle: Path, made: Path) -> None:
    (made / "results/tiny/summary.csv").write_text("mine\n", encoding="utf-8")
    before = tree(made)
    assert refused(program(made, "unpack_bundle", str(bundle))) == (
        f"{bundle}: results/tiny/summary.csv: here with another content, expected the same or "
        "none (--overwrite replaces it)"
    )
    assert tree(made) == before
    said = program(made, "unpack_bundle", "--overwrite", str(bundle))
    assert said.stdout.splitlines()[1:] == ["nothing to do"]
    (made / "results/.unbundle/files/results/tiny").mkdir(parents=True)  # as one cut off leaves it
    (made / "results/.unbundle/files/results/tiny/more").touch()
    plan = {"bundle": "x", "times": {}, "entries": {}, "records": {}, "again": [], "machines": []}
    (made / "results/.unbundle/plan.json").write_text(json.dumps(plan), encoding="utf-8")
    assert would_run(made) == {}
    assert (made / "results/tiny/more").exists()


def test_nothing_is_unpacked_while_a_snakemake_is_at_work(bundle: Path, fresh: Path) -> None:
    own = psutil.Process()
    driver = {"host": socket.gethostname(), "pid": own.pid, "started": started(own)}
    (fresh / ".snakemake/drivers").mkdir(parents=True)
    (fresh / ".snakemake/drivers/this.json").write_text(
        json.dumps(driver | {"command": [], "products": {}}), encoding="utf-8"
    )
    before = tree(fresh)
    assert refused(program(fresh, "unpack_bundle", str(bundle))) == (
        f"Snakemake {own.pid} on {socket.gethostname()}: at work in this folder, expected none"
    )
    assert tree(fresh) == before


def test_a_damaged_bundle_writes_nothing(bundle: Path, fresh: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(bundle.read_bytes()[:-2000])
    before = tree(fresh)
    assert "cut short or damaged" in refused(program(fresh, "unpack_bundle", str(cut)))
    (fresh / "results/tiny").write_text("a file, where a folder is to be\n", encoding="utf-8")
    assert refused(program(fresh, "unpack_bundle", str(bundle))) == (
        "results/tiny: here it is a file, expected a folder or nothing"
    )
    (fresh / "results/tiny").unlink()
    assert tree(fresh) == before


def test_only_a_study_that_is_made_and_current_is_bundled(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    assert refused(bundled(made, path, "--study", "results/demo")).startswith(
        "results/demo: no study of config.yaml, expected one of"
    )
    drawn = (made / FIGURE).read_bytes()
    (made / FIGURE).write_bytes(drawn + b" ")
    assert refused(bundled(made, path)).startswith(f"{FIGURE}: changed since it was made: ")
    (made / FIGURE).write_bytes(drawn)
    EDITS["plots"][0](made)
    assert refused(bundled(made, path)) == (
        "results/tiny: 1 jobs would run again (plot_ece_by_resource; "
        f"{FIGURE.replace('.pdf', '.json')}: scripts/multical/figures/style.py: ADDED added), "
        "expected a study that is up to date: make it first"
    )
    shutil.rmtree(made / "results/tiny")
    assert refused(bundled(made, path)).startswith("results/tiny: nothing is made, expected")
    assert not path.exists()


@pytest.mark.parametrize(
    "name", [f"results/tiny/runs/{TUNED}/loss.jsonl", "results/tiny/metrics.csv"]
)
def test_what_was_changed_by_hand_is_not_bundled(made: Path, tmp_path: Path, name: str) -> None:
    """Files that no job reads, changed without another time, as some programs do."""
    then = (made / name).stat()
    (made / name).write_text("mine\n", encoding="utf-8")
    os.utime(made / name, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert would_run(made) == {}
    found, path = sha256(b"mine\n").hexdigest(), tmp_path / "x.zip"
    assert refused(bundled(made, path)).startswith(
        f"{name}: changed since it was made: found SHA-256 {found}, expected "
    )
    assert not path.exists()
    said = program(made, "show_provenance", FIGURE)
    rule = "compute_metrics" if name.endswith("csv") else "train_sft"
    assert f"{name}: its content is not that which {rule} made" in " ".join(said.stdout.split())


def test_what_nobody_saw_made_is_not_bundled(made: Path, tmp_path: Path) -> None:
    """A Snakemake was killed, and a job of it ended later."""
    name = f"results/tiny/records/{TUNED}/quiz.parquet"
    killed = {"host": socket.gethostname(), "pid": 1, "started": "0", "command": []}
    (made / ".snakemake/drivers").mkdir(parents=True, exist_ok=True)
    (made / ".snakemake/drivers/killed.json").write_text(
        json.dumps(killed | {"products": {name: "0"}}), encoding="utf-8"
    )
    recorded(made, name).unlink()
    assert would_run(made) == {"score_run": 1, "compute_metrics": 1, "plot_ece_by_resource": 1}
    said = refused(bundled(made, tmp_path / "x.zip"))
    assert said.startswith("results/tiny: 3 jobs would run again (")


def test_what_a_removed_run_left_behind_stays_behind(made: Path, tmp_path: Path) -> None:
    edit("config.yaml", "  - 0.1\n", "  - 0.2\n")(made)
    edit("config.yaml", "smoothing: 0.1\n", "smoothing: 0.2\n")(made)
    snakemake(made, FIGURE)
    assert (made / f"results/tiny/records/{TUNED}/quiz.parquet").is_file()
    assert bundled(made, tmp_path / "x.zip").returncode == 0
    files = archive.read(tmp_path / "x.zip").files
    assert not [name for name in files if TUNED in name]
    assert f"results/tiny/records/{TUNED.replace('0.1', '0.2')}/quiz.parquet" in files


def test_tokens_are_hidden_in_logs_and_refused_elsewhere(made: Path, tmp_path: Path) -> None:
    log = made / "logs/results/tiny/plot_ece_by_resource.log"
    log.write_text(f"GET https://me:pass@example.org/?token=abc {TOKEN} secret-of-mine\n")
    path = tmp_path / "x.zip"
    assert bundled(made, path, MY_TOKEN="secret-of-mine").returncode == 0
    (tmp_path / "unpacked").mkdir()
    archive.unpack(path, tmp_path / "unpacked")
    said = (tmp_path / "unpacked" / log.relative_to(made)).read_text(encoding="utf-8")
    assert said == "GET https://***@example.org/?token=*** *** ***\n"
    path.unlink()
    usage = f"results/tiny/records/{TUNED}/quiz.usage.json"
    written(made, usage, json.dumps({"by": TOKEN}))
    assert refused(bundled(made, path)) == (
        f"{usage}: has a token of the hub, expected no token in a bundle"
    )
    assert not path.exists()


def test_an_anonymous_bundle_names_nobody_and_works(
    made: Path, fresh: Path, tmp_path: Path
) -> None:
    path, unpacked = tmp_path / "x.zip", tmp_path / "unpacked"
    for log in (made / "logs").rglob("*.log"):
        log.write_text(f"in {made} on nobodys-laptop\n", encoding="utf-8")
    done = bundled(made, path, "--anonymous")
    assert done.returncode == 0, done.stderr
    unpacked.mkdir()
    with ZipFile(path) as members:
        whole = {name: members.read(name) for name in members.namelist()}
    said = archive.unpack(path, unpacked)
    assert (said.restore.commit, said.restore.anonymous) == (None, True)
    head = run(made, "git", "rev-parse", "HEAD").stdout.strip()
    texts = ["nobodys", "Jo Nobody", "jo@nobody.example", str(made), str(made.parent), head]
    names = dict.fromkeys(texts, "name")
    looking = Search(names | {os.uname().nodename: "host"})
    found = {name: looking.find(name, content) for name, content in whole.items()}
    assert len(found) > 20
    assert set(found.values()) == {None}
    said = program(fresh, "unpack_bundle", str(path))
    assert said.stdout.splitlines()[1:] == ["nothing to do"]


def test_a_name_in_a_result_is_refused_in_an_anonymous_bundle(made: Path, tmp_path: Path) -> None:
    name = f"results/tiny/runs/{TUNED}/usage.json"
    path, time = tmp_path / "x.zip", (made / name).stat().st_mtime
    written(made, name, '{"by": "Jo Nobody"}\n')
    os.utime(made / name, (time, time))
    assert refused(bundled(made, path, "--anonymous")) == (
        f"{name}: has 'Jo Nobody' (author), expected no name in an anonymous bundle (--allow NAME "
        "lets one pass)"
    )
    assert not path.exists()
    assert bundled(made, path, "--anonymous", "--allow", "Jo Nobody").returncode == 0
