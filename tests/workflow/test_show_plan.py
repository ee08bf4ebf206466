"""make plan's program on a tiny study: what it says of changes that were really made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from multical.workflow import timings
from support import checkout, forks
from support.tiny_study import edit, snakemake, tiny_study

METRICS = "results/tiny/metrics.csv"
TUNED = "little.own.ls0.1.s0"
TRAINED = "2 train_sft (little.own.ls0.1.s0, little.own.ls0.s0)"

pytestmark = pytest.mark.workflow


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a tiny study, made by Snakemake with `STUBS`."""
    folder = checkout.copy(tmp_path_factory.mktemp("made"))
    tiny_study(folder)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "as it was")
    snakemake(folder, METRICS)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """One to change things in, without timings."""
    folder = shutil.copytree(made, tmp_path / "copy", symlinks=True)
    shutil.rmtree(folder / "logs")
    return folder


def plan(folder: Path, *arguments: str, **environ: str) -> str:
    """What the program prints; a failed test that shows it where it fails."""
    done = refused(folder, *arguments, **environ)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def refused(folder: Path, *arguments: str, **environ: str) -> Any:
    return forks.run(
        [sys.executable, "tools/show_plan.py", *arguments],
        cwd=folder,
        env=os.environ | environ,
    )


def why(said: str) -> list[str]:
    """The lines under `Why`, without their indentation."""
    part = said.split("\nWhy\n")[1].split("\n\nWhat it takes\n")[0]
    return [line.strip() for line in part.splitlines() if line]


def row(said: str, rule: str) -> str:
    """The row of a rule in the table, its spaces made single."""
    table = said.split("\nWhat it takes\n")[1].split("\n\n")[0]
    (line,) = [line for line in table.splitlines() if line.startswith(f"  {rule} ")]
    return " ".join(line.split())


def record(folder: Path, name: str, seconds: float) -> None:
    """A benchmark file as Snakemake writes it."""
    file = folder / f"logs/results/tiny/{name}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t-\n", encoding="utf-8")


def test_nothing_to_be_done(made: Path) -> None:
    assert plan(made, METRICS) == f"{METRICS}: nothing to be done\n"


def test_a_changed_setting_is_named_with_its_values(copy: Path) -> None:
    edit(copy, "config.yaml", "learning_rate: 5.0e-05", "learning_rate: 1.0e-04")
    assert why(plan(copy, METRICS)) == [
        "config.yaml: studies.results/tiny.training.learning_rate 5e-05 -> 0.0001",
        TRAINED,
        "then 2 score_run (little.own.ls0.1.s0, little.own.ls0.s0), compute_metrics",
    ]


def test_changed_code_is_named_where_that_of_then_is_known(copy: Path) -> None:
    for module in ("models/smoothing", "scoring/tokenized", "figures/style"):
        edit(copy, f"scripts/multical/{module}.py", '"""\n\nfrom', '"""\n\nADDED = 1\nfrom')
    said = why(plan(copy, METRICS))
    assert said[said.index(TRAINED) - 1] == "scripts/multical/models/smoothing.py: ADDED added"
    assert "scripts/multical/scoring/tokenized.py: ADDED added" in said
    assert not any("style" in line for line in said)

    shutil.rmtree(copy / ".snakemake/snapshots")
    assert why(plan(copy, METRICS))[:2] == [
        "code of scripts/score_run.py changed; the old code is not known",
        "3 score_run (little, little.own.ls0.1.s0, little.own.ls0.s0)",
    ]


def test_a_comment_changes_nothing(copy: Path) -> None:
    edit(copy, "scripts/multical/models/smoothing.py", '"""\n\nfrom', '"""\n\n# a comment\nfrom')
    assert "nothing to be done" in plan(copy, METRICS)


def test_a_changed_input_is_named(copy: Path) -> None:
    edit(copy, "own.jsonl", "What is 7", "How much is 7")
    assert why(plan(copy, METRICS))[:3] == [
        "input changed: own.jsonl",
        "make_sft_data",
        f"then {TRAINED}, 2 score_run",
    ]


def test_a_new_run_is_missing_and_a_new_input(copy: Path) -> None:
    edit(copy, "config.yaml", "    - 0.1\n", "    - 0.1\n    - 0.3\n")
    assert why(plan(copy, METRICS)) == [
        "config.yaml: studies.results/tiny.smoothing +0.3",
        "train_sft (little.own.ls0.3.s0), score_run (little.own.ls0.3.s0), compute_metrics",
    ]


def test_a_job_that_was_cut_off_is_told(copy: Path) -> None:
    name = b64encode(f"results/tiny/records/{TUNED}/quiz.parquet".encode()).decode()
    (copy / ".snakemake/incomplete" / name).touch()
    assert why(plan(copy, METRICS))[:2] == [
        "output incomplete: the job that makes it was cut off, or is at work",
        f"score_run ({TUNED})",
    ]


def test_equal_reasons_are_one_line(copy: Path) -> None:
    said = why(plan(copy, "results/tiny/headline.txt"))
    assert said[0] == "output missing: never made"
    assert len(" ".join(said[1:]).split(", ")) == 26
    assert "plot_temperatures_by_lang, write_headline" in " ".join(said)


def test_timings_are_looked_for_where_snakemake_puts_them(made: Path) -> None:
    for run in ("little.own.ls0.s0", TUNED):
        for rule in timings.FLOP.keys() - {"evaluate_sft"}:
            wildcards = {"root": "results/tiny", "run": run, "benchmark": "quiz", "shard": ""}
            for path in timings.RECORDED[rule][1:]:
                assert (made / path.format(**wildcards)).is_file()


def test_times_say_where_they_are_from(copy: Path) -> None:
    edit(copy, "scripts/multical/models/smoothing.py", '"""\n\nfrom', '"""\n\nADDED = 1\nfrom')
    said = plan(copy, METRICS, MULTICAL_GPUS="gpus")
    assert row(said, "train_sft") == "train_sft 2 cluster 0:01:00 0:00:30 0.02 estimated"
    assert "40 % of an A100's bfloat16 peak): our assumption" in said
    assert row(said, "compute_metrics") == "compute_metrics 1 here - - - not known"
    (line,) = [line for line in said.splitlines() if line.startswith("  train_sft    little")]
    # 2 runs of 2 steps of 4 conversations of 25.155 tokens, 1e8 weights, 6 FLOP each
    assert line.split() == "train_sft little own 2 402 1e+08 2.41e+11 0.0".split()
    # twice 30 s and 6 FLOP x 1e8 weights x 2 steps x 4 conversations x 25.155 tokens at 1e8 FLOP/s
    told = row(plan(copy, METRICS, "--flops", "1e8"), "train_sft")
    assert told == "train_sft 2 cluster 0:41:15 0:20:37 0.69 estimated"

    for run in (TUNED, "little.own.ls0.s0"):
        record(copy, f"train_sft/{run}", 3600)
    record(copy, "compute_metrics", 5)
    said = plan(copy, METRICS, MULTICAL_GPUS="gres:a100")
    assert row(said, "train_sft") == "train_sft 2 cluster 2:00:00 1:00:00 2.00 recorded"
    assert row(said, "compute_metrics").endswith("here 0:00:05 0:00:05 - recorded")

    edit(copy, "config.yaml", "steps: 2", "steps: 10")
    said = plan(copy, METRICS, MULTICAL_GPUS="none")
    assert (
        row(said, "train_sft") == "train_sft 2 cluster 10:00:00 5:00:00 - scaled x5 from 1 recorded"
    )
    assert f"train_sft {TUNED}, little.own.ls0.s0: longer than the limit of 4:00:00" in said
    assert "GPU-hours" not in said.split("In all")[1].split("Where")[0]


def test_a_card_runs_the_models_of_any_profile(copy: Path) -> None:
    edit(copy, "config.yaml", "steps: 2", "steps: 20000")
    # 30 s and 6 FLOP x 1e8 weights x 20,000 steps x 4 conversations x 25.155 tokens, twice
    for card, time in (("rtx-4090", "0:01:37"), ("h100", "0:01:06")):
        said = plan(copy, METRICS, "--profile", "none", "--card", card)
        assert row(said, "train_sft").startswith(f"train_sft 2 here {time} "), card
        assert row(said, "compute_metrics") == "compute_metrics 1 here - - - not known"
    assert said.splitlines()[-3:-1] == [
        "    at 3.96e+14 FLOP/s a GPU (40 % of an H100 SXM's bfloat16 peak): our assumption",
        "    an H100 SXM's peak: 989.4 TFLOP/s (NVIDIA H100 data sheet)",
    ]
    assert "GPU-hours" in said.split("In all")[1].split("Where")[0]
    assert refused(copy, METRICS, "--card", "tpu").stderr.endswith(
        "--card: invalid choice: 'tpu' (choose from 'a100', 'h100', 'rtx-4090', 'a5000')\n"
    )


def test_disk_is_for_what_is_not_there_yet(copy: Path) -> None:
    shutil.rmtree(copy / "results/tiny/runs")
    edit(copy, "config.yaml", "save_every: 2", "save_every: 1")
    # 1e8 weights and twice as many of AdamW, of 4 bytes, in two checkpoints, of two runs
    (line,) = [line for line in plan(copy, METRICS).splitlines() if line.startswith("  disk: ")]
    assert line.startswith("  disk: 0.0 GB more at most, beside tables and figures; ")
    assert (
        "\n  scratch: 2.4 GB more for a run while it is trained, at most; 4.8 for all 2 at once\n"
    ) in plan(copy, METRICS)
    edit(copy, "config.yaml", "save_every: 1", "save_every: 3")
    assert "  scratch: " not in plan(copy, METRICS)


def test_it_writes_nothing_and_needs_no_lock(copy: Path) -> None:
    edit(copy, "config.yaml", "steps: 2", "steps: 3")
    (copy / ".snakemake/locks").mkdir(exist_ok=True)
    (copy / ".snakemake/locks/0.output.lock").write_text(f"{METRICS}\n", encoding="utf-8")

    def state() -> dict[Path, int]:
        # a dry run of Snakemake, too, leaves an inventory of files
        skipped = {"__pycache__", "iocache"}
        found = [path for path in copy.rglob("*") if not skipped & {*path.parts}]
        return {path: path.stat().st_mtime_ns for path in found if path.is_file()}

    before = state()
    assert "train_sft" in plan(copy, METRICS)
    assert state() == before


@pytest.mark.parametrize(
    ("arguments", "environ", "sentence"),
    [
        (["results/tiny/nix.csv"], {}, "results/tiny/nix.csv: no rule makes it, expected .*"),
        ([METRICS, "--profile", "nix"], {}, "profile nix: .*no profile.yaml.*"),
        ([METRICS], {"MULTICAL_GPUS": "many"}, "profile slurm: .*gpus: found 'many', expected .*"),
    ],
)
def test_refusals(made: Path, arguments: list[str], environ: dict[str, str], sentence: str) -> None:
    done = refused(made, *arguments, **environ)
    assert done.returncode == 1
    assert re.fullmatch(f"error: {sentence}\n", done.stderr)
    assert done.stdout == ""


def test_a_wrong_config_is_one_sentence(copy: Path) -> None:
    edit(copy, "config.yaml", "bins: 15", "bins: many")
    done = refused(copy, METRICS)
    assert done.returncode == 1
    assert "bins" in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_jobs_are_local_without_a_profile(copy: Path) -> None:
    edit(copy, "config.yaml", "steps: 2", "steps: 3")
    said = plan(copy, METRICS, "--profile", "none")
    assert "5 jobs, 0 submitted and 5 beside Snakemake (profile none)" in said
    assert "1e+11 FLOP/s a job without GPU: our assumption" in said
    assert "GPU-hours" not in said.split("In all")[1].split("Where")[0]
