"""Draw the results of simulate_coverage.py: coverage of intervals, and level of tests.

A column of panels per number of questions. The upper rows show the share of 95 % intervals that
held the truth (shaded: 90 to 98 %). The lower rows show the share of tests that rejected a true
hypothesis (shaded: up to 7 %), the last one for two calibrated runs of different sharpness. Bars
are 95 % Wilson intervals of the simulation.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style as plots
from multical.figures import tables
from multical.figures.params import Simulated

NAMES = {
    "accuracy": "accuracy",
    "confidence": "confidence",
    "ece": "ECE",
    "rmsce": "RMSCE",
    "debiased_ece2": "debiased ECE2",
    "auroc": "AUROC",
}
#: By kind: nominal value, limits of the shading, limits and label of the x axis, label of a row
LIMITS = {
    "interval": (0.95, 0.90, 0.98, -0.02, 1.02, "intervals that held the truth", "interval of"),
    "test": (0.05, 0.0, 0.07, -0.002, 0.102, "tests that rejected the truth", "test whether"),
    "sharpness": (0.05, 0.0, 0.07, -0.02, 1.02, "tests that rejected the truth", "less sharp:"),
}
#: Colour and marker of each power, in ascending order
STYLES = [("#0072B2", "o"), ("#E69F00", "s"), ("#D55E00", "^"), ("#4D4D4D", "D")]


def draw(rows: pd.DataFrame) -> Figure:
    lines = rows[["kind", "of"]].drop_duplicates().to_numpy().tolist()
    sizes, powers = sorted(rows["questions"].unique()), sorted(rows["power"].unique())
    figure, axes = plots.panels(len(lines), len(sizes), 1.0 + 1.25 * len(lines), sharey="row")
    for line, (kind, of) in zip(axes, lines, strict=True):
        for ax, size in zip(line, sizes, strict=True):
            part = rows[(rows["kind"] == kind) & (rows["of"] == of) & (rows["questions"] == size)]
            panel(ax, part, powers, kind)
        line[0].set_ylabel(f"{LIMITS[kind][-1]}\n{of}", fontsize=7)
    for ax, size in zip(axes[0], sizes, strict=True):
        ax.set_title(f"{size:g} questions, {rows['simulations'].iloc[0]:g} simulations")
    ece = rows[(rows["metric"] == "ece") & (rows["of"] == "one language")]
    truth = ece.groupby("power")["truth"].first()
    entries = [
        plots.handle(f"true ECE {truth[power]:.2f}", *style)
        for power, style in zip(powers, STYLES, strict=False)
    ]
    plots.legend(figure, entries)
    return figure


def panel(ax: Axes, rows: pd.DataFrame, powers: list[float], kind: str) -> None:
    """Draw one kind of interval or test at one number of questions, a line per metric."""
    nominal, low, high, left, right, counted, _ = LIMITS[kind]
    ax.axvspan(low, high, color="0.93", linewidth=0)
    ax.axvline(nominal, color=plots.GREY, linestyle=":")
    metrics = [name for name in NAMES if (rows["metric"] == name).any()]
    for place, (power, (colour, marker)) in enumerate(zip(powers, STYLES, strict=False)):
        part = rows[rows["power"] == power].set_index("metric")
        if part.empty:
            continue  # the sharpness of calibrated runs alone
        part = part.loc[metrics]
        at = np.arange(len(metrics)) + 0.25 * (place - (len(powers) - 1) / 2)
        ax.hlines(at, part["low"], part["high"], color=colour, linewidth=1, alpha=0.7)
        ax.plot(part["share"], at, marker, color=colour, **plots.MARKER)
    ax.set(xlim=(left, right), ylim=(len(metrics) - 0.4, -0.6))
    ax.set_yticks(range(len(metrics)), [NAMES[name] for name in metrics])
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(counted, fontsize=7)


def main() -> None:
    args = plots.arguments(__doc__, Simulated, "coverage")
    plots.finish(draw(tables.read(args.coverage, "coverage")), args)


if __name__ == "__main__":
    program(main)
