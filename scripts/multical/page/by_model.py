"""What the explorer shows of a study of paper 2: models as points, and scores with abstention.

All numbers are those of the study's tables, to nine digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from multical.config.schema import Config
from multical.figures import msp_style, msp_tables
from multical.figures.params import Compared
from multical.page import shapes, sources
from multical.page.by_language import short
from multical.workflow import msp_params

ERRORS = ("calibration_error_cells", "calibration_error_width", "calibration_error")
CURVE = ["dataset", "model", "method", "scheme", "threshold", "score", "abstained", "chosen"]


def data(config: Config, root: str) -> dict[str, Any]:
    """The points of all models, and how many answers each gives and gets right at a threshold."""
    params = msp_params.compared(config, root)
    points = msp_tables.read_table(sources.table(root, "points"), ["dataset", "model", "accuracy"])
    curves = msp_tables.read_table(sources.table(root, "score_curves"), CURVE)
    abstention = msp_params.abstention(config, root).abstention
    return {
        "kind": "models",
        "study": root,
        "datasets": params.dataset_names,
        "models": list(_models(params)),
        "methods": {name: msp_tables.METHOD_NAMES[name] for name in params.methods},
        "schemes": abstention.schemes,
        "k": abstention.main_k,
        "values": _values(params, points),
        "points": list(_points(params, points)),
        "curves": list(_curves(curves, abstention.schemes)),
    }


def _values(params: Compared, points: pd.DataFrame) -> dict[str, str]:
    """The names of what a point can show, by column of the table."""
    shown = ["accuracy", *(f"{name}_auroc" for name in params.methods), *ERRORS]
    names = {name: msp_tables.QUANTITIES[name] for name in shown}
    names["size"] = "parameters (billions)"
    return {name: text for name, text in names.items() if name in points}


def _models(params: Compared) -> Iterator[dict[str, Any]]:
    """Each model with its size, and its colour, shape and dashes, those of the figures."""
    looks = msp_style.styles(params)
    for model in params.models:
        look = looks[model.name]
        line = look["linestyle"]
        yield {
            "name": model.name,
            "size": model.size,
            "colour": look["color"],
            "shape": shapes.of_marker(look["marker"]),
            "dash": [1, 0] if line == "-" else list(line[1]),
        }


def _points(params: Compared, points: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Of each data set, or all, and model: its values, both phrasings together."""
    columns = list(_values(params, points))
    for row in points[points["prompt"].isna()].to_dict("records"):
        numbers = dict(zip(columns, short([row[name] for name in columns]), strict=True))
        yield {"dataset": row["dataset"], "model": row["model"], **numbers}


def _curves(curves: pd.DataFrame, schemes: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Of each data set, method and model: shares of right answers and of abstentions by threshold.

    A score is 100 (right - penalty wrong), and right + wrong + abstained = 1. So the scores of one
    penalty give those of all others.
    """
    scheme, penalty = next(iter(schemes.items()))
    for (dataset, method), every in curves.groupby(["dataset", "method"], sort=False):
        rows = every[every["scheme"] == scheme]
        models = {str(name): part for name, part in rows.groupby("model", sort=False)}
        thresholds = next(iter(models.values()))["threshold"]
        found = {}
        for name, part in models.items():
            answered = 1 - part["abstained"] / 100
            wrong = (answered - part["score"] / 100) / (1 + penalty)
            found[name] = [short(answered - wrong), short(part["abstained"] / 100)]
        yield {
            "dataset": dataset,
            "method": method,
            "thresholds": short(thresholds),
            "models": found,
            "chosen": {
                f"{schemes[str(name)]:g}": _chosen(own)
                for name, own in every.groupby("scheme", sort=False)
            },
        }


def _chosen(curves: pd.DataFrame) -> dict[str, int]:
    """By model, the place of the threshold that was chosen on labelled answers."""
    models = curves.groupby("model", sort=False)
    return {str(name): int(rows["chosen"].to_numpy(bool).argmax()) for name, rows in models}
