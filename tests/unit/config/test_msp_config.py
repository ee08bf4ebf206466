"""Paper 2's own runs in the config: what is refused, and what each job depends on."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multical.config import schema, studies
from multical.errors import InputError
from multical.params import canonical
from multical.workflow import job_params, msp_params, scoring_params
from support import checkout

RAW: dict[str, Any] = checkout.config()
DEMO, ROOT = "results/demo", "results/demo/letters"
TUNED = "gemma3-270m.facts.ls0.1.s0"
API: dict[str, Any] = {
    "kind": "api", "url": "https://api.example.com/v1", "model": "m-1", "endpoint": "chat",
    "top_logprobs": 8, "access": {"key": "TEST_API_KEY"},
}  # fmt: skip
STUDY: dict[str, Any] = {
    "kind": "chat_confidence",
    "models": [
        {"run": "smollm2-135m-instruct", "name": "SmolLM2", "size": 0.135},
        {"run": TUNED, "of": DEMO, "name": "Gemma", "size": 0.27},
        {"run": "gpt", "name": "GPT", "size": None},
    ],
    "datasets": [
        {"id": "en", "name": "English", "benchmark": "cldr-facts"},
        {"id": "sw", "name": "Swahili", "benchmark": "cldr-facts", "language": "sw"},
    ],
    "scoring": {
        "prompts": ["default", "short"], "dtype": "auto", "matmul_precision": "medium",
        "batch_tokens": 2048,
    },
    "confidences": ["msp", "max_logit", "margin", "entropy"],
    "significance": 1e-4,
    "bins": 10,
    "bootstrap": {"replicates": 10, "seed": 0, "level": 0.95},
    "abstention": {
        "seed": 1, "seeds": 2, "ks": [2, 20], "main_k": 20, "grid": "min",
        "schemes": {"balanced": 1},
    },
}  # fmt: skip


def raw() -> dict[str, Any]:
    """The repository's config with one such study more."""
    found: dict[str, Any] = json.loads(json.dumps(RAW))  # without what YAML's anchors share
    found["models"]["gpt"] = {"chat_format": "template", "source": json.loads(json.dumps(API))}
    found["prompts"]["short"] = {"multiple_choice": "{question}\n{options}\nAnswer:", "cloze": None}
    found["studies"][ROOT] = json.loads(json.dumps(STUDY))
    return found


Edit = Callable[[dict[str, Any], dict[str, Any]], Any]


def loaded(edit: Edit = lambda whole, study: None) -> schema.Config:
    """The config after an edit of it, or of the study in it."""
    found = raw()
    edit(found, found["studies"][ROOT])
    return schema.load(found)


def compared(**changes: Any) -> Edit:
    """The edit that compares the study with another one."""
    section = {"study": "results/msp", "unpaired": []} | changes
    return lambda _, study: study.update(compared_with=section)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda _, s: s["models"][1].update(run="none"), "models.1.run: found 'none'"),
        (lambda _, s: s["models"][1].update(run="gemma3-270m"), "models.1.run: found 'gemma3"),
        (lambda _, s: s["models"][1].update(of="results/msp_v2"), "models.1.of: found 'results/m"),
        (lambda _, s: s["models"][0].update(run="none"), "models.0.run: found 'none'"),
        (lambda _, s: s["models"][2].update(name="Gemma"), "models: name: found 'Gemma' twice"),
        (lambda _, s: s["models"][2].update(run=TUNED), f"models: run: found {TUNED!r} twice"),
        (lambda _, s: s["datasets"][0].update(id="sw"), "datasets: id: found 'sw' twice"),
        (lambda _, s: s["datasets"][0].update(language="sw"), "found ('cldr-facts', 'sw') twice"),
        (lambda _, s: s["datasets"][0].update(language="xx"), "datasets.0.language: found 'xx'"),
        (
            lambda _, s: s["datasets"][1].update(benchmark="hellaswag"),
            "datasets.1.language: found 'sw', expected one of ['en']",
        ),
        (lambda _, s: s["datasets"][0].update(benchmark="quiz"), "datasets.0.benchmark: found"),
        (lambda _, s: s["scoring"].update(prompts=["odd"]), "scoring.prompts: found 'odd'"),
        (lambda _, s: s["scoring"].update(prompts=["short"] * 2), "found 'short' twice"),
        (
            lambda _, s: s["scoring"].update(num_fewshot=5),
            "scoring.num_fewshot: found 5, expected 0, since",
        ),
        (lambda _, s: s["scoring"].update(quantization="int3"), "quantization: found 'int3'"),
        (lambda _, s: s.update(confidences=["margin"]), "expected msp among them"),
        (lambda _, s: s["abstention"].update(grid="zero"), "abstention.grid: found zero"),
        (lambda _, s: s["datasets"][0].update(id="all"), "datasets.0.id: found 'all'"),
        (lambda _, s: s["datasets"][0].update(id="a.b"), "datasets.0.id: found 'a.b'"),
        (lambda w, _: w["studies"][DEMO]["scoring"].update(prompt="short"), "needs cloze: found"),
        (lambda w, _: w["models"]["gemma3-270m"].update(chat_format="none"), "cannot be trained"),
        (lambda w, _: w["studies"][DEMO].update(models=["gpt"]), "models: found 'gpt'"),
        (compared(study=DEMO), "compared_with.study: found 'results/demo', expected one of"),
        (compared(study=ROOT), f"compared_with.study: found '{ROOT}', expected one of"),
        (compared(unpaired=["arc"]), "compared_with.unpaired: found 'arc', expected one of"),
        (
            lambda _, s: (s["scoring"].update(prompts=["short"]), compared()(_, s)),
            "compared_with.study: phrasings: found 1, expected one of [2]",
        ),
    ],
)
def test_what_is_refused(edit: Edit, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(edit)
    assert sentence in str(caught.value)


def test_runs_come_from_the_models_or_from_another_study() -> None:
    found = loaded()
    assert job_params.run(found, ROOT, "smollm2-135m-instruct") == studies.Run(
        "smollm2-135m-instruct"
    )
    assert job_params.run(found, ROOT, TUNED) == job_params.run(found, DEMO, TUNED)
    assert job_params.trainer(found, ROOT, TUNED) == DEMO
    assert job_params.trainer(found, ROOT, "gpt") == ROOT
    runs = found.chat_confidence(ROOT).by_run
    assert [job_params.is_behind_api(found, ROOT, name) for name in runs] == [
        False, False, True
    ]  # fmt: skip
    with pytest.raises(KeyError):
        job_params.run(found, ROOT, "gemma3-270m")


def test_studies_inside_of_others() -> None:
    found = loaded()
    assert ROOT in job_params.parts(found, DEMO)
    assert job_params.parts(found, ROOT) == []
    assert job_params.parts(found, "results") == []


def test_a_scoring_job_depends_on_its_own_settings() -> None:
    job = scoring_params.scoring(loaded(), ROOT, TUNED, "cldr-facts")
    settings = job.model_dump(mode="json")
    assert (settings["run"], settings["sft"], settings["smoothing"]) == (TUNED, "facts", 0.1)
    assert settings["languages"] == ["en", "sw"]
    assert [prompt["name"] for prompt in settings["prompts"]] == ["default", "short"]
    assert [prompt["cloze"] for prompt in settings["prompts"]] == [None, None]
    assert settings["chat_format"] == "plain"
    # what has its default stands nowhere
    assert (
        json.loads(canonical(job))
        .keys()
        .isdisjoint({"num_fewshot", "quantization", "option_order"})
    )


def test_an_api_is_not_asked_in_other_orders() -> None:
    """A local model is; what it is asked then is another job."""

    def cyclic(_: Any, study: dict[str, Any]) -> None:
        study["scoring"]["option_order"] = "cyclic"

    sentence = "scoring.option_order: found cyclic, expected given, since gpt is behind an API"
    with pytest.raises(InputError, match=sentence):
        loaded(cyclic)
    whole = raw()
    whole["studies"][ROOT]["models"].pop()
    cyclic(whole, whole["studies"][ROOT])
    found = schema.load(whole)
    job = scoring_params.scoring(found, ROOT, TUNED, "cldr-facts")
    assert job.option_order == json.loads(canonical(job))["option_order"] == "cyclic"


SETTINGS: list[tuple[Edit, bool]] = [
    (lambda _, s: s["scoring"].update(chat_format="none"), True),
    (lambda _, s: s["scoring"].update(quantization="nf4"), True),
    (
        lambda w, _: w["models"]["gemma3-270m"].update(
            chat_format="template", chat_date="2024-07-26"
        ),
        True,
    ),
    (lambda _, s: s["scoring"].update(prompts=["short"]), True),
    (lambda _, s: s.update(questions_per_dataset=5), True),
    (lambda _, s: s["datasets"].pop(), True),
    (lambda _, s: s["datasets"].reverse(), False),
    (lambda _, s: s["models"].pop(0), False),
    (lambda _, s: s["models"][1].update(name="Other", size=1), False),
    (lambda _, s: s.update(bins=5, confidences=["msp"]), False),
    (lambda w, _: w["prompts"]["default"].update(cloze="{question}?"), False),
    (lambda w, _: w["models"]["gpt"].update(parameters=5), False),
]


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_what_changes_a_scoring_job(number: int) -> None:
    edit, changes = SETTINGS[number]
    before, after = (
        scoring_params.scoring(one, ROOT, TUNED, "cldr-facts") for one in (loaded(), loaded(edit))
    )
    assert (canonical(before) != canonical(after)) == changes


def test_an_api_is_asked_both_phrasings() -> None:
    job = scoring_params.api_scoring(loaded(), ROOT, "gpt", "cldr-facts")
    settings = job.model_dump(mode="json")
    assert [prompt["name"] for prompt in settings["prompts"]] == ["default", "short"]
    assert settings["api"]["model"] == "m-1"
    assert settings["num_fewshot"] == 0


def test_published_numbers_are_of_models_and_data_sets_of_the_study() -> None:
    study = schema.load(RAW).chat_confidence("results/msp")
    with open(Path(__file__).parents[3] / str(study.expected), encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["model"] for row in rows} - {""} == {model.name for model in study.models}
    assert {row["dataset"] for row in rows} <= {"", "all", *(one.id for one in study.datasets)}


def test_only_models_with_all_data_sets_are_in_tables() -> None:
    found, root = schema.load(raw()), "results/msp_v2/one_shot"
    shown = [model.file for model in msp_params.auroc(found, root).models]
    assert shown[0] == "Llama-7b"
    assert "gpt-4-turbo" in shown  # it lacks some questions alone
    changes = msp_params.changes(found, root)
    assert [model.file for model in changes.models] == ["Falcon-7b", "Falcon-40b", *shown]
    assert len(changes.before.models) == 12
    assert changes.prompts["second_prompt_few_shot_1"] == "second_prompt"
    assert canonical(msp_params.headline(found, "results/msp_v2")) == '{"study":"results/msp_v2"}'


def test_studies_of_the_same_questions_can_be_compared() -> None:
    found = raw()
    found["studies"]["results/msp/five_shot"]["compared_with"] = {"study": "results/msp"}
    changes = msp_params.changes(schema.load(found), "results/msp/five_shot")
    assert changes.datasets[0].benchmark == "arc-challenge-5shot"
    assert changes.before.datasets[0].benchmark == "arc-challenge"
    found["studies"]["results/msp/base"]["compared_with"] = {"study": "results/msp"}
    config = schema.load(found)
    with pytest.raises(InputError, match=r"no model or no data set is also one of results/msp"):
        msp_params.changes(config, "results/msp/base")
    with pytest.raises(InputError, match=r"compared_with: found null, expected a study"):
        msp_params.changes(schema.load(raw()), "results/msp")


def test_no_two_studies_share_the_variable_of_their_archives() -> None:
    raw = checkout.config()
    own = raw["studies"]["results/msp_v2"] | {"compared_with": None}
    with pytest.raises(InputError) as caught:
        schema.load(raw | {"studies": raw["studies"] | {"results/own": own}})
    assert str(caught.value) == (
        "config: studies.results/own.source.variable: found MSP_V2_ARCHIVE as in "
        "studies.results/msp_v2.source.variable, expected another"
    )
    own["source"] = own["source"] | {"variable": None}
    schema.load(raw | {"studies": raw["studies"] | {"results/own": own}})
