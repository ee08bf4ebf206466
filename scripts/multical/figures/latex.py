"""Write tables as CSV in full precision and as LaTeX (package booktabs), with a sidecar."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2  # noqa: F401  # pandas needs it to write styled tables as LaTeX
import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from multical.figures import outputs
from multical.files import atomic


def write(
    args: argparse.Namespace,
    table: pd.DataFrame,
    tex: str,
    *,
    name: str | None = None,
    index: bool = False,
    seed: int | None = None,
) -> None:
    """Write a table of the program and its sidecar. `name` defaults to its only table."""
    name = outputs.names(args)[0] if name is None else name
    files = outputs.paths(args, name)
    with atomic(files["csv"]) as csv_file, atomic(files["tex"]) as tex_file:
        table.to_csv(csv_file, index=index, lineterminator="\n")
        tex_file.write_text(tex, encoding="utf-8")
    outputs.describe(args, name, seed)


def tabular(cells: pd.DataFrame, dataset_names: Mapping[str, str]) -> str:
    """A LaTeX `tabular` of text cells.

    If there is a column `dataset` (an id), the rows of each data set stand under its name, which
    `dataset_names` has.
    """
    columns = [name for name in cells.columns if name != "dataset"]
    lines = [r"\begin{tabular}{l" + "r" * (len(columns) - 1) + "}", r"\toprule"]
    lines.append(" & ".join(map(escape, columns)) + r" \\")
    grouped = cells.groupby("dataset", sort=False) if "dataset" in cells else [("", cells)]
    for dataset, rows in grouped:
        lines.append(r"\midrule")
        if dataset:
            title = escape(dataset_names.get(str(dataset), str(dataset)))
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{title}}}}} \\")
        lines += [
            " & ".join(escape(str(cell)) for cell in row) + r" \\"
            for row in rows[columns].itertuples(index=False)
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def by_model_and_group(style: Styler, numbers: int) -> str:
    """A `tabular` with three key columns, of which model and group are the first two.

    `numbers` is the number of further columns. A rule precedes each new model, and a space each
    new group.
    """
    style = style.hide(axis="index", names=True).format_index(escape="latex", axis="index")
    text = style.to_latex(hrules=True, column_format="lll" + "r" * numbers, multirow_align="naive")
    text = re.sub(r"(?<=\\\\\n)(?=[^ &\\])", r"\\midrule\n", text)  # a new model
    return re.sub(r"(?<=\\\\\n)(?= & [^ &])", r"\\addlinespace\n", text)  # a new group


def escape(text: str) -> str:
    """Escape text for LaTeX. A hyphen that begins a number becomes a minus sign."""
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", text)


def rounded(digits: int, factor: float = 1.0) -> Callable[[Any], str]:
    """A function that formats a number times `factor` with `digits` decimals, never as -0.0.

    It formats a missing number as two hyphens.
    """

    def text(value: Any) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return "--"
        number = f"{factor * float(value):.{digits}f}"
        return number.lstrip("-") if float(number) == 0 else number

    return text


def interval(row: pd.Series, metric: str) -> str:
    """The interval of a metric in a row of `tables.by_metric`: three digits, in small type.

    Nothing if there is no interval.
    """
    if pd.isna(row[f"{metric}_low"]):
        return ""
    low, high = (rounded(3)(row[f"{metric}_{end}"]) for end in ("low", "high"))
    return rf"{{\tiny [{low}, {high}]}}"


def printed(table: pd.DataFrame, columns: Mapping[str, tuple[str, Callable[[Any], str] | None]]
            ) -> pd.DataFrame:  # fmt: skip
    """Choose columns of a table for print. `columns` gives the title and format of each."""
    return pd.DataFrame(
        {
            title: table[name].map(form) if form else table[name].fillna("--").astype(str)
            for name, (title, form) in columns.items()
        }
    )
