"""Make the main table: accuracy and calibration of each model and condition.

The CSV has a row per model, condition and group of languages, with full precision and the ends of
each bootstrap interval. The LaTeX table (package booktabs) has the same groups, and intervals only
for the mean over the languages other than English.
"""

from __future__ import annotations

import pandas as pd

from multical.errors import program
from multical.figures import latex, outputs, tables
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
#: The group whose intervals the LaTeX table shows
WITH_INTERVALS = "non-english"


def main() -> None:
    args = outputs.arguments(__doc__, Panel, ["summary"], outputs.TABLE)
    rows = tables.chosen(args.summary, "summary", args.params, metric=list(METRICS))
    table = tables.by_metric(rows[rows["group"].isin(list(tables.GROUPS))], {}, list(METRICS))
    latex.write(args, table, tabular(table), index=True)


def tabular(table: pd.DataFrame) -> str:
    """The LaTeX table with three digits, and intervals in small type below their values."""
    lines, number = {}, latex.rounded(3)
    for (model, group, condition), (_, row) in zip(
        table.index.to_list(), table.iterrows(), strict=True
    ):
        key = (model, tables.GROUPS[group], condition)
        lines[(*key, "value")] = [number(row[metric]) for metric in METRICS]
        if group == WITH_INTERVALS:
            lines[(*key, "interval")] = [latex.interval(row, metric) for metric in METRICS]
    names = ["model", "languages", "condition", "line"]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=list(METRICS.values()))
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=names)
    return latex.by_model_and_group(frame.style.hide(axis="index", level="line"), len(METRICS))


if __name__ == "__main__":
    program(main)
