"""Tiny studies for the explorer, with questions that try to be more than texts, and their page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bin_reliability
import compute_effects
import compute_metrics
from multical import paths, records
from multical.config import schema
from multical.config.schema import Config
from multical.config.studies import MultilingualStudy
from multical.data import questions
from multical.page import explorer
from multical.page.contents import STYLES
from multical.stats import record_files
from multical.workflow import job_params
from support import checkout
from support.msp_study import Study
from support.synthetic import make_records, own_answers

ROOT = "results/tiny"
LANGUAGES = ["ar", "bn", "en", "he", "yo"]
RUNS = [
    f"{model}{tuned}" for model in ("one", "two") for tuned in ("", ".own.ls0.s0", ".own.ls0.1.s0")
]
#: The readouts of letters have no values in these
PLAIN = ["bn"]
QUESTIONS = 24
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \u0001 \u2028 & \"'"
TEXTS = {
    "ar": "ما هي عملة {}؟",
    "bn": "{}-এর মুদ্রা কী?",
    "en": f"{HOSTILE} {{}}?",
    "he": "מהו המטבע של {}?",
    "yo": "=Kí ni owó {}?",
}
FIGURES = {
    "benchmark": "synthetic",
    "readout": "text_ppl",
    "sft": "own",
    "smoothing": 0.1,
    "reference_language": "en",
}


def config(**changes: Any) -> Config:
    """The config of the study, whose keys can be changed."""
    raw = checkout.config()
    models = {"source": {"kind": "folder", "path": "m"}, "chat_format": "plain"}
    study = {
        "kind": "multilingual",
        "models": ["one", "two"],
        "sft_data": ["own"],
        "smoothing": [0.0, 0.1],
        "seeds": [0],
        "benchmarks": ["synthetic"],
        "training": {"learning_rate": 1e-4, "batch_size": 4, "steps": 2, "max_length": 64},
        "scoring": {},
        "metrics": {
            "readouts": ["text_ppl", "letter", "margin"],
            "bootstrap": {"replicates": 50},
            "bins": 10,
        },
        "figures": FIGURES,
    }
    raw |= {
        "models": {"one": models, "two": models},
        "benchmarks": {
            "synthetic": {"source": {"kind": "file", "path": "quiz.jsonl"}, "options": 4}
        },
        "sft_data": {"own": {"source": {"kind": "file", "path": "own.jsonl"}}},
        "studies": {ROOT: study | changes},
    }
    return schema.load(raw)


def logs() -> Config:
    """The config of a study of logs of one base model, under the same root."""
    run = {"model": "one", "benchmark": "synthetic", "prompt": "plain", "samples": {}}
    run["samples"] = {"en": "en.jsonl", "he": "he.jsonl"}
    metrics = {"readouts": ["text_ppl"], "bootstrap": {"replicates": 0}}
    figures = {key: FIGURES[key] for key in ("benchmark", "readout", "reference_language")}
    study = {"kind": "harness", "runs": [run], "metrics": metrics, "figures": figures}
    return schema.load(checkout.config() | {"studies": {ROOT: study}})


def answers(runs: list[str] = RUNS, languages: list[str] = LANGUAGES) -> pd.DataFrame:
    """Records with subjects and cultures; languages in `PLAIN` have none of letters."""
    frame = make_records(runs, languages, QUESTIONS, seed=5)
    number = frame["question_id"].str[1:].astype(int)
    frame["subject"] = np.where(number % 3 == 0, "law", "art & <b>music</b>")
    frame["culture"] = np.where(number % 2 == 0, "CS", "CA")
    for column in ("letter_logits", "logsumexp", "prompt_tokens"):
        frame[column] = frame[column].astype(object).where(~frame["language"].isin(PLAIN), None)
    return frame


def write(folder: Path, frame: pd.DataFrame, settings: Config, root: str = ROOT) -> Path:
    """Write all that the explorer reads below the working folder; returns `folder`."""
    files = []
    for (run, benchmark), rows in frame.groupby(["run", "benchmark"], observed=True):
        files.append(folder / paths.RECORDS.format(root=root, run=run, benchmark=benchmark))
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        records.write(files[-1], rows.astype(object))
    names = [str(file) for file in files]
    metrics, _ = compute_metrics.compute(names, job_params.metrics(settings, root))
    _, diagrams = bin_reliability.compute(names, job_params.reliability(settings, root))
    tables = {paths.METRICS: metrics, paths.RELIABILITY_BY_LANG: diagrams}
    if settings.measured(root).figures.sft:
        tables[paths.EFFECTS], tables[paths.EFFECTS_OVER_LANGUAGES] = compute_effects.compute(
            names, job_params.effects(settings, root)
        )
    for path, table in tables.items():
        place = folder / path.format(root=root)
        place.parent.mkdir(parents=True, exist_ok=True)
        record_files.write(place, table)
    asked = frame.drop_duplicates(["language", "question_id"])
    written = pd.DataFrame(
        {
            "question_id": asked["question_id"],
            "language": asked["language"].astype(str),
            "subject": asked["subject"],
            "culture": asked["culture"],
            "question": [
                TEXTS[str(language)].format(name)
                for language, name in zip(asked["language"], asked["question_id"], strict=True)
            ],
            "options": [
                [f"{TEXTS[str(language)][:4]} {letter} {name}" for letter in "ABCD"]
                for language, name in zip(asked["language"], asked["question_id"], strict=True)
            ],
            "answer": asked["gold"].astype(int),
        }
    )
    if isinstance(settings.measured(root), MultilingualStudy):
        questions.write(folder / paths.BENCHMARK.format(benchmark="synthetic"), written)
    return folder


#: What the page gives the explorer: its styles, and its elements
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>explorer</title><link rel="icon" href="data:,"><style>
{style}</style></head><body><main><h1>A study</h1><section id="explorer"><h2>Explore</h2>
<div id="explorer-root"></div>
<script type="application/json" id="explorer-data">{data}</script>
<script>{library}</script><script>{script}</script></section></main></body></html>
"""


def page(data: Any) -> str:
    """A page with nothing but the explorer."""
    return PAGE.format(
        style="".join((explorer.HERE / name).read_text(encoding="utf-8") for name in STYLES),
        data=explorer.embedded(data),
        library=explorer.library(),
        script=explorer.script(),
    )


def embedded_of(html: str) -> Any:
    """The data in a page."""
    (text,) = [part.partition("</script>")[0] for part in html.split('id="explorer-data">')[1:]]
    return json.loads(text)


MODELS_ROOT = "results/duo"
#: Models of paper 2; the smaller the number, the righter and surer
SKILLS = {"good": 0.15, "poor": 4.0, "fair": 0.6}
DATASETS = [
    {"id": "arc", "name": "ARC", "benchmark": "synthetic", "language": "en"},
    {"id": "quiz", "name": "Quiz <b>", "benchmark": "synthetic", "language": "he"},
]


def models_config() -> Config:
    """The config of a study of paper 2."""
    raw = checkout.config()
    source = {"source": {"kind": "folder", "path": "m"}, "chat_format": "plain"}
    study = {
        "kind": "chat_confidence",
        "models": [
            {"run": name, "name": name.title(), "size": None if name == "poor" else 7.0}
            for name in SKILLS
        ],
        "datasets": DATASETS,
        "scoring": {"prompts": ["msp-response", "msp-answer"]},
        "confidences": ["msp", "margin"],
    }
    raw |= {
        "models": dict.fromkeys(SKILLS, source),
        "benchmarks": {
            "synthetic": {"source": {"kind": "file", "path": "quiz.jsonl"}, "options": 4}
        },
        "studies": {MODELS_ROOT: study},
    }
    return schema.load(raw)


def write_models(folder: Path) -> Path:
    """Write the tables of a study of paper 2 that the explorer reads; returns `folder`."""
    models = [
        {"file": one.run, "name": one.name, "size": one.size}
        for one in models_config().chat_confidence(MODELS_ROOT).models
    ]
    own = {"datasets": DATASETS, "methods": ["msp", "margin"], "grid": "min", "ks": [5, 20]}
    study = Study(folder, "", models, {}, **own)
    files = []
    for place, (run, skill) in enumerate(SKILLS.items()):
        frames = [
            own_answers(run, "synthetic", 40, skill, place, language=one["language"])
            for one in DATASETS
        ]
        files.append(f"{run}.parquet")
        records.write(folder / files[-1], pd.concat(frames))
    study.records = " ".join(files)
    study.tables()
    for name in ("points", "score_curves"):
        table = folder / paths.STUDY_TABLE.format(root=MODELS_ROOT, name=f"{name}.csv")
        table.parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.csv").rename(table)
    return folder
