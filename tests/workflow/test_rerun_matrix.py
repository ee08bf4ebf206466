"""Never stale, never wasteful: exactly what an edit of a finished study makes run again.

Each edit of `rerun_edits.EDITS` by dry run, from the finished state; and most of them by real
runs in one checkout, round after round, until all is undone and the results are those of before.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from multical.files import write_json
from multical.workflow import drivers
from support import checkout
from support import rerun_edits as table
from support.dry_runs import TARGETS, jobs_of, would_run
from support.harness_study import RUN, study
from support.rerun_edits import (
    BY_NAME,
    EDITS,
    GEMMA,
    SFT,
    SMOKE,
    SMOLLM,
    Edit,
    Jobs,
    jobs,
    rules,
    without,
)

INPUTS = (
    jobs("fetch_model", [GEMMA, SMOLLM]) | rules("make_benchmark cldr-facts", "make_sft_data facts")
)  # fmt: skip
#: Rounds of edits by name, each on top of the one before; and the runs that the study then lacks
ROUNDS: list[tuple[list[str], tuple[str, ...]]] = [
    (["one figure's program"], ()),
    (["a rule's shell command"], ()),
    (["a setting of figures"], ()),
    (["a claim's threshold"], ()),
    (["an older data file in its place"], ()),
    (["a touched data file of more than 1 MB"], ()),
    (["a lost intermediate"], ()),
    (
        [
            "an output more of a rule, and its command",
            "plot style",
            "a library that only figures use",
            "a library of that library",
            "a metric's definition",
            "a module that only modules import",
            "a library of a library of metrics",
            "the seed of intervals",
            "a language's resource level",
            "one model less",
            "older records in their place",
        ],
        (GEMMA,),
    ),
    (["a prompt", "another language", "lost records of another program"], (GEMMA,)),
    (
        [
            "the loss",
            "a library that only training uses",
            "a library of that one",
            "the smoothing of one run",
        ],
        (GEMMA, "ls0.1"),
    ),
]
#: What is stale when all is undone: not what lay aside since its model or smoothing was taken out
UNDONE = (
    jobs("train_sft", [f"{SMOLLM}.facts.ls0.s0"])
    | jobs("score_run", [SMOLLM, *(run for run in SFT if SMOLLM in run)])
    | table.RESULTS
    | table.SETTINGS
    | table.IMPORTED
)

pytestmark = pytest.mark.workflow


def snakemake(folder: Path, *arguments: str) -> Jobs:
    """Run Snakemake for the targets; the jobs that it says it runs."""
    command = [*checkout.SNAKEMAKE, *arguments, "--", *TARGETS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return jobs_of(done.stdout + done.stderr)


def git(folder: Path, *arguments: str) -> None:
    own = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the smoke study made, and a study of logs of more than 1 MB."""
    for target in TARGETS[:2]:
        checkout.make(target)
    folder = checkout.copy_made(tmp_path_factory.mktemp("finished"), "inputs", "smoke")
    (log,) = checkout.REPO.glob("tests/support/data/harness/samples_quiz_2*.jsonl")
    (folder / table.LOG).parent.mkdir()
    lines = log.read_text(encoding="utf-8").splitlines()
    (folder / table.LOG).write_text("".join(f"{line}{' ' * 150_000}\n" for line in lines), "utf-8")
    own = {"studies": {"results/logs": study(RUN | {"samples": {"en": table.LOG}})}}
    with open(folder / "config.yaml", "a", encoding="utf-8") as stream:
        stream.write(yaml.safe_dump(own))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "finished")
    assert snakemake(folder) == table.IMPORTED
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to change things in."""
    checkout.copy_light(finished, tmp_path)
    return tmp_path


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_exactly_what_is_stale_would_run(copy: Path, edit: Edit) -> None:
    edit.change(copy)
    assert would_run(copy) == edit.jobs


@pytest.mark.parametrize(
    "edit", [edit for edit in EDITS if edit.overlooked], ids=lambda edit: edit.name
)
def test_snakemake_alone_would_run_other_jobs(copy: Path, edit: Edit) -> None:
    """Else multical.patches.snakemake is no longer needed for it."""
    text = (copy / "Snakefile").read_text(encoding="utf-8")
    without_patch, patches = re.subn(r"\n    patch_snakemake\(\n.*\n    \)", "", text)
    assert patches == 1
    (copy / "Snakefile").write_text(without_patch, encoding="utf-8")
    edit.change(copy)
    assert snakemake(copy, "--dry-run") != edit.jobs


def test_a_fresh_clone_with_copied_results(finished: Path, tmp_path: Path) -> None:
    """All times are new, and say nothing."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(finished), str(clone))
    assert would_run(clone) > INPUTS
    for name in ("results", ".snakemake"):
        checkout.copy_light(finished / name, clone / name, times=False)
    assert snakemake(clone) == frozenset()
    # results alone: nobody knows what they were made with
    for path in sorted((clone / ".snakemake").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    everything = INPUTS | jobs("train_sft", SFT) | jobs("score_run", [GEMMA, SMOLLM, *SFT])
    assert would_run(clone) == everything | table.RESULTS | table.SETTINGS | table.IMPORTED


def test_what_a_killed_snakemake_left_is_for_recover(copy: Path) -> None:
    """Else it would be made again before anyone could ask whose it is."""
    table.forgotten(f"records/{SMOLLM}/cldr-facts.parquet")(copy)
    scored = jobs("score_run", [SMOLLM])
    assert would_run(copy) == scored | table.SETTINGS | table.RESULTS
    killed = drivers.Driver("elsewhere", 1, 0.0, ["snakemake"], {table.RECORD: "a digest"})
    write_json(copy / drivers.FOLDER / "elsewhere.1.json", asdict(killed))
    assert would_run(copy) == frozenset()


def digests(folder: Path) -> dict[str, str]:
    """What the results are: without what says when and where they were made."""
    patterns = [
        "records/**/*.parquet",
        "*.csv",
        "stats/*.csv",
        "headline.txt",
        "tables/[!s]*.[ct]*",  # settings have times
        "figures/*.p*",
    ]
    files = [path for pattern in patterns for path in (folder / SMOKE).glob(pattern)]
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def test_exactly_what_is_stale_runs(copy: Path) -> None:
    """Really, and then nothing is left to do."""
    before = digests(copy)
    assert len(before) == 6 + 6 + 4 + 1 + 3 * 2 + 13 * 2
    for edit in EDITS:
        if not edit.jobs and edit.name != "a lost intermediate":
            edit.change(copy)
    assert snakemake(copy) == frozenset()
    git(copy, "checkout", "--", ".")
    for names, gone in ROUNDS:
        for name in names:
            BY_NAME[name].change(copy)
        stale = frozenset().union(*(BY_NAME[name].jobs for name in names))
        assert snakemake(copy) == without(stale, *gone), names
        assert would_run(copy) == frozenset(), names
    git(copy, "checkout", "--", ".")
    assert snakemake(copy) == UNDONE
    assert would_run(copy) == frozenset()
    after = digests(copy)
    assert {name: after[name] for name in before} == before
