"""What the explorer shows of a study of paper 1: metrics, changes and diagrams, by language.

All numbers are those of the study's tables, to nine digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from multical import paths
from multical.config.schema import Config
from multical.figures import style, tables
from multical.figures.language_names import named
from multical.figures.params import ByLanguage
from multical.labels import label
from multical.metrics.declared import METRICS
from multical.names import metric_name, readout_name
from multical.page import questions, shapes
from multical.page.finding_changes import SQUARED
from multical.page.finding_parts import GROUPS
from multical.workflow import job_params

RUN = ["run", "model", "sft", "smoothing", "seed"]
BLOCK = ["benchmark", "readout", "run"]
COMPARISON = ["model", "sft", "benchmark", "before", "after", "seeds", "readout"]
POINT = ["n", "confidence", "accuracy", "low", "high"]


def data(config: Config, root: str) -> dict[str, Any]:
    """All that the explorer shows of a study; texts and answers only of a small one."""
    shown = job_params.figure(config, root, ByLanguage)
    metrics = tables.read(paths.METRICS.format(root=root), "metrics")
    bins = tables.read(paths.RELIABILITY_BY_LANG.format(root=root), "reliability_by_lang")
    changes = list(_changes(root)) if shown.sft else []
    changed = {name for change in changes for name in change["metrics"]}
    names = sorted({*metrics["metric"], *changed}, key=_rank)
    runs = metrics[RUN].drop_duplicates()
    return {
        "kind": "languages",
        "study": root,
        "shown": _shown(shown, names),
        "alpha": tables.ALPHA,
        "languages": _languages(metrics),
        "metrics": {name: metric_name(name) for name in names},
        "readouts": {name: readout_name(name) for name in metrics["readout"].unique()},
        "runs": list(_runs(runs)),
        "looks": _looks(runs["smoothing"].drop_duplicates()),
        "cells": list(_cells(metrics)),
        "changes": changes,
        "diagrams": list(_diagrams(bins)),
        "questions": questions.data(config, root),
        "records": questions.described(config, root),
    }


def _rank(metric: str) -> tuple[int, str]:
    """Metrics in the order in which they are declared, then those of changes alone."""
    return (METRICS.index(metric) if metric in METRICS else len(METRICS), metric)


def _shown(params: ByLanguage, metrics: Sequence[str]) -> dict[str, Any]:
    """What is shown first: what the study's figures show."""
    conditions = [label(condition) for condition in tables.conditions(params)]
    keys = ("benchmark", "readout", "sft", "seed", "reference_language")
    first = "ece" if "ece" in metrics else metrics[0]
    shown = {key: getattr(params, key) for key in keys}
    return shown | {"metric": first, "tested": SQUARED, "conditions": conditions}


def _languages(metrics: pd.DataFrame) -> dict[str, Any]:
    levels = metrics.drop_duplicates("language").set_index("language")["resource_level"]
    return {tag: {**named(tag), "level": levels[tag]} for tag in sorted(levels.index)}


def _runs(runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for row in runs.to_dict("records"):
        is_base = pd.isna(row["sft"])
        yield {
            "id": row["run"],
            "model": row["model"],
            "sft": None if is_base else row["sft"],
            "seed": None if pd.isna(row["seed"]) else int(row["seed"]),
            "condition": label(None if is_base else row["smoothing"]),
        }


def _looks(smoothings: pd.Series) -> dict[str, tuple[str, str]]:
    """Colour and shape of each condition, in their order, as in the figures."""
    conditions = [None if pd.isna(value) else float(value) for value in smoothings]
    styles = style.condition_styles(conditions)
    order = sorted(styles, key=lambda b: -1.0 if b is None else b)
    return {label(b): (styles[b][0], shapes.of_marker(styles[b][1])) for b in order}


def _cells(metrics: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Of each benchmark, readout and run: its languages, and lists as long by metric."""
    for keys, rows in metrics.groupby(BLOCK, sort=False):
        numbers = rows.drop_duplicates("language").set_index("language")["n"]
        values = _by_metric(rows, list(numbers.index), list(tables.INTERVAL))
        yield _keys(BLOCK, keys) | {
            "languages": list(numbers.index),
            "n": [int(n) for n in numbers],
            "metrics": values,
        }


def _changes(root: str) -> Iterator[dict[str, Any]]:
    """Of each comparison and readout: its languages, and lists as long by metric.

    `means` are the means over the languages that the finding is about.
    """
    effects = tables.read(paths.EFFECTS.format(root=root), "effects")
    over = tables.read(paths.EFFECTS_OVER_LANGUAGES.format(root=root), "effects_over_languages")
    group = next(name for name in GROUPS if name in over["group"].array)
    means = {
        keys: dict(zip(rows["metric"], short(rows["value"]), strict=True))
        for keys, rows in over[over["group"] == group].groupby(COMPARISON, sort=False)
    }
    for keys, rows in effects.groupby(COMPARISON, sort=False):
        languages = list(rows["language"].unique())
        values = _by_metric(rows, languages, [*tables.INTERVAL, "p_holm"])
        found = _keys(COMPARISON, keys) | {"languages": languages, "metrics": values}
        yield found | {"seeds": int(found["seeds"]), "means": means.get(keys, {})}


def _by_metric(
    rows: pd.DataFrame, languages: list[str], columns: Sequence[str]
) -> dict[str, list[list[float | None]]]:
    """By metric, a list per column with a number per language; without columns of no numbers."""
    values = {}
    for metric, part in rows.groupby("metric", sort=False):
        part = part.set_index("language").reindex(languages)
        lists = [short(part[column]) for column in columns]
        while len(lists) > 1 and not any(number is not None for number in lists[-1]):
            lists.pop()
        values[str(metric)] = lists
    return values


def _diagrams(bins: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Of each benchmark, readout and run: by language, points as `POINT` has them."""
    points = tables.points(bins, [*BLOCK, "language"]).reset_index()
    for keys, rows in points.groupby(BLOCK, sort=False):
        by_language = {
            str(language): [short(point) for point in part[POINT].to_numpy(float)]
            for language, part in rows.groupby("language", sort=False)
        }
        yield _keys(BLOCK, keys) | {"points": by_language}


def _keys(names: Sequence[str], values: Any) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def short(values: Any) -> list[float | None]:
    """Numbers to nine digits; None for one that is not finite."""
    return [
        float(f"{value:.9g}") if np.isfinite(value) else None for value in np.asarray(values, float)
    ]
