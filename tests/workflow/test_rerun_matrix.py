"""Never stale, never wasteful: exactly what an edit of a finished study makes run again.

Each edit of `rerun_edits.EDITS` by dry run, from the finished state. Real runs: test_reruns.py.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from multical.files import write_json
from multical.workflow import drivers
from support import checkout
from support import rerun_edits as table
from support.dry_runs import git, run, would_run
from support.rerun_edits import EDITS, GEMMA, SFT, SMOLLM, Edit, jobs, rules

INPUTS = (
    jobs("fetch_model", [GEMMA, SMOLLM]) | rules("make_benchmark cldr-facts", "make_sft_data facts")
)  # fmt: skip
pytestmark = [pytest.mark.workflow, pytest.mark.slow]


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
    without_patch, patches = re.subn(r"\n    patch_snakemake\(.*\)", "", text)
    assert patches == 1
    (copy / "Snakefile").write_text(without_patch, encoding="utf-8")
    edit.change(copy)
    assert run(copy, "--dry-run") != edit.jobs


def test_a_fresh_clone_with_copied_results(finished: Path, tmp_path: Path) -> None:
    """All times are new, and say nothing."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(finished), str(clone))
    checkout.warm(clone)
    assert would_run(clone) > INPUTS
    for name in ("results", ".snakemake"):
        checkout.copy_light(finished / name, clone / name, times=False)
    assert run(clone) == frozenset()
    # results alone: nobody knows what they were made with
    for path in sorted((clone / ".snakemake").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    everything = INPUTS | jobs("train_sft", SFT) | jobs("score_run", [GEMMA, SMOLLM, *SFT])
    assert (
        would_run(clone)
        == everything | table.RESULTS | table.SETTINGS | table.LOSSES | table.IMPORTED | table.PAGE
    )


def test_what_a_killed_snakemake_left_is_for_recover(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody else makes it again, since nobody has asked whose it is."""
    table.forgotten(f"records/{SMOLLM}/cldr-facts.parquet")(copy)
    scored = jobs("score_run", [SMOLLM])
    again = scored | table.SETTINGS | table.RESULTS | table.PAGE
    assert would_run(copy) == again
    killed = drivers.Driver("elsewhere", 1, "0", ["snakemake"], {table.RECORD: "a digest"})
    write_json(copy / drivers.FOLDER / "elsewhere.1.json", asdict(killed))
    assert would_run(copy) == again
    monkeypatch.setenv(drivers.RECOVERING, "1")
    assert would_run(copy) == frozenset()
