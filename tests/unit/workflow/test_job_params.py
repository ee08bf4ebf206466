"""What each job depends on in the config: its own entries, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from multical import paths
from multical.config import schema, studies
from multical.figures.params import ByLanguage, ConditionsAndGuess, Panel
from multical.models.api_params import ApiModel
from multical.params import canonical
from multical.workflow import job_params, scoring_params
from support import checkout

RAW: dict[str, Any] = checkout.config()
DEMO, SMOKE = "results/demo", "results/smoke"
FIGURES: dict[str, type[Panel]] = {
    "ece_by_lang": ByLanguage,
    "reliability": ConditionsAndGuess,
    "ece_by_resource": Panel,
}

#: A language that no study of the repository has
UNUSED = "ga"

Edit = Callable[[dict[str, Any]], Any]


def jobs(raw: dict[str, Any]) -> dict[str, str]:
    """The canonical settings of every job of the multilingual studies."""
    loaded = schema.load(raw)
    made: dict[str, Any] = {}
    for name, model in loaded.models.items():
        if not isinstance(model.source, ApiModel):
            made[f"model {name}"] = job_params.model(loaded, name)
    for name in loaded.benchmarks:
        made[f"benchmark {name}"] = job_params.benchmark(loaded, name)
    for name in job_params.with_fewshot(loaded):
        made[f"fewshot {name}"] = job_params.benchmark(loaded, name, paths.FEWSHOT)
    for name in loaded.sft_data:
        made[f"sft {name}"] = job_params.sft_data(loaded, name)
    for name in job_params.with_held_out(loaded):
        made[f"heldout {name}"] = job_params.sft_data(loaded, name, paths.HELDOUT)
    for root in (DEMO, SMOKE):
        study = loaded.multilingual(root)
        for name, run in studies.runs(study).items():
            if run.sft is not None:
                made[f"{root} train {name}"] = job_params.training(loaded, root, name)
            for benchmark in study.benchmarks:
                made[f"{root} score {name}"] = scoring_params.scoring(loaded, root, name, benchmark)
        made[f"{root} metrics"] = job_params.metrics(loaded, root)
        made[f"{root} reliability"] = job_params.reliability(loaded, root)
        for name, shown in FIGURES.items():
            made[f"{root} figure {name}"] = job_params.figure(loaded, root, shown)
    return {name: canonical(settings) for name, settings in made.items()}


def own(raw: Any) -> dict[str, Any]:
    """A copy, in which nothing is shared by YAML's anchors."""
    copied: dict[str, Any] = json.loads(json.dumps(raw))
    return copied


def changed(edit: Edit) -> list[str]:
    """The jobs whose settings an edit of the config changes, adds or removes."""
    raw = own(RAW)
    edit(raw)
    before, after = jobs(RAW), jobs(raw)
    return sorted(name for name in before | after if before.get(name) != after.get(name))


def demo(raw: dict[str, Any]) -> dict[str, Any]:
    study: dict[str, Any] = raw["studies"][DEMO]
    return study


def turned(value: Any) -> Any:
    """The same mappings with their keys in the opposite order."""
    if not isinstance(value, dict):
        return value
    return {key: turned(value[key]) for key in reversed(value)}


def whole(value: Any) -> Any:
    """The same value with floats that are whole numbers written as such: 0.0 as 0."""
    if isinstance(value, dict):
        return {key: whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.parametrize("rewrite", [turned, whole, own])
def test_how_the_config_is_written_changes_nothing(rewrite: Callable[[Any], Any]) -> None:
    assert jobs(rewrite(RAW)) == jobs(RAW)


def test_a_new_smoothing_adds_runs_and_changes_none() -> None:
    edited = changed(lambda raw: demo(raw)["smoothing"].append(0.4))
    assert edited == sorted(
        f"{DEMO} {verb} {model}.facts.ls0.4.s0" for verb in ("train", "score")
        for model in demo(RAW)["models"]
    )  # fmt: skip


def test_a_new_model_adds_its_own_jobs() -> None:
    def edit(raw: dict[str, Any]) -> None:
        source = {"kind": "folder", "path": "some/where"}
        raw["models"]["another"] = {"chat_format": "tulu", "source": source}
        demo(raw)["models"].append("another")

    edited = changed(edit)
    assert all("another" in name for name in edited)
    assert len(edited) == 1 + 3 + 4


@pytest.mark.parametrize(
    ("edit", "beginnings"),
    [
        (lambda raw: demo(raw)["training"].update(steps=9999), [f"{DEMO} train"]),
        (lambda raw: demo(raw)["training"].update(learning_rate=1e-5), [f"{DEMO} train"]),
        (lambda raw: demo(raw)["training"].update(scale={"padding_free": True}), [f"{DEMO} train"]),
        (lambda raw: demo(raw)["scoring"].update(batch_tokens=1), [f"{DEMO} score"]),
        (lambda raw: demo(raw).update(questions_per_language=9), [f"{DEMO} score"]),
        (lambda raw: raw["prompts"]["default"].update(cloze="Q: {question}"),
         [f"{DEMO} score", f"{SMOKE} score"]),
        (lambda raw: demo(raw)["metrics"].update(bins=10), [f"{DEMO} metrics", f"{DEMO} relia"]),
        (lambda raw: demo(raw)["metrics"].update(least=5), [f"{DEMO} reliability"]),
        (lambda raw: demo(raw)["metrics"]["bootstrap"].update(seed=1), [f"{DEMO} metrics"]),
        (lambda raw: demo(raw)["figures"].update(smoothing=0.2),
         [f"{DEMO} figure ece_by_lang", f"{DEMO} figure reliability"]),
        (lambda raw: demo(raw)["figures"].update(reference_language="fr"),
         [f"{DEMO} figure ece_by_lang"]),
        (lambda raw: raw["benchmarks"]["cldr-facts"].update(options=None),
         [f"{DEMO} figure reliability", f"{SMOKE} figure reliability"]),
        (lambda raw: raw["benchmarks"]["cldr-facts"]["source"].update(seed=1), ["benchmark"]),
        (lambda raw: raw["sft_data"]["facts"]["source"].update(seed=1), ["sft"]),
        (lambda raw: raw["prompts"].update(new={"multiple_choice": "{question}{options}",
                                                "cloze": "{question}"}), []),
    ],
)  # fmt: skip
def test_an_edit_reaches_what_it_names(edit: Edit, beginnings: list[str]) -> None:
    edited = changed(edit)
    assert all(name.startswith(tuple(beginnings)) for name in edited), edited
    assert all(any(name.startswith(b) for name in edited) for b in beginnings), edited


HUB: dict[str, Any] = {"repo": "a/b", "revision": "0" * 40}


def from_hub(raw: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The sources of benchmarks and of SFT data of the hub, which the config then has."""
    questions = raw["benchmarks"]["mmlu-prox"]["source"] | HUB
    pairs = {"kind": "hub", **HUB, "layout": "sharegpt", "seed": 0, "examples": 8, "held_out": 2}
    choices = {"kind": "arc", **HUB, "seed": 0, "questions": 9, "fewshot": 2}
    raw["benchmarks"]["prox"] = {"options": None, "source": questions}
    raw["benchmarks"]["arc"] = {"options": None, "source": choices}
    raw["sft_data"]["hermes"] = {"source": pairs}
    return questions, choices, pairs


@pytest.mark.parametrize(
    ("changes", "edited"),
    [
        ({}, []),
        ({"split": "test_2"}, ["benchmark prox"]),
        ({"fewshot_split": "dev"}, ["fewshot prox"]),
        ({"fewshot_split": None}, ["fewshot prox"]),
        ({"rows": 9}, []),
        ({"languages": ["en"]}, ["benchmark prox", "fewshot prox"]),
        ({"examples": 9}, ["sft hermes"]),
        ({"held_out": 3}, ["heldout hermes", "sft hermes"]),
        ({"held_out": 0}, ["heldout hermes", "sft hermes"]),
        ({"seed": 1}, ["benchmark arc", "fewshot arc", "heldout hermes", "sft hermes"]),
        ({"questions": None}, ["benchmark arc"]),
        ({"fewshot": 3}, ["benchmark arc", "fewshot arc"]),
        ({"fewshot": 0}, ["benchmark arc", "fewshot arc"]),
    ],
)
def test_an_edit_of_data_from_the_hub(changes: dict[str, Any], edited: list[str]) -> None:
    found = []
    for change in ({}, changes):
        raw = own(RAW)
        for source in from_hub(raw):
            keys = KEYS[source.get("layout") or source["kind"]]
            source |= {key: value for key, value in change.items() if key in keys}
        found.append(jobs(raw))
    before, after = found
    assert sorted(x for x in before | after if before.get(x) != after.get(x)) == edited


KEYS = {
    "hub": ("split", "fewshot_split", "languages", "rows"),
    "arc": ("questions", "fewshot", "seed"),
    "sharegpt": ("examples", "held_out", "seed"),
}


def test_a_chat_format_reaches_the_runs_of_its_model() -> None:
    edited = changed(lambda raw: raw["models"]["gemma3-270m"].update(chat_format="tulu"))
    assert edited
    assert all("train gemma3-270m." in name or "score gemma3-270m" in name for name in edited)


def test_a_date_of_a_chat_template_reaches_the_runs_of_its_model() -> None:
    model = "smollm2-135m-instruct"
    edited = changed(lambda raw: raw["models"][model].update(chat_date="2024-07-26"))
    assert edited == changed(lambda raw: raw["models"][model].update(chat_format="tulu"))
    read = date(2024, 7, 26)  # as YAML reads it
    assert edited == changed(lambda raw: raw["models"][model].update(chat_date=read))
    assert "chat_date" not in "".join(jobs(RAW).values())


def test_a_key_with_its_default_is_no_part_of_a_job() -> None:
    """So that no run is trained again for a key that is new and that it does not use."""
    assert changed(lambda raw: demo(raw)["training"].pop("scale")) == []
    loaded = schema.load(RAW)
    name = next(name for name in studies.runs(loaded.multilingual(DEMO)) if "facts" in name)
    assert "scale" not in canonical(job_params.training(loaded, DEMO, name))


def test_scratch_folders_are_of_one_run_with_one_setting_and_code() -> None:
    loaded = schema.load(RAW)
    names = [name for name in studies.runs(loaded.multilingual(DEMO)) if "facts" in name]
    settings = {
        (name, root): canonical(job_params.training(loaded, root, name))
        for root in (DEMO, SMOKE)
        for name in names[:2]
    }
    keys = {
        job_params.scratch_key(name, text, code)
        for (name, _), text in settings.items()
        for code in ("code", "other")
    }
    assert len(keys) == 8
    assert job_params.scratch_key(names[0], settings[names[0], DEMO], "code") in keys


def test_settings_of_a_run_that_the_study_lacks() -> None:
    with pytest.raises(KeyError):
        job_params.training(schema.load(RAW), DEMO, "gemma3-270m.facts.ls0.9.s0")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": {"d": None, "c": True}}, '{"a":{"c":true,"d":null},"b":1}'),
        ({"é": ["ü", 0.1]}, '{"\\u00e9":["\\u00fc",0.1]}'),
        ({"a": 2e-5}, '{"a":2e-05}'),
    ],
)
def test_canonical_text(value: Any, text: str) -> None:
    assert canonical(value) == text
    assert json.loads(text) == value


def test_jobs_get_the_levels_of_their_own_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no report of a benchmark tells its languages
    raw = own(RAW)
    before = jobs(raw)
    raw["resource_levels"]["low"].append(UNUSED)
    assert jobs(raw) == before
    raw["resource_levels"]["high"].remove("en")
    assert {name for name, text in jobs(raw).items() if text != before[name]} == {
        f"{root} {job}" for root in (DEMO, SMOKE) for job in ("metrics", "reliability")
    }
    questions = tmp_path / "quiz.jsonl"
    entry = {"options": None, "source": {"kind": "file", "path": str(questions)}}
    raw["benchmarks"]["cldr-facts"] = entry
    raw["studies"][DEMO]["languages"] = None
    loaded = schema.load(raw)
    assert job_params.languages(loaded, DEMO) is None  # there is no file yet
    assert job_params.resource_levels(loaded, DEMO)[UNUSED] == "low"
    rows = [{"language": x, "options": ["a", "b"]} for x in ("fr", "bg", "yo")]
    questions.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    assert job_params.languages(loaded, DEMO) == {"fr", "bg", "yo"}
    assert job_params.resource_levels(loaded, DEMO) == {"fr": "high", "yo": "low"}


def test_the_trials_of_a_study_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each job: a study may have thousands."""
    config, root = schema.load(RAW), "results"
    study, trials, listed = config.multilingual(root), studies.trials, list[Any]()

    def counted(study: studies.MultilingualStudy) -> list[studies.Run]:
        listed.append(study)
        return trials(study)

    monkeypatch.setattr(studies, "trials", counted)
    monkeypatch.setattr(job_params, "trials", counted)
    found = [
        trial
        for model in study.models
        for sft in study.sft_data
        for trial in job_params.trials_of(config, root, model, sft)
    ]
    assert sorted(trial.id for trial in found) == sorted(trial.id for trial in trials(study))
    assert len(found) > 20
    assert len(listed) == 1
    assert job_params.trials_of(config, root, "none", "none") == []
