"""Learning rates that are tried, checkpoints that do not stay: what runs, and what runs again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from multical.config import schema
from multical.workflow import job_params
from support import checkout, forks

ROOT = "results/tiny"
RUNS = f"{ROOT}/runs"
TARGETS = [f"{ROOT}/records/{run}/quiz.parquet" for run in ("m", "m.own.ls0.s0", "m.own.ls0.1.s0")]
#: A program that writes what its rule declares, at once, if the weights that it reads are there
STUB = """
import sys
from pathlib import Path

given, flag = {}, None
for word in sys.argv[1:]:
    flag = word if word.startswith("--") else flag
    given.setdefault(flag, []).extend([word] * (word != flag))
name = Path(__file__).stem
models = {"adopt_trial": "--manifests", "choose_learning_rate": "-"}.get(name, "--model")
for manifest in given.get(models, []):
    assert Path(manifest).with_name("checkpoint").is_dir(), manifest
for flag in ("--output", "--about", "--report", "--manifest", "--loss-log", "--usage"):
    for file in given.get(flag, []):
        Path(file).write_text(f"made with {given.get('--params')}")
for folder in given.get("--checkpoint", []):
    Path(folder).mkdir()
"""
PROGRAMS = ["fetch_model", "make_benchmark", "make_sft_data", "train_sft", "evaluate_sft"]
PROGRAMS += ["choose_learning_rate", "adopt_trial", "score_run"]
LOW, HIGH = f"{RUNS}/m.own.lr1e-05", f"{RUNS}/m.own.lr2e-05"
TRIED = {"train_sft m.own.lr1e-05", "train_sft m.own.lr2e-05"}
MEASURED = {"evaluate_sft m.own.lr1e-05", "evaluate_sft m.own.lr2e-05"}
CHOSEN = {"choose_learning_rate m.own", "adopt_trial m.own.ls0.s0", "train_sft m.own.ls0.1.s0"}
SCORED = {"score_run m.own.ls0.s0", "score_run m.own.ls0.1.s0"}
ALL = TRIED | MEASURED | CHOSEN | SCORED


def raw(keep: bool) -> dict[str, Any]:
    """The configuration of a study that tries two learning rates."""
    found: dict[str, Any] = checkout.config()
    study = found["studies"]["results/smoke"]
    study |= {"models": ["m"], "benchmarks": ["quiz"], "sft_data": ["own"], "languages": None}
    study["training"]["learning_rate"] = [1e-5, 2e-5]
    study["figures"] |= {"benchmark": "quiz", "sft": "own"}
    own = found["sft_data"]["tulu3"]["source"] | {"examples": 8, "held_out": 2}
    model = {"chat_format": "plain", "source": {"kind": "folder", "path": "m/checkpoint"}}
    quiz = {"options": 3, "source": {"kind": "file", "path": "quiz.parquet"}}
    return found | {
        "keep_checkpoints": keep,
        "models": {"m": model},
        "benchmarks": {"quiz": quiz},
        "sft_data": {"own": {"source": own}},
        "studies": {ROOT: study},
    }


def configure(folder: Path, found: dict[str, Any]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")


def snakemake(folder: Path, *arguments: str) -> set[str]:
    """Run Snakemake; the jobs of the study that it runs."""
    command = [*checkout.SNAKEMAKE, *arguments, "--", *TARGETS]
    done = forks.run(command, cwd=folder)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    rules = re.findall(r"^(?:local)?rule (\w+):.*?wildcards: (.*?)\n", told, re.DOTALL | re.M)
    jobs = set()
    for rule, wildcards in rules:
        found = dict(one.split("=") for one in wildcards.split(", "))
        if found.get("root") == ROOT:
            names = [found[key] for key in ("run", "model", "sft") if key in found]
            jobs.add(f"{rule} {'.'.join(names)}")
    return jobs


def finished(folder: Path, keep: bool) -> Path:
    checkout.copy(folder)
    for name in PROGRAMS:
        (folder / f"scripts/{name}.py").write_text(STUB, encoding="utf-8")
    for name in ("quiz.parquet", "m/checkpoint/config.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}", encoding="utf-8")
    configure(folder, raw(keep))
    assert snakemake(folder) == ALL | {"score_run m"}
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, by `STUB`, all its checkpoints there."""
    return finished(tmp_path_factory.mktemp("kept"), keep=True)


@pytest.fixture(scope="module")
def unkept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without its checkpoints."""
    return finished(tmp_path_factory.mktemp("unkept"), keep=False)


def study(found: dict[str, Any]) -> dict[str, Any]:
    one: dict[str, Any] = found["studies"][ROOT]
    return one


def no_matter(found: dict[str, Any]) -> None:
    """Checkpoints that are kept or no longer, and learning rates in another order."""
    found["keep_checkpoints"] = not found["keep_checkpoints"]
    study(found)["training"]["learning_rate"] = [2e-5, 1e-5]


def prompt(found: dict[str, Any]) -> None:
    found["prompts"]["default"]["multiple_choice"] = "So: {question} {options}"


def third_rate(found: dict[str, Any]) -> None:
    study(found)["training"]["learning_rate"] = [1e-5, 2e-5, 3e-5]


def longer(found: dict[str, Any]) -> None:
    study(found)["training"]["max_length"] = 200


def fixed(found: dict[str, Any]) -> None:
    study(found)["training"]["learning_rate"] = 1e-5


THIRD = {"train_sft m.own.lr3e-05", "evaluate_sft m.own.lr3e-05"}
#: edit -> what runs again where checkpoints are kept, and where they are not
EDITS: dict[str, tuple[Callable[[dict[str, Any]], None], set[str], set[str]]] = {
    "what does not matter": (no_matter, set(), set()),
    # weights are needed again: all that was made of them is made anew
    "another prompt": (prompt, SCORED | {"score_run m"}, ALL | {"score_run m"}),
    "another learning rate": (third_rate, THIRD | CHOSEN | SCORED, ALL | THIRD),
    "longer conversations": (longer, ALL, ALL),
    "no choice": (
        fixed,
        {"train_sft m.own.ls0.s0", "train_sft m.own.ls0.1.s0"} | SCORED,
        {"train_sft m.own.ls0.s0", "train_sft m.own.ls0.1.s0"} | SCORED,
    ),
}


@pytest.mark.workflow
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("keep", [True, False])
def test_what_runs_again(request: pytest.FixtureRequest, keep: bool, edit: str) -> None:
    folder: Path = request.getfixturevalue("kept" if keep else "unkept")
    change, if_kept, if_not = EDITS[edit]
    found = raw(keep)
    change(found)
    configure(folder, found)
    assert snakemake(folder, "--dry-run") == (if_kept if keep else if_not)


@pytest.mark.workflow
def test_weights_that_do_not_stay(unkept: Path) -> None:
    """Each job finds those that it reads (`STUB`), and none is left in the end."""
    configure(unkept, raw(keep=False))
    assert not list((unkept / RUNS).glob("*/checkpoint"))
    assert (unkept / "results/inputs/models/m/checkpoint").is_dir()
    # what made them has changed, though nothing of them is left: no figure is silently stale
    program = unkept / "scripts/train_sft.py"
    before = program.read_text(encoding="utf-8")
    program.write_text(before + "\nprint('another program')\n", encoding="utf-8")
    assert snakemake(unkept) == ALL
    assert snakemake(unkept, "--dry-run") == set()
    assert not list((unkept / RUNS).glob("*/checkpoint"))
    program.write_text(before, encoding="utf-8")
    assert snakemake(unkept, "--dry-run") == ALL


def test_trials_in_the_plan() -> None:
    loaded = schema.load(raw(keep=True))
    assert job_params.adopted(loaded) == {ROOT: ["m.own.ls0.s0"]}
    rates = {
        name: job_params.training(loaded, ROOT, name).learning_rate
        for name in ("m.own.lr1e-05", "m.own.lr2e-05", "m.own.ls0.1.s0")
    }
    assert rates == {"m.own.lr1e-05": 1e-5, "m.own.lr2e-05": 2e-5, "m.own.ls0.1.s0": None}
    assert job_params.learning_rate_file(loaded, ROOT, "m.own.lr1e-05") == []
    assert job_params.learning_rate_file(loaded, ROOT, "m.own.ls0.1.s0") == [
        f"{ROOT}/learning_rates/m.own.json"
    ]
