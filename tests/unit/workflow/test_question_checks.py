"""What local files of questions lack, found before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multical.config import schema
from multical.errors import InputError
from multical.workflow import question_checks
from support import checkout

ROOT = "results/smoke"
KEY = f"studies.{ROOT}"


def rows(**counts: list[int]) -> str:
    """A question for each number of options, by language."""
    lines = [
        {"question_id": str(i), "language": language, "question": "?", "answer": 0,
         "options": [*"abcdefghij"[:count]]}
        for language, numbers in counts.items()
        for i, count in enumerate(numbers)
    ]  # fmt: skip
    return "".join(f"{json.dumps(line)}\n" for line in lines)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The config with a smoke study of local questions in three languages."""
    monkeypatch.chdir(tmp_path)
    Path("q.jsonl").write_text(rows(en=[3, 4], fr=[4], tlh=[4, 5]), encoding="utf-8")
    Path("f.jsonl").write_text(rows(en=[4, 4], fr=[4]), encoding="utf-8")
    config = checkout.config()
    source = {"kind": "file", "path": "q.jsonl", "fewshot": "f.jsonl"}
    config["benchmarks"]["cldr-facts"] = {"options": None, "source": source}
    config["studies"][ROOT]["languages"] = None
    config["studies"][ROOT]["scoring"]["multiple_choice_languages"] = None
    return config


def faults(raw: dict[str, Any]) -> list[str]:
    return [*question_checks.faults(schema.load(raw), ROOT)]


def test_a_study_that_has_all(raw: dict[str, Any]) -> None:
    assert faults(raw) == []
    question_checks.check(schema.load(raw), ROOT)
    assert [*question_checks.faults(schema.load(raw), "results/msp_v2")] == []


def test_files_that_are_not_there_are_for_others_to_report(raw: dict[str, Any]) -> None:
    Path("q.jsonl").unlink()
    assert faults(raw) == []


def test_languages(raw: dict[str, Any]) -> None:
    study = raw["studies"][ROOT]
    study["languages"] = ["en", "bg", "af"]
    has = "expected some of ['en', 'fr', 'tlh'], the languages of q.jsonl"
    assert faults(raw) == [f"{KEY}.languages: found ['af', 'bg'], {has}"]


def test_a_reference_language(raw: dict[str, Any]) -> None:
    raw["studies"][ROOT]["figures"]["reference_language"] = "bg"
    key = f"{KEY}.figures.reference_language"
    has = "expected one of ['en', 'fr', 'tlh'], the languages of q.jsonl"
    assert faults(raw) == [f"{key}: found 'bg', {has}"]


@pytest.mark.parametrize(
    ("options", "languages", "expected"),
    [
        (4, None, "null, as they have [3, 4, 5]"),
        (4, ["en", "fr"], "null, as they have [3, 4]"),
        (3, ["fr"], "4"),
        (4, ["fr"], None),
        (None, ["en"], None),
    ],
)
def test_numbers_of_options(
    raw: dict[str, Any], options: int | None, languages: list[str] | None, expected: str | None
) -> None:
    raw["benchmarks"]["cldr-facts"]["options"] = options
    raw["studies"][ROOT]["languages"] = languages
    raw["studies"][ROOT]["figures"]["reference_language"] = "fr" if languages == ["fr"] else "en"
    key = f"benchmarks.cldr-facts.options: found {options} for the questions of q.jsonl"
    assert faults(raw) == ([f"{key}, expected {expected}"] if expected else [])


def test_letters_in_no_language(raw: dict[str, Any]) -> None:
    scoring = raw["studies"][ROOT]["scoring"]
    scoring["multiple_choice_languages"] = ["ja", "fr"]
    assert faults(raw) == []
    scoring["multiple_choice_languages"] = ["ja"]
    key = f"{KEY}.scoring.multiple_choice_languages"
    assert faults(raw) == [f"{key}: found ['ja'], expected some of ['en', 'fr', 'tlh'], or null"]
    scoring["multiple_choice_languages"] = ["tlh", "fr", "fx"]
    assert faults(raw) == [f"{key}: found ['fx'], expected languages of ['cldr-facts'], or null"]


@pytest.mark.parametrize(("held_out", "fault"), [(0, False), (2, False), (3, True)])
def test_conversations_left_to_train_on(raw: dict[str, Any], held_out: int, fault: bool) -> None:
    Path("own.jsonl").write_text("{}\n\n{}\n{}\n", encoding="utf-8")
    (name,) = raw["studies"][ROOT]["sft_data"]
    source = {"kind": "file", "path": "own.jsonl", "held_out": held_out}
    raw["sft_data"][name] = {"source": source}
    told = f"sft_data.{name}.source.held_out: found 3, expected fewer than the 3 in own.jsonl"
    assert faults(raw) == [told] * fault


def test_examples_and_all_faults_at_once(raw: dict[str, Any]) -> None:
    raw["studies"][ROOT]["scoring"]["num_fewshot"] = 2
    few = (
        f"{KEY}.scoring.num_fewshot: found 2, expected as many examples in f.jsonl at least: "
        "1 in 'fr', 0 in 'tlh'"
    )
    assert faults(raw) == [few]
    raw["benchmarks"]["cldr-facts"]["options"] = 4
    with pytest.raises(InputError) as caught:
        question_checks.check(schema.load(raw), ROOT)
    assert str(caught.value).startswith("config: benchmarks.cldr-facts.options: found 4 ")
    assert str(caught.value).endswith(f"; {few}")
