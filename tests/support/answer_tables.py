"""The tables of two models of paper 2 that its finding and page are made from, made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd


def write_answers(results: Path, study: str = "msp_v2", low: float = 0.2, **changes: Any) -> str:
    """Tables of two models of paper 2; returns the root of the study.

    `low` is the lower end of the interval of the accuracy of the second.
    """
    tables = results / study / "tables"
    tables.mkdir(parents=True)
    points = {
        "dataset": ["all", "all", "arc", "all"], "prompt": [None, None, None, "first_prompt"],
        "model": ["a", "b", "a", "a"], "msp_auroc": [0.5, 0.7, 0.1, 0.2],
        "calibration_error": [0.1, 0.15, 0.9, 0.8],
        "calibration_error_width": [0.1, 0.3, 0.9, 0.8],
        "calibration_error_cells": [0.1, 0.3, 0.9, 0.8],
    }  # fmt: skip
    pd.DataFrame(points).to_csv(tables / "points.csv", index=False)
    error = "calibration_error_width" if study == "msp_v2" else "calibration_error_cells"
    found = {
        "dataset": "all", "prompt": [None, None, "first_prompt", None],
        "x": ["accuracy", "accuracy", "accuracy", "size"],
        "y": ["msp_auroc", error, "msp_auroc", "msp_auroc"],
        "r": [0.8, -0.1, 0.3, 0.4], "p": [0.001, 0.9, 0.5, 0.6],
    } | changes  # fmt: skip
    pd.DataFrame(found).to_csv(tables / "correlations.csv", index=False)
    intervals = {
        "dataset": ["all", "all", "all", "all", "arc"], "model": ["a", "b", "a", "b", "a"],
        "method": "msp", "measure": ["auroc", "auroc", "accuracy", "accuracy", "auroc"],
        "prompt": None, "value": [0.5, 0.7, 0.25, 0.3, 0.1],
        "ci_low": [0.45, 0.6, 0.2, low, 0.1], "ci_high": [0.55, 0.8, 0.3, 0.4, 0.1],
    }  # fmt: skip
    pd.DataFrame(intervals).to_csv(tables / "intervals.csv", index=False)
    scores = {
        "dataset": "all", "model": ["a", "b"] * 4, "k": "20",
        "scheme": ["balanced"] * 4 + ["conservative"] * 4,
        "method": ["msp", "msp", "none", "none"] * 2,
        "mean": [5.0, 42.0, -10.0, 40.0, -1.0, 30.0, -50.0, 10.0],
    }  # fmt: skip
    pd.DataFrame(scores).to_csv(tables / "scores.csv", index=False)
    counts = {"dataset": ["arc", "mmlu"], "questions": [1000, 200]}
    pd.DataFrame(counts).to_csv(tables / "datasets.csv", index=False)
    return f"results/{study}"
