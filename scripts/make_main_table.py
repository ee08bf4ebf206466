"""Make the main table: accuracy and calibration of each model and condition.

The CSV has a row per model, condition and group of languages, with full precision and the ends of
each bootstrap interval. The LaTeX table (package booktabs) has the same groups, and intervals only
for the mean over the languages other than English.
"""

from __future__ import annotations

from multical.errors import program
from multical.figures import metric_table, outputs
from multical.figures.params import Panel

METRICS = {
    "accuracy": "accuracy",
    "confidence": "confidence",
    "ece": "ECE",
    "ece_equal_mass": "ECE (equal mass)",
    "rmsce": "RMSCE",
    "debiased_ece2": "ECE2 (debiased)",
    "brier": "Brier",
    "nll": "NLL",
    "auroc": "AUROC",
}


def main() -> None:
    metric_table.write(outputs.arguments(__doc__, Panel, ["summary"], outputs.TABLE), METRICS)


if __name__ == "__main__":
    program(main)
