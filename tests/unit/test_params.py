"""Parameters of jobs: declared once, and refused with one sentence wherever they come from."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from io import StringIO
from typing import Any

import pytest

from multical.config import schema
from multical.errors import InputError
from multical.models.params import Training, TrainingJob
from multical.params import Listed, Strict, canonical, parse
from multical.provenance import fingerprint
from multical.workflow import job_params, scoring_params
from support import checkout

RAW: dict[str, Any] = checkout.config()
ROOT = "results/demo"
TUNED = "gemma3-270m.facts.ls0.1.s0"
#: Another value for each key of training than any study has
CHANGED: dict[str, Any] = {
    "warmup_ratio": 0.625, "weight_decay": 0.125, "batch_size": 24, "learning_rate": 0.375,
    "gradient_accumulation_steps": 4, "epochs": 7.5, "steps": None, "max_length": 99,
    "save_every": 77, "matmul_precision": "highest", "scale": {"processes": 2},
    "loss_reduction": "sum", "max_grad_norm": 0.25, "soft_cap": 30.5, "temperature": 0.75,
    "adapter": {"rank": 3, "alpha": 7.0},
}  # fmt: skip


def config(section: str, **changes: Any) -> dict[str, Any]:
    """The repository's config with keys of a section of the demo replaced."""
    raw: dict[str, Any] = json.loads(json.dumps(RAW))
    raw["studies"][ROOT].setdefault(section, {}).update(changes)
    return raw


def test_what_is_long_comes_by_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = ArgumentParser()
    parser.add_argument("--records", nargs="+", action=Listed)
    monkeypatch.setattr("sys.stdin", StringIO("a b.parquet\nc.parquet\n"))
    assert parser.parse_args(["--records", "-"]).records == ["a b.parquet", "c.parquet"]
    assert parser.parse_args(["--records", "a", "b"]).records == ["a", "b"]
    job = job_params.metrics(schema.load(RAW), ROOT)
    monkeypatch.setattr("sys.stdin", StringIO(canonical(job) + "\n"))
    assert parse(type(job), "-") == job


def refusal(action: Any, *given: Any) -> str:
    with pytest.raises(InputError) as caught:
        action(*given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("training", "batch_size", 0),
        ("training", "max_length", "long"),
        ("training", "warmup_ratio", 1),
        ("training", "matmul_precision", "low"),
        ("training", "scale", {"gpus": 2}),
        ("training", "scale", {"processes": 0}),
        ("training", "gradient_accumulation_steps", 7),
        ("scoring", "dtype", "int8"),
        ("scoring", "batch_tokens", 0.5),
        ("scoring", "num_fewshot", -1),
        ("scoring", "multiple_choice_languages", ["en", "en"]),
    ],
)
def test_a_wrong_value_gets_the_same_sentence_everywhere(
    section: str, key: str, value: Any
) -> None:
    loaded = schema.load(RAW)
    job: Strict = (
        job_params.training(loaded, ROOT, TUNED)
        if section == "training"
        else scoring_params.scoring(loaded, ROOT, TUNED, "cldr-facts")
    )
    text = json.dumps({**job.model_dump(mode="json"), key: value})
    asked = refusal(parse, type(job), text)
    configured = refusal(schema.load, config(section, **{key: value}))
    assert asked.startswith("--params: ")
    assert configured == asked.replace("--params", f"config: studies.{ROOT}.{section}", 1).replace(
        f".{section}: {key}", f".{section}.{key}", 1
    )


def test_a_key_of_training_is_declared_once() -> None:
    """What the section has, a job has, whose text has all that is no default."""
    keys = Training.model_fields.keys() - {"report_to"}  # changes no result, so no job has it
    assert keys < TrainingJob.model_fields.keys()
    assert keys == CHANGED.keys()
    own = keys & TrainingJob.__annotations__.keys()
    assert own == {"learning_rate"}  # of a list one is chosen
    before = job_params.training(schema.load(RAW), ROOT, TUNED)
    after = job_params.training(schema.load(config("training", **CHANGED)), ROOT, TUNED)
    for key, value in CHANGED.items():
        assert getattr(before, key) != getattr(after, key)
        if value is not None:
            assert json.loads(canonical(after))[key] == value


def test_what_scoring_and_the_config_have_retrains_nothing() -> None:
    modules = fingerprint.modules("train_sft")
    assert "multical/models/params.py" in modules
    assert not [
        file for file in modules if file.startswith(("multical/scoring/", "multical/config/"))
    ]
    assert "multical/scoring/params.py" in fingerprint.modules("score_run")
