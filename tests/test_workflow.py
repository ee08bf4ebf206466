"""The smoke study, for real: it is made once here, and the tests ask what would be made again."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

import checkout
from checkout import SNAKEMAKE, TARGET

PLOTS = {
    "plot_ece_by_lang",
    "plot_entropy_by_lang",
    "plot_confidence_vs_accuracy_shift",
    "plot_reliability",
    "plot_smoothing_sweep",
    "plot_ece_by_resource",
    "plot_conditions_by_resource",
    "plot_reliability_by_lang",
    "plot_effects_by_lang",
    "plot_effects_by_resource",
}
TABLES = {"make_main_table", "make_p_value_table", "write_headline"}
COMPUTED = {"compute_metrics", "bin_reliability", "compute_effects", "fit_mixed_model"}
METRICS = COMPUTED | PLOTS | TABLES
SCORES = {"score_run", "make_settings_table"} | METRICS
TRAINING = {"train_sft"} | SCORES

pytestmark = pytest.mark.workflow


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake in a folder; its output, or a failed test that shows it."""
    run = subprocess.run(
        [*SNAKEMAKE, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def would_run(folder: Path) -> dict[str, int]:
    """The jobs by rule that a dry run of the study lists."""
    told = snakemake(folder, "--dry-run", TARGET)
    if "Nothing to be done" in told:
        return {}
    table = told.split("Job stats:")[1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


@pytest.fixture(scope="session")
def smoke() -> Path:
    """The repository with its smoke study made."""
    checkout.make()
    return checkout.REPO


@pytest.fixture
def copy(smoke: Path, tmp_path: Path) -> Path:
    """A copy to change things in."""
    return checkout.copy_made(tmp_path, "inputs", "smoke")


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A change of one text in one file."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(old) >= 1, f"{name}: no {old!r} to change"
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def add_code(name: str) -> Callable[[Path], None]:
    """A change of a program or module that changes no result."""

    def change(folder: Path) -> None:
        with open(folder / name, "a", encoding="utf-8") as stream:
            stream.write("\n\nADDED = 1\n")

    return change


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    """Several changes as one."""

    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def touch_everything(folder: Path) -> None:
    for path in [*folder.glob("scripts/**/*.py"), *folder.glob("results/inputs/*/*.*")]:
        copied = path.read_bytes()
        path.unlink()
        path.write_bytes(copied)
    for path in folder.glob("results/smoke/**/*.parquet"):
        os.utime(path)
    for path in folder.glob("results/*/*/*/checkpoint"):
        os.utime(path)


def reorder_config(folder: Path) -> None:
    edit(
        "config.yaml",
        "      steps: 2\n      save_every: 2\n",
        "      save_every: 2   # reordered\n\n      steps:   2\n",
    )(folder)
    edit("config.yaml", "smoothing: [0.0, 0.1]\n", "smoothing: [0, 1.0e-1]\n")(folder)


def delete_a_record(folder: Path) -> None:
    (folder / "results/smoke/records/gemma3-270m/cldr-facts.parquet").unlink()
    edit("scripts/multical/trie.py", "return path[::-1]", "return list(reversed(path))")(folder)


#: Each edit, the rules that must run again because of it, and of some how many jobs.
EDITS: dict[str, tuple[Callable[[Path], None], set[str], dict[str, int]]] = {
    "nothing": (lambda folder: None, set(), {}),
    "touched files": (touch_everything, set(), {}),
    "reordered and reformatted config": (reorder_config, set(), {}),
    "comments, docstrings and layout of code": (
        both(
            edit("scripts/multical/smoothing.py", "\nimport", "\n\n# a comment\nimport"),
            edit("scripts/multical/scoring.py", '"""Scoring', '"""How scoring works'),
        ),
        set(),
        {},
    ),
    "plot style": (
        add_code("scripts/multical/plots.py"),
        PLOTS | {"write_headline"},
        {},
    ),
    "one figure's program": (
        add_code("scripts/plot_reliability.py"),
        {"plot_reliability", "write_headline"},
        {},
    ),
    "a metric's definition": (
        add_code("scripts/multical/metrics.py"),
        METRICS,
        {},
    ),
    "the loss": (
        add_code("scripts/multical/smoothing.py"),
        TRAINING,
        {"train_sft": 4, "score_run": 4},
    ),
    "the scoring of options": (
        edit("scripts/multical/trie.py", "return path[::-1]", "return list(reversed(path))"),
        SCORES,
        {"score_run": 6},
    ),
    "a lost record whose code has changed": (delete_a_record, SCORES, {"score_run": 6}),
    "one smoothing value more": (
        edit("config.yaml", "smoothing: [0.0, 0.1]\n", "smoothing: [0.0, 0.1, 0.3]\n"),
        TRAINING,
        {"train_sft": 2, "score_run": 2},
    ),
    "one model less": (
        edit("config.yaml", "models: [gemma3-270m, smollm2-135m-instruct]\n    sft_data: [facts]\n"
             "    smoothing: [0.0, 0.1]", "models: [gemma3-270m]\n    sft_data: [facts]\n"
             "    smoothing: [0.0, 0.1]"),
        METRICS | {"make_settings_table"},
        {},
    ),
    "another language": (
        edit("config.yaml", "languages: [en, fr, bn, yo]", "languages: [en, fr, bn, yo, am]"),
        SCORES,
        {"score_run": 6},
    ),
    "a prompt": (
        edit("config.yaml", 'plain: "{question}"', 'plain: "{question} "'),
        SCORES,
        {"score_run": 6},
    ),
    "a setting of the figures": (
        edit("config.yaml", "sft: facts\n      smoothing: 0.1\n      seed: 0\n"
             "      reference_language: en", "sft: facts\n      smoothing: 0.1\n      seed: 0\n"
             "      reference_language: fr"),
        {"plot_ece_by_lang", "plot_entropy_by_lang", "plot_confidence_vs_accuracy_shift"}
        | {"plot_effects_by_lang", "write_headline"},
        {},
    ),
    "the seed of the intervals": (
        edit("config.yaml", "replicates: 100, seed: 0", "replicates: 100, seed: 1"),
        METRICS - {"bin_reliability", "plot_reliability", "plot_reliability_by_lang"},
        {},
    ),
    "two settings that swap their values": (
        both(
            edit("config.yaml", "      batch_size: 4\n", "      batch_size: 2\n"),
            edit("config.yaml", "      steps: 2\n", "      steps: 4\n"),
        ),
        TRAINING,
        {"train_sft": 4, "score_run": 4},
    ),
    "the version of a library that only training uses": (
        edit("envs/requirements.lock", "trl==1.16.0", "trl==1.17.0"),
        TRAINING,
        {"train_sft": 4, "score_run": 4},
    ),
    "another study's settings": (
        edit("config.yaml", "smoothing: [0.0, 0.1, 0.2]", "smoothing: [0.0, 0.1, 0.4]"),
        set(),
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_exactly_what_is_stale_runs_again(copy: Path, name: str) -> None:
    change, rules, counts = EDITS[name]
    change(copy)
    jobs = would_run(copy)
    assert set(jobs) == rules
    assert {rule: jobs[rule] for rule in counts} == counts


def test_results_are_made_again_byte_for_byte(copy: Path) -> None:
    made = [
        *copy.glob("results/smoke/*.csv"),
        *copy.glob("results/smoke/figures/*.p*"),
        *copy.glob("results/smoke/stats/*.csv"),
        *copy.glob("results/smoke/tables/main.[ct]*"),
        *copy.glob("results/smoke/tables/p_values.[ct]*"),
        copy / "results/smoke/records/smollm2-135m-instruct/cldr-facts.parquet",
    ]
    before = {path: sha256(path.read_bytes()).hexdigest() for path in made}
    assert len(made) == 4 + 24 + 4 + 4 + 1
    made[-1].unlink()
    snakemake(copy, "--forcerun", *COMPUTED, "--", TARGET)
    assert {path: sha256(path.read_bytes()).hexdigest() for path in made} == before


def test_metrics_cover_every_run_and_language(smoke: Path) -> None:
    import pandas as pd

    table = pd.read_csv(smoke / "results/smoke/metrics.csv")
    assert (
        list(table.columns)
        == (
            "run model sft smoothing seed benchmark language resource_level readout metric "
            "value ci_low ci_high n"
        ).split()
    )
    text = table[table["readout"] == "text_ppl"]
    assert text.groupby(["run", "language"]).size().shape == (6 * 4,)
    assert set(table.loc[table["readout"] == "letter", "language"]) == {"en", "yo"}
    inside = (text["ci_low"] <= text["value"]) & (text["value"] <= text["ci_high"])
    inside |= text["value"].isna()
    assert inside.all()


def test_report_shows_figures_and_provenance(smoke: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    snakemake(smoke, "--report", str(page), TARGET)
    text = page.read_text(encoding="utf-8")
    for name in ("ece by lang", "reliability", "Provenance", "main"):
        assert name in text
    # nothing is loaded from elsewhere
    assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css)"', text)
