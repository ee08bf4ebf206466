"""Never stale, never wasteful: real runs in one checkout, round after round of edits.

In the end all is undone, and the results are those of before.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from support import checkout
from support import rerun_edits as table
from support.dry_runs import git, run, would_run
from support.rerun_edits import BY_NAME, EDITS, GEMMA, SFT, SMOKE, SMOLLM, jobs, without

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
            "the seed of intervals",
            "a language's resource level",
            "one model less",
            "older records in their place",
        ],
        (GEMMA,),
    ),
    (
        [
            "a library of a library of metrics",
            "a prompt",
            "another language",
            "lost records of another program",
        ],
        (GEMMA,),
    ),
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
    | table.LOSSES
    | table.IMPORTED
    | table.PAGE
)

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def digests(folder: Path) -> dict[str, str]:
    """What the results are: without what says when and where they were made."""
    patterns = [
        "records/**/*.parquet",
        "*.csv",
        "stats/*.csv",
        "headline.txt",
        "tables/[!s]*.[ct]*",  # settings have times
        "tables/selective.[ct]*",
        "figures/*.p*",
    ]
    files = [path for pattern in patterns for path in (folder / SMOKE).glob(pattern)]
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to change things in."""
    checkout.copy_light(finished, tmp_path)
    return tmp_path


def test_exactly_what_is_stale_runs(copy: Path) -> None:
    """Really, and then nothing is left to do."""
    before = digests(copy)
    assert len(before) == 6 + 7 + 3 + 1 + 5 * 2 + 17 * 2
    for edit in EDITS:
        if not edit.jobs and edit.name != "a lost intermediate":
            edit.change(copy)
    assert run(copy) == frozenset()
    git(copy, "checkout", "--", ".")
    for names, gone in ROUNDS:
        for name in names:
            BY_NAME[name].change(copy)
        stale = frozenset().union(*(BY_NAME[name].jobs for name in names))
        assert run(copy) == without(stale, *gone), names
        assert would_run(copy) == frozenset(), names
    git(copy, "checkout", "--", ".")
    assert run(copy) == UNDONE
    assert would_run(copy) == frozenset()
    after = digests(copy)
    assert {name: after[name] for name in before} == before
