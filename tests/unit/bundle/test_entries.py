"""The entries of a study: what it needs of a config, and how another clone gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from multical.bundle import entries
from multical.config.files import LOCAL
from multical.errors import InputError
from support import checkout

MODEL = {"chat_format": "plain", "source": {"kind": "folder", "path": "a folder"}}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of one's own file, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / LOCAL).parent.mkdir()
    return tmp_path / LOCAL


def test_a_study_brings_what_it_names_and_nothing_else() -> None:
    config = checkout.config()
    found = entries.of_studies(config, ["results/demo/msp"])
    # the runs of another study, which brings its own models and data
    assert set(found["studies"]) == {"results/demo/msp", "results/demo"}
    assert set(found["models"]) == {"gemma3-270m", "smollm2-135m-instruct"}
    assert set(found["benchmarks"]) == {"cldr-facts"}
    assert set(found["sft_data"]) == {"facts"}
    assert {"msp-response", "msp-answer", "default"} >= set(found["prompts"])
    assert found["studies"]["results/demo"] == config["studies"]["results/demo"]
    assert found["resource_levels"] == config["resource_levels"]
    assert "results/msp_v2" in entries.of_studies(config, ["results/msp_v2/one_shot"])["studies"]


def test_only_what_is_missing_is_added() -> None:
    here: dict[str, Any] = {"models": {"a": MODEL}, "resource_levels": {"high": ["en"], "low": []}}
    levels = {"high": ["en"], "low": ["en", "tlh"]}
    given = {"models": {"a": {}, "b": MODEL}, "studies": {"x": {}}, "resource_levels": levels}
    added = entries.missing(given, here)
    assert added == {
        "models": {"b": MODEL},
        "studies": {"x": {}},
        "resource_levels": {"low": ["tlh"]},
    }
    assert entries.different(given, here) == ["models.a"]
    assert entries.joined(here, added) == {
        "models": {"a": MODEL, "b": MODEL},
        "studies": {"x": {}},
        "resource_levels": {"high": ["en"], "low": ["tlh"]},
    }
    assert entries.missing(given | {"models": {"a": MODEL}}, entries.joined(here, added)) == {}


@pytest.mark.parametrize(
    "before",
    [
        None,
        "",
        "# mine\n",
        "models:\n  old: {chat_format: none} # stays\n",
        "models: # of mine\n\n      # one\n      old:\n          chat_format: none\nstudies: {}\n",
        "studies: {mine: {kind: api}}\nmodels:\n# here\n  old: {chat_format: none}",
        "models:\n",
    ],
)
def test_entries_are_added_to_a_file_that_stays(own: Path, before: str | None) -> None:
    if before is not None:
        own.write_text(before, encoding="utf-8")
    old = yaml.safe_load(before or "") or {}
    text = entries.with_own({"models": {"new": MODEL}, "prompts": {"é": {"cloze": "x"}}})
    expected = {
        "models": (old.get("models") or {}) | {"new": MODEL},
        "prompts": {"é": {"cloze": "x"}},
    }
    assert yaml.safe_load(text) == old | expected
    assert set((before or "").splitlines()) <= set(text.splitlines())


@pytest.mark.parametrize("before", ["models: {old: {chat_format: none}}\n", "{models: {old: 1}}\n"])
def test_a_file_of_another_form_gets_a_sentence(own: Path, before: str) -> None:
    own.write_text(before, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        entries.with_own({"models": {"new": MODEL}})
    assert str(caught.value) == (
        "config/local.yaml: models.new: cannot be added, expected keys in lines of their own"
    )
    assert own.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("content", ["- a\n", "models: [a]\n", "a: {b: c", "a: 1\na: 2\n"])
def test_entries_of_a_bundle_that_are_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.yaml: .*(found|not readable)"):
        entries.read(file)


def test_dates_in_a_bundle_are_texts(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("models: {a: {chat_date: 2024-07-26}}", encoding="utf-8")
    found = entries.read(tmp_path / "config.yaml")
    assert found == {"models": {"a": {"chat_date": "2024-07-26"}}}
