"""A study of kind `api`: its config, plan and checks, and the whole of it against a loopback."""

from __future__ import annotations

import copy
import json
import math
import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import show_plan
import verify_claims
from multical.claims.schema import NOT_TESTABLE
from multical.config import schema, studies
from multical.dag.dryrun import Job
from multical.errors import InputError
from multical.figures.params import ConditionsAndGuess
from multical.models.api_params import Prices
from multical.params import canonical
from multical.workflow import job_params, scoring_params
from multical.workflow.costs import Sizes
from support import api_server, checkout, forks
from support.api_server import KEY, Api
from support.claim_data import CLAIMS
from support.doctor_house import finding, healthy_clone

ROOT = "results/asked"
RAW: dict[str, Any] = checkout.config()
ACCESS = {"key": "TEST_API_KEY", "prices": {"input": 2.5, "output": 10}, "budget": 1}
SOURCE: dict[str, Any] = {
    "kind": "api", "url": "https://api.example.com/v1", "model": "m-1", "endpoint": "chat",
    "top_logprobs": 8, "access": ACCESS,
}  # fmt: skip


def raw(**source: Any) -> dict[str, Any]:
    """The repository's config with one study, of a model behind an API with this source."""
    gpt = {"chat_format": "template", "source": copy.deepcopy(SOURCE | source)}
    return {
        **copy.deepcopy(RAW),
        "models": {"gpt": gpt, **RAW["models"]},
        "benchmarks": {"quiz": {"options": 3, "source": {"kind": "file", "path": "quiz.jsonl"}}},
        "studies": {ROOT: {
            "kind": "api",
            "models": ["gpt"],
            "benchmarks": ["quiz"],
            "languages": None,
            "questions_per_language": None,
            "scoring": {"prompt": "default"},
            "metrics": {
                "readouts": ["letter", "entropy"],
                "metrics": ["accuracy", "ece", "entropy", "auroc"],
                "bins": 5,
                "bootstrap": {"replicates": 20, "seed": 0, "level": 0.95},
            },
            "figures": {"benchmark": "quiz", "readout": "letter", "reference_language": "en"},
        }},
    }  # fmt: skip


def edited(path: str, value: Any, told: dict[str, Any] | None = None) -> dict[str, Any]:
    """A config with one value changed, at a path of keys."""
    found = told or raw()
    *parents, last = path.split(":")
    place = found
    for name in parents:
        place = place[name]
    place[last] = value
    return found


def write(folder: Path, told: dict[str, Any]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    rows = [
        {
            "question_id": f"q{number}", "language": language, "question": f"{language} {number}?",
            "options": ["one", "two", "three"], "answer": number % 3,
        }
        for language in ("en", "sw")
        for number in range(6)
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "quiz.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("TEST_API_KEY", KEY)
    with api_server.serve() as found:
        yield found


API = "models:gpt:source"
STUDY = f"studies:{ROOT}"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (f"{API}:url", "http://api.example.com/v1", "url: found http:.*, expected https, since"),
        (f"{API}:url", "https://ada:pw@api.example.com/v1", "source.*url"),
        (f"{API}:url", "https://api.example.com/v1?key=1", "source.*url"),
        (f"{API}:access:key", "MY_SECRETS_NAME", None),
        (f"{API}:access:key", "sk-0123456789", "access.key: found 'sk-0123456789'"),
        (f"{API}:access:key", "MINE", "found 'MINE', expected a name with API_KEY, TOKEN or SEC"),
        (f"{API}:access", {"budget": 3.0}, "budget: found 3 without prices, expected both"),
        (f"{API}:request", {"seed": 1, "n": 3}, "request: found .*n.*, expected other keys"),
        (
            f"{API}:request",
            {"since": date(2026, 1, 1)},
            "request: expected what JSON can say .*date",
        ),
        (f"{API}:request", {"top_p": math.nan}, "request: expected what JSON can say"),
        (f"{API}:access:prices", {"input": 1e300, "output": 1}, "prices.input: found 1e.300, expe"),
        (f"{API}:top_logprobs", 1, "top_logprobs: found 1"),
        (f"{API}:endpoint", "completions", "models.gpt: chat_format: found template, expected pl"),
        (f"{API}:colour", "red", "unknown keys .*colour"),
        ("models:gpt:chat_format", "plain", "chat_format: found plain, expected template"),
        (f"{STUDY}:models", ["gemma3-270m"], r"models: found 'gemma3-270m', expected one of .*gpt"),
        (f"{STUDY}:benchmarks", ["arc"], "benchmarks: found 'arc', expected one of .*quiz"),
        (f"{STUDY}:scoring:prompt", "mine", "scoring.prompt: found 'mine'"),
        (
            f"{STUDY}:scoring:num_fewshot",
            5,
            "scoring.num_fewshot: found 5, expected 0, since quiz has no exa",
        ),
        (
            f"{STUDY}:metrics:readouts",
            ["max_logit"],
            "found 'max_logit', expected some of .*letter",
        ),
        (f"{STUDY}:metrics:readouts", ["letter", "text_ppl"], "found 'text_ppl', expected some"),
        (f"{STUDY}:figures:readout", "msp", "figures.readout: found 'msp', expected one of"),
        (f"{STUDY}:languages", ["tlh"], "reference_language: found 'en', expected one of"),
    ],
)
def test_a_wrong_config_gets_a_sentence(path: str, value: Any, sentence: str | None) -> None:
    told = edited(path, value)
    if sentence is None:
        schema.load(told)
        return
    with pytest.raises(InputError, match=sentence) as caught:
        schema.load(told)
    assert "\n" not in str(caught.value)


def test_other_studies_take_no_model_behind_an_api() -> None:
    told = raw() | {"studies": copy.deepcopy(RAW["studies"]), "benchmarks": RAW["benchmarks"]}
    told["studies"]["results/smoke"]["models"] = ["gpt"]
    with pytest.raises(InputError, match=r"smoke.models: found 'gpt', expected one of .*gemma"):
        schema.load(told)


def test_no_record_depends_on_how_an_api_is_asked() -> None:
    first = schema.load(raw())
    other = schema.load(raw(access={"requests_per_minute": 5}))
    settings = scoring_params.api_scoring(first, ROOT, "gpt", "quiz")
    assert settings == scoring_params.api_scoring(other, ROOT, "gpt", "quiz")
    assert "TEST_API_KEY" not in canonical(settings)
    assert settings != scoring_params.api_scoring(
        schema.load(raw(top_logprobs=9)), ROOT, "gpt", "quiz"
    )
    assert studies.scored(first.measured(ROOT)) == [("gpt", "quiz")]


def test_a_figure_of_each_benchmark() -> None:
    told = raw()
    told["benchmarks"]["more"] = told["benchmarks"]["quiz"] | {"options": 4}
    loaded = schema.load(edited(f"{STUDY}:benchmarks", ["quiz", "more"], told))
    assert job_params.panels(loaded, ROOT) == {"": ("quiz", None), "more/": ("more", None)}
    shown = job_params.figure(loaded, ROOT, ConditionsAndGuess, "more/")
    assert shown.benchmark == "more"
    assert (shown.options, shown.sft, shown.smoothing) == (4, None, None)
    assert job_params.shown_models(loaded, ROOT, "more") == ["gpt"]


def test_letters_are_recalibrated_and_their_entropy_is_not() -> None:
    told = edited(f"{STUDY}:recalibration", {"folds": 3, "seed": 7})
    loaded = schema.load(told)
    settings = job_params.recalibration(loaded, ROOT)
    assert dict(settings.recalibration) == {"folds": 3, "seed": 7}
    assert settings.readouts == ["letter"]
    assert job_params.recalibrated(loaded, ROOT)
    assert not job_params.recalibrated(
        schema.load(edited(f"{STUDY}:figures:readout", "entropy")), ROOT
    )


def test_no_claim_is_about_it() -> None:
    settings = job_params.claims(schema.load(raw()), ROOT, CLAIMS)
    claims = verify_claims.verify(settings, [], {}, 1)["claims"]
    assert {one["verdict"] for one in claims.values()} == {NOT_TESTABLE}
    assert claims["M1"]["reason"] == (
        "the claim is about models before and after fine-tuning, and results/asked is about models "
        "behind APIs"
    )


def test_what_a_plan_says(tmp_path: Path) -> None:
    write(tmp_path, raw())
    sizes = Sizes(schema.load(edited(f"{STUDY}:questions_per_language", 4)), tmp_path)
    where = {"root": ROOT, "run": "gpt", "benchmark": "quiz"}
    bill = sizes.bill(**where)
    size = len("en 0?" + "onetwothree")
    assert (bill.requests, bill.output) == (8, 8)
    assert bill.input == pytest.approx(8 * (size / 4 + 20))
    assert bill.cost(Prices(input=2.5, output=10)) == pytest.approx((bill.input * 2.5 + 80) / 1e6)
    assert sizes.job_bytes("score_api", where) == {"records": 8 * 400}
    job = Job("score_api", where, True, 0, None, None, False, (), ())
    assert list(show_plan.apis([job], sizes)) == [
        "  gpt, 1 of score_api: 8 requests, 192 input and 8 output tokens, 0.00 USD; "
        "less what was answered before"
    ]


def test_what_the_doctor_says(server: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy_clone(tmp_path, monkeypatch)
    write(tmp_path, raw(url=server.url))
    line = finding("model gpt", ROOT)
    assert line.message == f"{server.url} answers; nothing was asked of the model"
    assert finding("benchmark quiz", ROOT).message == "to be read from quiz.jsonl"
    write(tmp_path, raw(url=server.url, model="m-9"))
    line = finding("model gpt", ROOT)
    assert (line.level, line.message) == ("warning", f"{server.url} lists no m-9, but m-1")
    write(tmp_path, raw(url=f"{server.url}/other"))  # where no models are listed
    assert finding("model gpt", ROOT).level == "ok"
    write(tmp_path, raw(url="http://127.0.0.1:9/v1"))
    assert "no answer (ConnectionError" in finding("model gpt", ROOT).message
    write(tmp_path, raw(url=server.url))
    for value, said in (("sk-of-another", "the key is refused"), ("", "found nothing, expected")):
        monkeypatch.setenv("TEST_API_KEY", value)
        line = finding("model gpt", ROOT)
        assert line.level == "error"
        assert said in line.message
        assert "set $TEST_API_KEY, or correct models.gpt.source in the config" in line.remedy
    assert not server.bodies


def snakemake(folder: Path, *targets: str, key: str | None = KEY) -> tuple[int, str]:
    """Run Snakemake; its exit code and all that it says."""
    kept = {name: value for name, value in os.environ.items() if name != "TEST_API_KEY"}
    told = kept if key is None else {**kept, "TEST_API_KEY": key}
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "1", *targets]
    done = forks.run(command, cwd=folder, env=told)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.workflow
@pytest.mark.slow  # a study of its own
def test_a_study_from_questions_to_a_figure(server: Api, tmp_path: Path) -> None:
    folder, source = checkout.copy(tmp_path), {"url": server.url}
    write(folder, raw(**source))
    targets = [f"{ROOT}/metrics.csv", f"{ROOT}/figures/ece_by_lang.pdf"]
    code, said = snakemake(folder, *targets, key=None)
    assert code != 0
    assert "error: $TEST_API_KEY: found nothing, expected the API key" in said
    assert not list(folder.glob(f"{ROOT}/**/*.parquet"))
    code, said = snakemake(folder, *targets)
    assert code == 0, said
    assert len(server.bodies) == 12
    table = pd.read_csv(folder / targets[0])
    assert set(table["language"]) == {"en", "sw"}
    assert set(table["readout"]) == {"letter", "entropy"}
    # how an API is asked, its prices among that, is nothing that a record depends on
    write(folder, raw(**source, access=ACCESS | {"concurrency": 2, "budget": 2}))
    assert "Nothing to be done" in snakemake(folder, "--dry-run", *targets)[1]
    # what is asked is; the same questions again cost nothing, and need no key
    made = folder / f"{ROOT}/records/gpt/quiz.parquet"
    records = made.read_bytes()
    made.unlink()
    code, said = snakemake(folder, str(made.relative_to(folder)), *targets, key=None)
    assert code == 0, said
    assert made.read_bytes() == records
    assert len(server.bodies) == 12
    write(folder, raw(**source, top_logprobs=9))
    assert "score_api" in snakemake(folder, "--dry-run", *targets)[1]
    for name in ("results", "logs", "cache", ".snakemake"):
        files = [path for path in (folder / name).rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if KEY.encode() in path.read_bytes()]
