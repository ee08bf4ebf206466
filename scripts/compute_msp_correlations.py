"""Correlate accuracy, AUROC, calibration error and size over the models of paper 2.

Fits y on x by ordinary least squares, with a point per model, for all data sets together and
for each, and for both phrasings together (empty `prompt`) and for each. Gives r, R2, slope,
two-sided p and n. Accuracies, AUROCs and calibration errors are fractions, sizes are in billions
of parameters. Models of unknown size are left out of the fits on size. Writes the tables
correlations and points (the data of the fits).
"""

from __future__ import annotations

import pandas as pd

from multical.errors import program
from multical.figures import latex, msp_tables, outputs
from multical.figures.params import Compared
from multical.metrics.lines import least_squares
from multical.names import billions

#: Quantities that are not split by phrasing
ERRORS = tuple(name for name in msp_tables.QUANTITIES if name.startswith("calibration_error"))


def main() -> None:
    inputs = ["cells", "calibration"]
    args = outputs.arguments(__doc__, Compared, inputs, outputs.TABLE)
    cells = msp_tables.read_table(args.cells, ["dataset", "model", "prompt", "method", "auroc"])
    calibration = msp_tables.read_table(args.calibration, ["dataset", "model", "calibration_error"])
    points = point_table(cells, calibration, args.params)
    aurocs = [f"{method}_auroc" for method in args.params.methods]
    pairs = [
        *(("accuracy", y) for y in (*aurocs, *ERRORS)),
        *(("size", y) for y in aurocs),
    ]
    rows = []
    for (dataset, prompt), part in points.groupby(["dataset", "prompt"], sort=False):
        for x, y in pairs:
            line = least_squares(part[x].to_numpy(float), part[y].to_numpy(float))
            if line.n:
                rows.append({
                    "dataset": dataset, "prompt": prompt, "x": x, "y": y,
                    "r": line.r, "r2": line.r**2, "slope": line.slope,
                    "intercept": line.intercept, "p": line.p, "n": line.n,
                })  # fmt: skip
    columns = ["dataset", "prompt", "x", "y", "r", "r2", "slope", "intercept", "p", "n"]
    table = pd.DataFrame(rows, columns=columns)
    msp_tables.write_table(args, "correlations", table, print_table(table))
    msp_tables.write_table(args, "points", points, print_points(points, aurocs))


def point_table(cells: pd.DataFrame, calibration: pd.DataFrame, params: Compared) -> pd.DataFrame:
    """One row per data set, phrasing (empty: both) and model, with all correlated quantities."""
    pooled = cells.assign(prompt="")
    everything = pd.concat(
        [pooled.assign(dataset=msp_tables.ALL), cells.assign(dataset=msp_tables.ALL), pooled, cells]
    )
    by = ["dataset", "prompt", "model"]
    grouped = {
        method: everything[everything["method"] == method].groupby(by) for method in params.methods
    }
    table = pd.DataFrame({"accuracy": grouped["msp"]["accuracy"].mean()})
    for method, rows in grouped.items():
        table[f"{method}_auroc"] = rows["auroc"].mean(skipna=False)
    sizes = {model.name: model.size for model in params.models}
    table = table.reset_index()
    table["size"] = table["model"].map(sizes).astype(float)
    columns = [name for name in msp_tables.QUANTITIES if name in calibration]
    table = table.merge(
        calibration[["dataset", "model", *columns]].assign(prompt=""), how="left", on=by
    )
    return msp_tables.in_order(table.sort_values("prompt", kind="stable"), params)


def title(name: str) -> str:
    """What a quantity is called at the head of a column."""
    text = msp_tables.QUANTITIES[name]
    return text[:1].upper() + text[1:]


def print_table(table: pd.DataFrame) -> pd.DataFrame:
    named = table.assign(**{axis: table[axis].map(title) for axis in "xy"})
    return latex.printed(named, {
        "dataset": ("dataset", None),
        "x": ("x", None),
        "y": ("y", None),
        "prompt": ("Phrasing", lambda name: name or "both"),
        "r2": ("R2", latex.rounded(2)),
        "slope": ("Slope", latex.rounded(3)),
        "p": ("p", "{:.1e}".format),
        "n": ("n", None),
    })  # fmt: skip


def print_points(table: pd.DataFrame, aurocs: list[str]) -> pd.DataFrame:
    per_cent = latex.rounded(1, 100)
    return latex.printed(table[table["prompt"] == ""], {
        "dataset": ("dataset", None),
        "model": ("LLM", None),
        "size": ("Size (B)", lambda size: "--" if pd.isna(size) else billions(size)),
        "accuracy": ("Accuracy", per_cent),
        **{name: (title(name), per_cent) for name in aurocs},
        "calibration_error": ("Calibration error", latex.rounded(2)),
    })  # fmt: skip


if __name__ == "__main__":
    program(main)
