"""Tables with a row per model, condition and group of languages, and a column per metric."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import pandas as pd

from multical.figures import latex, tables

#: The group whose intervals the LaTeX table shows
WITH_INTERVALS = "non-english"


def write(args: argparse.Namespace, metrics: Mapping[str, str]) -> None:
    """Write the table of a program with the option --summary, from the names of its metrics."""
    rows = tables.chosen(args.summary, "summary", args.params, metric=list(metrics))
    table = tables.by_metric(rows[rows["group"].isin(list(tables.GROUPS))], {}, list(metrics))
    latex.write(args, table, tabular(table, metrics), index=True)


def tabular(table: pd.DataFrame, metrics: Mapping[str, str]) -> str:
    """The LaTeX table with three digits, and intervals in small type below their values."""
    lines, number = {}, latex.rounded(3)
    for (model, group, condition), (_, row) in zip(
        table.index.to_list(), table.iterrows(), strict=True
    ):
        key = (model, tables.GROUPS[group], condition)
        lines[(*key, "value")] = [number(row[metric]) for metric in metrics]
        if group == WITH_INTERVALS:
            lines[(*key, "interval")] = [latex.interval(row, metric) for metric in metrics]
    names = ["model", "languages", "condition", "line"]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=list(metrics.values()))
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=names)
    return latex.by_model_and_group(frame.style.hide(axis="index", level="line"), len(metrics))
