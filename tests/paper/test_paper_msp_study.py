"""Paper 2's own runs at the paper's shape, end to end: `paper_msp` says what of them is small."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from multical import records
from multical.config import schema, studies
from support import api_server, checkout, hub_server, paper_msp, paper_study
from support.api_server import Api
from support.hub_server import Hub
from support.paper_msp import BASE, CHAT, FIVE_SHOT, TARGETS

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

#: File by what of the paper it is, as docs/paper2.md has them
GROUPS = re.findall(
    r"^\| (\d+) .*? \| (.*) \|$", (checkout.REPO / "docs/paper2.md").read_text("utf-8"), re.M
)
FILE = re.compile(r"`((?:figures|tables)/[a-z_]+\.(?:pdf|csv))`")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server.serve() as served:
        paper_msp.serve(served)
        yield served


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with api_server.serve() as served:
        yield served


@pytest.fixture(scope="module")
def study(hub: Hub, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the three studies are made."""
    folder = paper_msp.make(tmp_path_factory.mktemp("msp"), hub, api)
    paper_msp.snakemake(folder, hub, *TARGETS)
    return folder


def scored(folder: Path, root: str, run: str, benchmark: str) -> pd.DataFrame:
    return records.read(folder / root / "records" / run / f"{benchmark}.parquet")


def test_all_groups_of_the_paper_are_told_of() -> None:
    assert [int(number) for number, _ in GROUPS] == list(range(1, 20))


@pytest.mark.parametrize("root", [CHAT, BASE, FIVE_SHOT])
def test_each_figure_and_table_shows_something(study: Path, hub: Hub, api: Api, root: str) -> None:
    chosen = schema.load(paper_msp.config(hub, api)).chat_confidence(root)
    names = {name for _, told in GROUPS for name in FILE.findall(told)}
    assert len(names) == 13 + 10
    for name in names:
        for panel in ("", *(one.id for one in chosen.datasets)):
            file = study / root / name
            if name.startswith("tables/"):
                told = file.read_text("utf-8")
                assert all(model.name in told or model.run in told for model in chosen.models) or (
                    "datasets" in name or "correlations" in name
                ), name
                break
            if panel and file.stem in ("dataset_bars", "prompts"):
                break
            stem = file.parent / panel / file.stem
            assert Path(f"{stem}.pdf").read_bytes().startswith(b"%PDF"), stem
            assert np.std(matplotlib.image.imread(f"{stem}.png")) > 0.01, stem
            assert json.loads(Path(f"{stem}.json").read_text("utf-8"))["study"] == root


def test_the_headline_tells_of_all_models_and_of_the_studies_inside(
    study: Path, hub: Hub, api: Api
) -> None:
    told = (study / CHAT / "headline.txt").read_text("utf-8").splitlines()
    table = pd.read_csv(study / CHAT / "tables/auroc.csv").query("dataset == 'all'")
    for row in table.itertuples():
        (line,) = (line for line in told if line.strip().startswith(str(row.model)))
        assert f"{row.accuracy:.3f}" in line
    assert told[-2:] == [f"See also {root}/headline.txt" for root in (BASE, FIVE_SHOT)]


@pytest.mark.parametrize("root", [CHAT, BASE, FIVE_SHOT])
def test_the_page_has_each_figure_and_table(study: Path, hub: Hub, root: str) -> None:
    paper_msp.snakemake(study, hub, f"{root}/index.html")
    text = (study / root / "index.html").read_text("utf-8")
    assert text.count("<figure ") == len(list((study / root / "figures").rglob("*.png")))
    assert "chat models misses their accuracy by" in text.partition("<figure ")[0]


def test_both_phrasings_are_asked_of_all(study: Path, hub: Hub, api: Api) -> None:
    loaded = schema.load(paper_msp.config(hub, api))
    for root in (CHAT, BASE, FIVE_SHOT):
        chosen = loaded.chat_confidence(root)
        for run, benchmark in studies.scored(chosen):
            frame = scored(study, root, run, benchmark)
            counts = frame["prompt"].value_counts()
            assert set(counts.index) == set(chosen.scoring.prompts)
            assert len(set(counts)) == 1
            assert frame["letter_logits"].notna().all()
            assert frame["text_logliks"].isna().all()
            assert frame["letter_bounds"].isna().all() == (run != "gpt-4o")


def test_five_examples_stand_before_a_question(study: Path) -> None:
    run = "llama-3.1-8b-instruct"
    zero, five = (
        scored(study, root, run, name)
        for root, name in ((CHAT, "hellaswag"), (FIVE_SHOT, "hellaswag"))
    )
    assert five["prompt_tokens"].min() > 3 * zero["prompt_tokens"].max()


def test_base_models_are_asked_without_a_chat_format(study: Path) -> None:
    tokens = [
        scored(study, root, run, "arc-challenge")["prompt_tokens"].sum()
        for root, run in ((CHAT, "llama-3.1-8b-instruct"), (BASE, "llama-3.1-8b"))
    ]
    assert tokens[1] < tokens[0]


def test_options_stand_in_a_drawn_order(study: Path) -> None:
    """The right one is the first in TruthfulQA's own rows."""
    gold = scored(study, CHAT, "yi-6b-chat", "truthfulqa")["gold"]
    assert gold.nunique() > 1


def test_claims_are_judged(study: Path) -> None:
    document = json.loads((study / CHAT / "claims/verdicts.json").read_text("utf-8"))
    verdicts = {name: one["verdict"] for name, one in document["claims"].items()}
    assert {name for name, verdict in verdicts.items() if verdict == "not testable here"} >= {
        "M1", "M2", "M3"
    }  # fmt: skip
    assert document["claims"]["P1"]["parts"]


def test_a_second_call_has_nothing_to_do(study: Path, hub: Hub, api: Api) -> None:
    asked = len(api.bodies)
    assert "Nothing to be done" in paper_msp.snakemake(study, hub, *TARGETS)
    assert len(api.bodies) == asked


def would_run(study: Path, hub: Hub, raw: dict[str, Any]) -> dict[str, set[str]]:
    """The jobs of a dry run with another config, by rule the studies that they are of."""
    with paper_study.changed(study / "config.yaml", paper_study.dumped(raw)):
        told = paper_msp.snakemake(study, hub, "--dry-run", *TARGETS)
    found: dict[str, set[str]] = {}
    for rule, root in re.findall(
        r"^(?:local)?rule (\w+):.*?wildcards: .*?root=([\w/]+)", told, re.S | re.M
    ):
        found.setdefault(rule, set()).add(root)
    return found


def test_a_phrasing_of_one_study_reruns_that_study(study: Path, hub: Hub, api: Api) -> None:
    raw = paper_msp.config(hub, api)
    raw["studies"][BASE]["scoring"]["prompts"].pop()
    jobs = would_run(study, hub, raw)
    assert jobs["score_run"] == {BASE}
    assert jobs["write_msp_headline"] == {BASE, CHAT}
    assert all(roots == {BASE} for rule, roots in jobs.items() if rule != "write_msp_headline")


def test_a_name_of_a_model_reruns_no_model(study: Path, hub: Hub, api: Api) -> None:
    raw = paper_msp.config(hub, api)
    raw["studies"][CHAT]["models"][0]["name"] = "Another"
    jobs = would_run(study, hub, raw)
    assert "compute_msp_auroc" in jobs
    assert jobs.keys().isdisjoint({"score_run", "score_api"})
