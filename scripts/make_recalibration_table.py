"""Make the table of recalibration: calibration of each model, condition, method and fit.

The CSV has a row per model, group of languages, condition, method and fit, with full precision
and the ends of each bootstrap interval. The LaTeX table (packages booktabs and multirow) has
the mean ECE of each group and condition, a column for each method and fit.
"""

from __future__ import annotations

import pandas as pd

from multical.errors import program
from multical.figures import latex, outputs, tables
from multical.figures.params import Reference

METRICS = ["accuracy", "confidence", "ece", "debiased_ece2"]
FITS = ["none", "reference", "high", "own"]


def main() -> None:
    args = outputs.arguments(__doc__, Reference, ["recalibration"], outputs.TABLE)
    rows = tables.chosen(args.recalibration, "recalibration", args.params, metric=METRICS)
    orders = {"method": list(tables.METHODS), "fit": FITS}
    table = tables.by_metric(rows[rows["group"].isin(list(tables.GROUPS))], orders, METRICS)
    tex = tabular(table, args.params.reference_language)
    latex.write(args, table, tex, index=True)


def tabular(table: pd.DataFrame, reference: str) -> str:
    """The LaTeX table of mean ECE, with a line for each model, group and condition."""
    frame = table["ece"].unstack(["method", "fit"]).rename(tables.GROUPS, level="group")
    fits = {"none": "", "reference": reference}
    pairs = [(tables.METHODS[pair[0]], fits.get(pair[1], pair[1])) for pair in frame.columns]
    frame.columns = pd.MultiIndex.from_tuples(pairs)
    style = frame.style.format(precision=3, na_rep="--")
    style.format_index(escape="latex", axis="columns")
    return latex.by_model_and_group(style, len(frame.columns))


if __name__ == "__main__":
    program(main)
