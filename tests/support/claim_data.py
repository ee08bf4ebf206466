"""Studies made up so that the claims hold, or so that one does not: for tests of verdicts."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from compute_metrics import compute
from multical import records
from multical.claims import schema
from multical.claims.params import MeasuredClaims
from multical.stats import record_files
from support import released_data as released
from support.msp_study import Study
from support.synthetic import make_records

ROOT = Path(__file__).parents[2]
CLAIMS = schema.load(ROOT / "claims.yaml")
LEVELS = {"en": "high", "fr": "high", "ko": "mid", "sw": "low", "yo": "low"}
BOOTSTRAP = {"replicates": 200, "seed": 1, "level": 0.95}
#: What makes a fine-tuned run overconfident, and smoothing less so
POWERS = {0.0: 3.0, 0.1: 1.2}


def measured(**changes: Any) -> dict[str, Any]:
    """Parameters of a study of paper 1."""
    return {
        "study": "results/made",
        "kind": "multilingual",
        "readouts": ["text_ppl", "text_sum"],
        "metrics": ["accuracy", "confidence", "debiased_ece2"],
        "bins": 10,
        "bootstrap": BOOTSTRAP,
        "resource_levels": LEVELS,
        **schema.dumped(CLAIMS),
        **changes,
    }


def study_1(
    folder: Path, powers: dict[float, float] = POWERS, learnt: float = 0.0,
    languages: tuple[str, ...] = tuple(LEVELS), seeds: tuple[float, ...] = (1.0,),
) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """Records of a base model and its SFT runs, with the summary; their paths.

    A run of each smoothing in `powers` takes the base model's distribution to that power;
    SFT without smoothing puts the share `learnt` of the questions right. There is a run of each
    seed, whose powers are multiplied by its entry in `seeds`.
    """
    base = make_records(["tiny"], languages, 240, 0)
    frames = {"tiny": base}
    for (smoothing, power), (seed, factor) in product(powers.items(), enumerate(seeds)):
        run = f"tiny.facts.ls{smoothing:g}.s{seed}"
        logliks = [np.float32(power * factor) * row for row in base["text_logliks"]]
        if smoothing == 0:
            logliks = _taught(logliks, base, learnt)
        keys: dict[str, Any] = {"run": run, "sft": "facts", "smoothing": smoothing, "seed": seed}
        frames[run] = base.astype(object).assign(text_logliks=logliks, **keys)
    paths = []
    for run, frame in frames.items():
        paths.append(str(folder / f"{run}.parquet"))
        records.write(paths[-1], frame)
    _, summary = compute(paths, MeasuredClaims.model_validate(measured()))
    record_files.write(folder / "summary.csv", summary)
    return paths, {"summary.csv": str(folder / "summary.csv")}


def _taught(logliks: list[Any], base: pd.DataFrame, share: float) -> list[Any]:
    known = base["question_id"].str.slice(1).astype(int) < share * base["question_id"].nunique()
    rows = zip(logliks, base["gold"], base["text_tokens"], known, strict=True)
    return [
        np.where(np.arange(len(row)) == gold, -0.01 * tokens, row).astype(np.float32)
        if taught
        else row
        for row, gold, tokens, taught in rows
    ]


MODELS: list[dict[str, Any]] = [
    {"file": f"m{place}", "name": f"Model {place}", "size": 7.0, "max_logit": place == 0}
    for place in range(30)
]
DATASETS = {"arc": 150, "quiz": 150}


def released_params(**changes: Any) -> dict[str, Any]:
    """Parameters of a study of paper 2."""
    settings = Study(Path(), "", MODELS, DATASETS).settings
    own = {key: settings[key] for key in ("models", "datasets", "bins")} | {"study": "results/made"}
    own |= {"kind": "released", "bootstrap": BOOTSTRAP | {"replicates": 1000}}
    own["schemes"] = {"balanced": 1, "conservative": 2}
    return own | schema.dumped(CLAIMS) | changes


def study_2(
    folder: Path, sure: float | None = None, telling: float = 1.0, steady: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Records and tables of made-up models, made by the study's own programs; their paths.

    Better models tell right from wrong better. The confidence is halfway from the chance of being
    right to 1, or to 0 for every other model: errors without a trend. With `sure` it is that chance
    to that power; for 1 it is calibrated. With `telling` 0 it says nothing, and `steady` makes
    worse models tell better.
    """
    source = folder / "release"
    source.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for place, model in enumerate(MODELS):
        share = place / (len(MODELS) - 1)
        rate = 0.4 + 0.4 * share
        spread = telling * (1.0 + 3 * (1 - share if steady else share))
        for dataset, count in DATASETS.items():
            for prompt in released.PROMPTS:
                chance = expit(logit(rate) + spread * generator.standard_normal(count))
                right = generator.random(count) < chance
                shown = chance if telling else generator.random(count)
                confidence = (shown + place % 2) / 2 if sure is None else shown**sure
                grades = ["Correct" if one else "Wrong" for one in right]
                for value in ("norm", "raw") if model["max_logit"] else ("norm",):
                    name = released.name(dataset, model["file"], 0, count, value, prompt)
                    (source / name).write_text(released.content(grades, confidence))
    study = Study(folder, source, MODELS, DATASETS, seed=0, seeds=5, ks=[20])
    study.importing()
    study.tables()
    tables = ("calibration", "cells", "correlations", "scores")
    return [str(folder / "r.parquet")], {f"{x}.csv": str(folder / f"{x}.csv") for x in tables}
