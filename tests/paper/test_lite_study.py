"""Paper 1 for one GPU at its shape, end to end: a tiny model, few questions, few conversations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from multical import jsonl
from multical.claims import report
from multical.config import schema, studies
from multical.workflow import job_params
from support import checkout, hub_models, hub_repos, hub_server, paper_study
from support.hub_server import Hub

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

ROOT = "results/lite"
TARGETS = [f"{ROOT}/{name}" for name in ("headline.txt", "claims/verdicts.json", "index.html")]
OWN = checkout.config()
LANGUAGES = {
    "global-mmlu-lite": OWN["benchmarks"]["global-mmlu-lite"]["source"]["languages"],
    "mmlu-prox-lite": hub_repos.MMLU_PROX,
}
#: Questions of a language that the hub has
QUESTIONS = {"global-mmlu-lite": 6, "mmlu-prox-lite": 8}
CONVERSATIONS = 12


def config(hub: Hub) -> dict[str, Any]:
    """The repository's config, its study shrunk, but trained with its own `scale`."""
    raw = paper_study.own_config(hub)
    scale = raw["studies"][ROOT]["training"]["scale"]
    paper_study.shrink(raw["studies"][ROOT])
    raw["studies"][ROOT]["training"]["scale"] = scale
    raw["sft_data"]["tulu3-50k"]["source"]["examples"] = CONVERSATIONS
    return raw


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server.serve() as served:
        for name, (make, gated) in hub_models.LITE.items():
            served.add("models", name, make(), gated)
        languages = LANGUAGES["global-mmlu-lite"]
        served.add("datasets", "CohereLabs/Global-MMLU-Lite", hub_repos.global_mmlu(languages))
        served.add("datasets", "li-lab/MMLU-ProX-Lite", hub_repos.mmlu_prox())
        served.add("datasets", "allenai/tulu-3-sft-mixture", hub_repos.tulu())
        yield served


@pytest.fixture(scope="module")
def study(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the study is made, two trainings at once."""
    folder = checkout.copy(tmp_path_factory.mktemp("lite"))
    (folder / "config.yaml").write_text(paper_study.dumped(config(hub)), encoding="utf-8")
    paper_study.snakemake(folder, hub, *TARGETS)
    return folder


def test_the_study_has_the_shape_of_paper_1(hub: Hub) -> None:
    for raw in (OWN, config(hub)):
        study = schema.load(raw).multilingual(ROOT)
        assert (study.smoothing, study.seeds) == ([0, 0.1, 0.2], [0, 1, 2])
        assert len(studies.runs(study)) == 1 + 9
        assert study.training.scale.precision == "bfloat16"
        assert (study.languages, study.questions_per_language) == (None, None)
        assert set(study.metrics.readouts) >= {"letter", "text_ppl"}
    assert {name: len(languages) for name, languages in LANGUAGES.items()} == {
        "global-mmlu-lite": 23, "mmlu-prox-lite": 29
    }  # fmt: skip


def test_all_its_languages_have_a_resource_level() -> None:
    levels = job_params.resource_levels(schema.load(OWN), ROOT)
    assert levels.keys() == {*LANGUAGES["global-mmlu-lite"], *LANGUAGES["mmlu-prox-lite"]}


def test_each_figure_of_each_view_shows_something(study: Path, hub: Hub) -> None:
    chosen = schema.load(config(hub))
    assert len(job_params.panels(chosen, ROOT)) == 2
    paper_study.assert_figures(study, chosen, ROOT, without_culture="mmlu-prox-lite")


def test_the_page_has_each_figure_of_each_view(study: Path) -> None:
    text = (study / ROOT / "index.html").read_text("utf-8")
    assert text.count("<figure ") == len(list((study / ROOT / "figures").rglob("*.png")))
    assert "fine-tuning (SFT)" in text.partition("<figure ")[0]


def test_metrics_cover_every_run_language_and_readout(study: Path, hub: Hub) -> None:
    table = pd.read_csv(study / ROOT / "metrics.csv")
    chosen = schema.load(config(hub)).multilingual(ROOT)
    for benchmark, languages in LANGUAGES.items():
        own = table[table["benchmark"] == benchmark]
        assert set(own["run"]) == studies.runs(chosen).keys()
        assert set(own["readout"]) == set(chosen.metrics.readouts)
        shown = own[own["metric"] == "ece"]
        assert set(shown["n"]) == {QUESTIONS[benchmark]}
        for _, cell in shown.groupby(["run", "readout"]):
            assert sorted(cell["language"]) == sorted(languages)


def test_seeds_train_on_the_same_conversations_in_another_order(study: Path) -> None:
    lines = (study / "results/inputs/sft/tulu3-50k.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == CONVERSATIONS
    runs = [study / ROOT / f"runs/qwen3-0.6b-base.tulu3-50k.ls0.s{seed}" for seed in range(3)]
    logs = [[line for _, line in jsonl.read(run / "loss.jsonl")] for run in runs]
    assert len({str(log) for log in logs}) == 3
    assert len({log[-1]["num_input_tokens_seen"] for log in logs}) == 1  # one epoch each


def test_all_claims_of_paper_1_are_judged(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    verdicts = report.read(TARGETS[1])["claims"]
    judged = {name: claim["verdict"] != "not testable here" for name, claim in verdicts.items()}
    assert judged == {
        name: name.startswith("M") for name in ("M1", "M2", "M3", "P1", "P2", "P3", "P4")
    }


def test_a_second_call_has_nothing_to_do(study: Path, hub: Hub) -> None:
    assert paper_study.would_run(study, hub, *TARGETS) == {}
