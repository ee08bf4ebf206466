"""Draw the results of simulate_coverage.py and simulate_tests.py.

Numbers are percentages. Of intervals (nominal 95), the least share over the simulated calibration
errors and correlations that held the truth. Of tests (nominal 5), the largest share that rejected a
true hypothesis. Grey is as it should be, 92 to 98 and at most 7; blue is too wide or too careful;
orange and red are too narrow or too bold. The last panel has the other procedures, with 95 % Wilson
intervals of the simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import Simulated

NAMES = {
    "accuracy": "accuracy",
    "confidence": "confidence",
    "gap": "gap",
    "ece": "ECE",
    "ece_equal_mass": "ECE (equal mass)",
    "rmsce": "RMSCE",
    "debiased_ece2": "debiased ECE2",
    "smece": "smECE",
    "resolution": "resolution",
    "brier": "Brier",
    "nll": "NLL",
    "entropy": "entropy",
    "auroc": "AUROC",
    "aurc": "AURC",
    "augrc": "AUGRC",
}
#: The tests of a change, by the name of their column
TESTS = {
    "mean changes": "changes",
    "mean changes in other languages too": "other\nlanguages",
    "mean rises": "rises",
    "mean falls": "falls",
    "any language changes": "any\nlanguage",
}
SIZE = ["languages", "questions"]
#: Lowest and highest percentage of a colour
INTERVALS = [(0, 85, "#F4A582"), (85, 92, "#FDDBC7"), (92, 98, "0.93"), (98, 101, "#D1E5F0")]
LEVELS = [(-1, 2, "#D1E5F0"), (2, 7.0001, "0.93"), (7.0001, 10, "#FDDBC7"), (10, 101, "#F4A582")]


def draw(rows: pd.DataFrame, procedures: pd.DataFrame) -> Figure:
    heights = [5.5, 0.5 + 0.1 * len(procedures)]
    figure = plt.figure(FigureClass=style.Page, figsize=(style.WIDTH, sum(heights)))
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    upper, lower = parts
    axes = upper.subplots(2, 2, height_ratios=[13, 9]).flat
    calibrated, blunt = rows[rows["sharpness"] == 1], rows[rows["sharpness"] < 1]
    single = calibrated["of"] == "one language"
    level = single & (calibrated["languages"] == 1) | (calibrated["of"] == "mean over languages")
    change = calibrated["of"] == "change of the mean"
    tests = calibrated[calibrated["kind"] == "test"]
    tests = tests.assign(test=pd.Categorical(tests["of"].map(TESTS), list(TESTS.values())))
    moved = blunt[blunt["of"].isin(["mean rises", "mean falls"])]
    panel(axes[0], "Intervals of a level", worst(calibrated[level], SIZE, "min"), INTERVALS)
    panel(axes[1], "Intervals of a change", worst(calibrated[change], SIZE, "min"), INTERVALS)
    panel(axes[2], "Tests of a change", worst(tests, ["test"], "max"), LEVELS)
    panel(axes[3], "One-sided tests if sharpness falls", worst(moved, SIZE, "max"), LEVELS)
    title = "Other procedures: % of intervals that missed the truth, of tests that rejected it"
    lower.suptitle(title, x=0.01, ha="left", fontsize=8, fontweight="bold")
    listed(lower.subplots(), procedures)
    return figure


def worst(rows: pd.DataFrame, columns: Sequence[str], which: Literal["min", "max"]) -> pd.DataFrame:
    """The least or largest percentage of each metric, a column for each value of `columns`."""
    table = rows.pivot_table(
        index="metric", columns=list(columns), values="share", aggfunc=which, observed=True
    )
    return 100 * table.reindex([name for name in NAMES if name in table.index])


def panel(
    ax: Axes, title: str, table: pd.DataFrame, colours: Sequence[tuple[float, float, str]]
) -> None:
    """Draw a table with coloured cells. Columns of two levels have two lines of names."""
    ax.set_title(title, loc="left", fontsize=8, pad=6 if table.columns.nlevels < 2 else 14)
    values = table.to_numpy(float)
    for (line, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        colour = next(shade for low, high, shade in colours if low <= round(value, 3) < high)
        ax.add_patch(plt.Rectangle((column - 0.5, line - 0.5), 1, 1, color=colour, linewidth=0))
        ax.text(column, line, f"{value:.0f}", ha="center", va="center", fontsize=6.5)
    ax.set(xlim=(-0.5, values.shape[1] - 0.5), ylim=(len(values) - 0.5, -0.5))
    ax.set_yticks(range(len(values)), [NAMES[name] for name in table.index], fontsize=7)
    names = [key if isinstance(key, str) else f"{key[1]:g}" for key in table.columns]
    names = [name.replace("000", "k") for name in names]
    ax.set_xticks(range(len(names)), names, fontsize=6.5)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if table.columns.nlevels < 2:
        return
    ax.set_xlabel("questions", fontsize=7, labelpad=1)
    firsts = table.columns.get_level_values(0)
    for first in firsts.unique():
        places = np.flatnonzero(firsts == first)
        name = f"{first:g} language{'s' * (first > 1)}"
        ax.annotate(name, (places.mean(), -0.5), xytext=(0, 2), textcoords="offset points",
                    ha="center", fontsize=6.5, color=style.GREY, annotation_clip=False)  # fmt: skip
        if places[0]:
            ax.axvline(places[0] - 0.5, color="white", linewidth=2)


def listed(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the procedures, a line for each scenario."""
    rows = rows.sort_values(["kind", "procedure"], kind="stable").reset_index(drop=True)
    missed = rows["kind"] == "interval"
    share, low, high = (100 * rows[name] for name in ("share", "low", "high"))
    share, low, high = (x.where(~missed, 100 - x) for x in (share, low, high))
    ax.axvspan(2, 7, color="0.93", linewidth=0)
    ax.axvline(5, color=style.GREY, linestyle=":")
    for kind, (colour, marker) in {"interval": ("#0072B2", "o"), "test": ("#D55E00", "s")}.items():
        at = np.flatnonzero(rows["kind"] == kind)
        ax.hlines(at, low[at], high[at], color=colour, linewidth=1, alpha=0.7)
        ax.plot(share[at], at, marker, color=colour, **style.MARKER, label=kind)
    ax.set_yticks(range(len(rows)), rows["procedure"] + ": " + rows["scenario"], fontsize=5.5)
    ax.set(xlim=(-0.3, max(12.0, float(share.max()) + 1)), ylim=(len(rows) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    kinds, _ = ax.get_legend_handles_labels()
    handles = [*kinds, style.bar("95 % Wilson interval", "_")]
    ax.legend(handles=handles, fontsize=7, loc="lower right")


def main() -> None:
    args = style.arguments(__doc__, Simulated, "coverage", "procedures")
    rows, procedures = (
        tables.read(getattr(args, name), name) for name in ("coverage", "procedures")
    )
    style.finish(draw(rows, procedures), args)


if __name__ == "__main__":
    program(main)
