"""plot_confidence_vs_accuracy_shift.py: changes of accuracy and confidence by language."""

from __future__ import annotations

import pandas as pd

import plot_confidence_vs_accuracy_shift as program


def test_equal_means_do_not_differ_by_their_rounding() -> None:
    """An axis would go to 1e-17."""
    values = {"base": {"accuracy": 0.3, "confidence": 0.5}}
    values["SFT"] = {"accuracy": 0.1 + 0.2, "confidence": 0.75}
    rows = pd.DataFrame(
        [
            ("m", "high", "en", condition, metric, value)
            for condition, numbers in values.items()
            for metric, value in numbers.items()
        ],
        columns=["model", "resource_level", "language", "condition", "metric", "value"],
    )
    (change,) = program.shifts(rows)[["accuracy", "confidence"]].to_numpy().tolist()
    assert change == [0, 0.25]
