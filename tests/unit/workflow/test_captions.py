"""Captions: made from a study's own config and numbers, and never from the demo's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from docutils.core import publish_string
from jinja2 import Environment, StrictUndefined

from multical.config import schema
from multical.config.schema import Config
from multical.workflow import captions
from support import checkout

CAPTIONS = sorted(path for path in (checkout.REPO / "report").glob("*.rst"))
ROOT = "results/school"


class Wildcards(SimpleNamespace):
    """The wildcards of a job, as Snakemake hands them to captions."""

    def get(self, name: str, default: str | None = None) -> Any:
        return getattr(self, name, default)


def config(options: int | None = None, **changes: Any) -> Config:
    """A config with a study of one's own: French is its reference, and English is not in it."""
    raw = checkout.config()
    study = raw["studies"]["results/smoke"] | {
        "models": ["own-7b"], "sft_data": ["lessons"], "seeds": [3, 4], "languages": ["fr", "bn"],
        "benchmarks": ["school"],
    }  # fmt: skip
    study["figures"] = study["figures"] | {
        "benchmark": "school", "sft": "lessons", "reference_language": "fr",
    }  # fmt: skip
    study |= changes
    file = {"kind": "file", "path": "school.jsonl"}
    raw["models"] |= {
        "own-7b": {"source": {"kind": "folder", "path": "own"}, "chat_format": "plain"}
    }
    raw["benchmarks"] |= {"school": {"source": file, "options": options}}
    raw["sft_data"] |= {"lessons": {"source": {"kind": "file", "path": "lessons.jsonl"}}}
    raw["studies"] |= {ROOT: study}
    return schema.load(raw)


def told(name: str, own: Config, root: str = ROOT, **wildcards: str) -> str:
    """A caption as the report has it, on one line, which must be right reStructuredText."""
    snakemake = SimpleNamespace(
        config=captions.functions(own), wildcards=Wildcards(root=root, **wildcards)
    )
    record = SimpleNamespace(raw_wildcards={"root": root})
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    caption = (checkout.REPO / f"report/{name}.rst").read_text("utf-8")
    template = environment.from_string(caption)
    text = template.render(snakemake=snakemake, categories={"Figures": {"": [record]}})
    publish_string(text, settings_overrides={"halt_level": 2, "report_level": 2})
    return " ".join(text.split())


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder without tables."""
    captions._accuracies.cache_clear()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_captions_tell_of_remedies_beside_smoothing() -> None:
    training = checkout.config()["studies"]["results/smoke"]["training"]
    assert "in the loss" not in told("ece_by_lang", config())
    capped = config(training=training | {"soft_cap": 48.0, "temperature": 0.5})
    sentence = "(all SFT with a soft cap of 48 and a temperature of 0.5 in the loss)"
    assert sentence in told("ece_by_lang", capped)
    assert sentence in captions.summary(capped, ROOT)


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_no_line_starts_with_what_may_be_empty(path: Path) -> None:
    """The space after it would indent the line, which reStructuredText reads as a quotation."""
    lines = path.read_text(encoding="utf-8").split("\n")
    assert not [line for line in lines if line.startswith("{{") and line.partition("}}")[2]]


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_no_caption_speaks_of_the_demo(path: Path) -> None:
    own = config()
    paper_2 = "accuracy calibration dataset prompts score scores size thresholds".split()
    is_2 = path.stem.split("_")[0] in paper_2
    root = "results/msp" if is_2 else ROOT
    text = told(path.stem, own, root, model="own-7b")
    for word in ("demo", "SmolLM2", "SmolLM", "Gemma", "our own", "Our own", "one seed"):
        assert word not in text, (path.stem, word)
    assert "language of the SFT data" not in text
    assert "English is a" not in text


def test_seeds_smoothing_and_languages_are_the_study_s() -> None:
    text = told("ece_by_lang", config())
    assert "The reference language (fr) is in bold." in text
    assert "after SFT on lessons, and after SFT on it with label smoothing b = 0.1" in text
    assert "means over 2 training seeds" in text
    one = told("ece_by_lang", config(seeds=[3]))
    assert "The SFT runs are of one training seed (3)" in one
    assert "(fr is a high-resource language)" in told("ece_by_resource", config())
    assert "fewer than 25 different" in told("reliability", config(metrics={"least": 25}))
    assert "with 20 questions or more" in told(
        "main_table", config(metrics={"least_questions": 20})
    )


def test_a_guess_is_named_only_where_it_is_drawn() -> None:
    assert "random guess" not in told("smoothing_sweep", config())
    assert "a random guess (0.2)." in told("smoothing_sweep", config(5))
    assert "divided by that of a uniform guess" in told("entropy_by_lang", config())
    assert "entropy (nats)" in told("entropy_by_lang", config(5))


def test_numbers_are_the_study_s(elsewhere: Path) -> None:
    run = {"run": "own-7b", "model": "own-7b", "sft": None, "smoothing": None, "seed": None,
           "benchmark": "school", "readout": "text_ppl", "metric": "accuracy"}  # fmt: skip
    folder = elsewhere / ROOT
    folder.mkdir(parents=True)
    counts = {"fr": 300, "bn": 290, "yo": 5}
    pd.DataFrame([run | {"language": x, "n": n} for x, n in counts.items()]).to_csv(
        folder / "metrics.csv", index=False
    )
    pd.DataFrame(
        [run | {"group": "all", "value": 0.26, "ci_low": 0.19, "ci_high": 0.3},
         run | {"group": "high", "value": 0.1, "ci_low": 0.0, "ci_high": 0.3}]
    ).to_csv(folder / "summary.csv", index=False)  # fmt: skip
    text = told("ece_by_lang", config(4))
    assert (
        "Languages have 5 to 300 questions. Values of those with few say little: Yoruba (yo, 5)."
    ) in text
    assert (
        "Read by perplexity of the texts, the accuracy over all languages is not above chance "
        "(0.25) for own-7b (base: 0.260)"
    ) in text
    assert "chance" not in told("ece_by_resource", config(6)).partition("near chance.")[2]
    assert "Open points are languages with few questions." in told("gap_vs_accuracy", config())


def test_what_a_wrong_answer_costs_and_how_thresholds_are_chosen() -> None:
    raw = checkout.config()
    abstention = {"schemes": {"mild": 0.5, "even": 1, "harsh": 3}, "main_k": 7}
    raw["studies"]["results/msp"]["abstention"] = abstention
    own = schema.load(raw)
    for name in ("score_vs_threshold", "score_vs_k", "scores_table", "thresholds_table"):
        text = told(name, own, "results/msp")
        assert (
            "a wrong answer loses 50 in the mild score, 100 in the even score and 300 in the harsh "
            "score"
        ) in text
    assert "thresholds that were chosen on 7 labelled answers of each data set" in told(
        "score_vs_threshold", own, "results/msp"
    )


def test_where_a_p_of_a_line_is_shown_it_is_said_what_it_is() -> None:
    for name in captions_of_lines():
        text = told(name, config(), "results/msp")
        assert "test that its slope is 0" in text.replace("the slope", "its slope"), name
        assert "corrected for the number of lines" in text, name
        assert "fewer than three different values" in text, name


def captions_of_lines() -> list[str]:
    """The captions of figures and tables with a line through the models."""
    names = {path.stem for path in CAPTIONS}
    return [name for name in names if "_vs_" in name and name.startswith(("accuracy", "size"))] + [
        "correlations_table"
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("platt", "Platt scaling"),
        ("mann_whitney", "Mann-Whitney"),
        ("accuracy_vs_calibration_platt", "accuracy against calibration (Platt)"),
        (
            "score_vs_threshold_margin_entropy",
            "score against threshold of margin and entropy",
        ),
    ],
)
def test_names_are_words(name: str, words: str) -> None:
    assert captions.readable(name) == words


def test_the_report_lists_its_studies() -> None:
    text = told("workflow", config())
    assert "``results/school/`` (multilingual). models: own-7b; SFT data: lessons" in text
    assert "training seeds: 3, 4; benchmarks: school" in text
