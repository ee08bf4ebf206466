"""A study whose model, benchmarks and SFT data come from the hub: Snakemake makes its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import compute_metrics
from multical import records
from multical.config import files as config_files
from multical.data import conversations, questions
from multical.workflow import job_params
from support import hub_server, hub_study
from support.hub_server import GOOD_TOKEN, Hub
from support.hub_study import STUDY
from support.paper_study import snakemake

INPUTS = Path("results/inputs")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server.serve() as served:
        yield served


@pytest.fixture(scope="module")
def clone(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with a config of its own, and one model's records of it."""
    return hub_study.make(tmp_path_factory.mktemp("clone"), hub)


@pytest.mark.workflow
@pytest.mark.slow  # a study of its own
def test_inputs_from_the_hub_and_records_of_them(clone: Path, hub: Hub) -> None:
    files = ["benchmarks/mmlu.fewshot.parquet", "sft/hermes.jsonl", "sft/hermes.heldout.jsonl"]
    targets = [str(INPUTS / name) for name in files]
    targets += [f"{STUDY}/records/tiny/{name}.parquet" for name in ("mmlu", "prox", "reading")]
    snakemake(clone, hub, *targets)
    fewshot = questions.read(clone / targets[0])
    assert set(fewshot["language"]) == {"en", "sw", "zh"}
    assert all("/dev/" in name for name in fewshot["question_id"])
    made, held = (conversations.read(clone / target) for target in targets[1:3])
    assert (len(made), len(held)) == (8, 4)
    assert not {one["id"] for one in made} & {one["id"] for one in held}

    frame = records.read([clone / target for target in targets[3:]])
    asked = questions.read(clone / INPUTS / "benchmarks/mmlu.parquet")
    key = ["language", "question_id"]
    own = frame[frame["benchmark"] == "mmlu"].set_index(key)["culture"].astype(object)
    assert own.dropna().to_dict() == asked.set_index(key)["culture"].dropna().to_dict()
    assert own.value_counts().to_dict() == {"CA": 6, "CS": 6}
    prox = frame[frame["benchmark"] == "prox"]
    assert set(prox["language"]) == {"yo"}
    assert prox["n_options"].max() == 10
    assert prox["culture"].isna().all()

    # languages that no level lists are a group of their own, whatever benchmark they are from
    loaded = config_files.checked(config_files.read(folder=clone))
    few: dict[str, Any] = {"readouts": ["text_ppl"], "metrics": ["accuracy"]}
    parameters = job_params.metrics(loaded, STUDY).model_copy(update=few)
    by_language, groups, *_ = compute_metrics.compute([str(clone / targets[-1])], parameters)
    levels = by_language.groupby("language")["resource_level"].unique().map(list).to_dict()
    assert levels == {"en": ["high"], "as": ["unknown"], "hi-Latn": ["unknown"]}
    sizes = groups.groupby("group")["languages"].max().to_dict()
    assert sizes == {"non-english": 2, "high": 1, "unknown": 2, "all": 3}

    # the token that the hub was asked with is in nothing that was made, logged or remembered
    places = ["results", "logs", ".snakemake", "cache"]
    written = [file for place in places for file in (clone / place).rglob("*") if file.is_file()]
    assert {file.relative_to(clone).parts[0] for file in written} == set(places)
    assert not [file for file in written if GOOD_TOKEN.encode() in file.read_bytes()]

    # more examples change neither what is held out, nor the questions
    text = (clone / "config.yaml").read_text(encoding="utf-8")
    more = text.replace("examples: 8", "examples: 9")
    assert more != text
    (clone / "config.yaml").write_text(more, encoding="utf-8")
    told = snakemake(clone, hub, "--dry-run", *targets)
    assert told.count("rule make_sft_data:") == 1
    for rule in ("make_benchmark", "fetch_model", "score_run"):
        assert rule not in told
