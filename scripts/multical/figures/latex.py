"""Tables as CSV in full precision, as LaTeX (package booktabs), and with a sidecar."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2  # noqa: F401  # writes the LaTeX of styled tables, for pandas
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
    """Write a table of the program, by default its only one, and its sidecar."""
    name = outputs.names(args)[0] if name is None else name
    made = outputs.paths(args, name)
    with atomic(made["csv"]) as full, atomic(made["tex"]) as printed:
        table.to_csv(full, index=index, lineterminator="\n")
        printed.write_text(tex, encoding="utf-8")
    outputs.describe(args, name, seed)


def tabular(printed: pd.DataFrame, groups: Mapping[str, str]) -> str:
    """A `tabular` of texts; the rows of each data set stand under its name, that of `groups`."""
    columns = [name for name in printed.columns if name != "dataset"]
    lines = [r"\begin{tabular}{l" + "r" * (len(columns) - 1) + "}", r"\toprule"]
    lines.append(" & ".join(map(escape, columns)) + r" \\")
    grouped = printed.groupby("dataset", sort=False) if "dataset" in printed else [("", printed)]
    for dataset, rows in grouped:
        lines.append(r"\midrule")
        if dataset:
            title = escape(groups.get(str(dataset), str(dataset)))
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{title}}}}} \\")
        lines += [
            " & ".join(escape(str(cell)) for cell in row) + r" \\"
            for row in rows[columns].itertuples(index=False)
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def by_model_and_group(style: Styler, numbers: int) -> str:
    """A `tabular` with three columns of keys, and a space before each new model and group."""
    style = style.hide(axis="index", names=True).format_index(escape="latex", axis="index")
    text = style.to_latex(hrules=True, column_format="lll" + "r" * numbers, multirow_align="naive")
    text = re.sub(r"(?<=\\\\\n)(?=[^ &\\])", r"\\midrule\n", text)  # a new model
    return re.sub(r"(?<=\\\\\n)(?= & [^ &])", r"\\addlinespace\n", text)  # a new group


def escape(text: str) -> str:
    """Text as LaTeX prints it; a hyphen that begins a number is a minus sign."""
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", text)


def rounded(digits: int, factor: float = 1.0) -> Callable[[Any], str]:
    """Format a number with `digits` decimals, never as -0.0; a missing one as two hyphens."""

    def text(value: Any) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return "--"
        number = f"{factor * float(value):.{digits}f}"
        return number.lstrip("-") if float(number) == 0 else number

    return text


def printed(table: pd.DataFrame, columns: Mapping[str, tuple[str, Callable[[Any], str] | None]]
            ) -> pd.DataFrame:  # fmt: skip
    """Choose, name and format columns of a table for print."""
    return pd.DataFrame(
        {
            title: table[name].map(form) if form else table[name].fillna("--").astype(str)
            for name, (title, form) in columns.items()
        }
    )
