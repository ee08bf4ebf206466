"""Paper 1 at the paper's shape, end to end: `paper_study` says what of it is small."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from multical.config import schema, studies
from multical.workflow import job_params
from support import hub_models, hub_repos, hub_server, paper_study, rerun_edits
from support.hub_server import Hub
from support.paper_study import ROOT, TARGET

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

LANGUAGES = {"global-mmlu": hub_repos.GLOBAL_MMLU, "mmlu-prox": hub_repos.MMLU_PROX}
#: Questions a language: all that the hub has but the one that contradicts itself
QUESTIONS = {"global-mmlu": 6, "mmlu-prox": 8}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server.serve() as served:
        paper_study.serve(served)
        yield served


@pytest.fixture(scope="module")
def study(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the study is made.

    Starting programs takes most of the time: two trainings at once use both cores.
    """
    folder = paper_study.make(tmp_path_factory.mktemp("paper"), hub)
    paper_study.snakemake(folder, hub, TARGET, "--set-threads", "train_sft=1")
    return folder


def settings(hub: Hub) -> schema.Config:
    """The study's config."""
    return schema.load(paper_study.config(hub))


def test_the_study_has_the_shape_of_the_paper(hub: Hub) -> None:
    study = settings(hub).multilingual(ROOT)
    assert len(study.models) == len(study.sft_data) == len(study.smoothing) == 3
    assert {name: len(LANGUAGES[name]) for name in study.benchmarks} == {
        "global-mmlu": 42, "mmlu-prox": 29
    }  # fmt: skip
    assert study.languages is None
    assert len(studies.runs(study)) == 3 + 27


def test_each_figure_of_each_view_shows_something(study: Path, hub: Hub) -> None:
    chosen = settings(hub)
    assert len(job_params.panels(chosen, ROOT)) == 6  # two benchmarks, three SFT sets
    paper_study.assert_figures(study, chosen, ROOT, without_culture="mmlu-prox")


def test_the_table_of_settings_tells_of_runs_and_trials(study: Path, hub: Hub) -> None:
    table = pd.read_csv(study / ROOT / "tables/settings.csv")
    tried = len(settings(hub).multilingual(ROOT).training.tried)
    assert table["role"].value_counts().to_dict() == {"run": 27, "trial": 9 * tried, "base": 3}
    runs = table[table["role"] == "run"].set_index("run")
    for name, row in runs.iterrows():
        made = json.loads((study / ROOT / f"runs/{name}/manifest.json").read_text("utf-8"))
        assert row["learning_rate"] == made["params"]["learning_rate"]
    adopted = runs["smoothing"] == 0
    assert runs["held_out_loss"].notna().eq(adopted).all()
    assert runs["training_hours"].isna().eq(adopted).all()  # counted in the trial's row
    assert (table["training_hours"].dropna() > 0).all()


def test_tables_and_headline_tell_of_all_models(study: Path, hub: Hub) -> None:
    names = ["tables/main.csv", "tables/main.tex", "headline.txt", "tables/settings.tex"]
    names += [f"tables/{panel}main.csv" for panel in job_params.panels(settings(hub), ROOT)]
    names += [
        f"tables/{panel}recalibration.csv" for panel in job_params.panels(settings(hub), ROOT)
    ]
    for name in names:
        text = (study / ROOT / name).read_text("utf-8")
        assert all(model in text for model in settings(hub).multilingual(ROOT).models), name


def test_the_page_has_each_figure_of_each_view(study: Path, hub: Hub) -> None:
    paper_study.snakemake(study, hub, f"{ROOT}/index.html")
    text = (study / ROOT / "index.html").read_text("utf-8")
    assert text.count("<figure ") == len(list((study / ROOT / "figures").rglob("*.png")))


def test_metrics_cover_every_run_and_language(study: Path, hub: Hub) -> None:
    table = pd.read_csv(study / ROOT / "metrics.csv")
    chosen = settings(hub).multilingual(ROOT)
    for benchmark, languages in LANGUAGES.items():
        own = table[table["benchmark"] == benchmark]
        assert set(own["run"]) == studies.runs(chosen).keys()
        assert set(own["readout"]) == set(chosen.metrics.readouts)
        shown = own[own["metric"].isin(["accuracy", "confidence", "ece"])]
        assert set(shown["n"]) == {QUESTIONS[benchmark]}
        assert shown["value"].between(0, 1).all()
        for _, cell in shown.groupby(["run", "readout", "metric"]):
            assert sorted(cell["language"]) == sorted(languages)
    names = pd.read_csv(study / "results/inputs/benchmarks/mmlu-prox.names.csv")
    assert names["left_out"].sum() == len(hub_repos.MMLU_PROX)


def test_smoothed_runs_take_the_chosen_learning_rate(study: Path, hub: Hub) -> None:
    chosen = settings(hub).multilingual(ROOT)
    if not chosen.training.tried:
        pytest.skip("the study tries one learning rate")
    for run in studies.runs(chosen).values():
        if run.sft is None:
            continue
        choice = json.loads(
            (study / ROOT / "learning_rates" / f"{run.model}.{run.sft}.json").read_text("utf-8")
        )
        assert {one["learning_rate"] for one in choice["trials"]} == set(chosen.training.tried)
        least = min(choice["trials"], key=lambda one: one["loss"])
        assert choice["learning_rate"] == least["learning_rate"]
        made = json.loads((study / ROOT / "runs" / run.id / "manifest.json").read_text("utf-8"))
        assert made["params"]["learning_rate"] == choice["learning_rate"]
        assert made["run"] == run.id
        assert made.get("trial") == (None if run.smoothing else choice["run"])


def test_only_what_is_needed_of_a_model_is_downloaded(study: Path, hub: Hub) -> None:
    asked = [path for _, path, _ in hub.requests if "/resolve/" in path]
    assert all(any(f"/{name}/resolve/" in path for path in asked) for name in hub_models.MODELS)
    assert not [path for path in asked if "/original/" in path or path.endswith(".bin")]


def test_a_second_call_has_nothing_to_do(study: Path, hub: Hub) -> None:
    assert paper_study.would_run(study, hub) == {}


def smoothing(raw: dict[str, Any]) -> None:
    raw["studies"][ROOT]["smoothing"][2] = 0.3


def learning_rate(raw: dict[str, Any]) -> None:
    raw["studies"][ROOT]["training"]["learning_rate"].append(1e-3)


def reference(raw: dict[str, Any]) -> None:
    raw["studies"][ROOT]["figures"]["reference_language"] = "fr"


def cost(raw: dict[str, Any]) -> None:
    raw["sft_data"]["tulu3"]["source"]["mean_tokens"] = 1


CULTURE = {"compute_culture", "plot_culture"}
TRIALS = {"train_sft", "evaluate_sft", "choose_learning_rate", "adopt_trial"}
#: The rules that run again with the scores of the study
SCORES = {job.split()[0] for job in rerun_edits.SCORES - rerun_edits.VERDICTS}
#: Each change of the config, the rules that must run again because of it, and some how often
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], set[str], dict[str, int]]] = {
    "another smoothing": (
        smoothing,
        {"train_sft", "plot_training"} | SCORES | CULTURE,
        {"train_sft": 9, "score_run": 18},
    ),
    "one learning rate more to try": (  # what may be chosen then is known to no dry run
        learning_rate,
        TRIALS | {"plot_training"} | SCORES | CULTURE,
        {"train_sft": 9 + 18, "evaluate_sft": 9, "choose_learning_rate": 9, "score_run": 54},
    ),
    "a setting of the figures": (
        reference,
        {"plot_ece_by_lang", "plot_entropy_by_lang", "plot_confidence_vs_accuracy_shift"}
        | {"plot_effects_by_lang", "plot_ece_vs_fertility", "plot_gap_vs_accuracy"}
        | {"make_selective_table"}
        | rerun_edits.RECALIBRATION,
        {},
    ),
    "what only plans read": (cost, set(), {}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_the_config_reruns_what_it_must(study: Path, hub: Hub, name: str) -> None:
    change, rules, counts = CHANGES[name]
    raw = paper_study.config(hub)
    change(raw)
    with paper_study.changed(study / "config.yaml", paper_study.dumped(raw)):
        jobs = paper_study.would_run(study, hub)
    assert set(jobs) == rules
    assert {rule: jobs[rule] for rule in counts} == counts


def test_a_change_of_a_figure_draws_it_alone(study: Path, hub: Hub) -> None:
    file = study / "scripts/plot_reliability.py"
    with paper_study.changed(file, file.read_text("utf-8") + "\n\nADDED = 1\n"):
        jobs = paper_study.would_run(study, hub)
    assert jobs == {"plot_reliability": 6, "write_headline": 1}
