"""Draw reliability diagrams by condition and resource level, with the bin counts.

A row of panels per model, a column per condition (base, SFT, SFT with smoothing), a line per
resource level. The upper panel shows accuracy against mean confidence of points, with a band of
their 95 % intervals. A point joins neighbouring equal-width bins that have few questions. The lower
panel shows the number of questions in each bin. The area of a marker grows with the number of its
questions. The dotted line is a random guess.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import ConditionsAndGuess


def draw(rows: pd.DataFrame, params: ConditionsAndGuess) -> Figure:
    models, levels = tables.models(rows), tables.levels(rows, "group")
    conditions = [tables.label(c) for c in tables.conditions(params)]
    width = style.WIDTH * (1 if len(conditions) > 1 else 0.65)
    figure, axes = style.subplots(
        2 * len(models), len(conditions), figsize=(width, 0.6 + 3.0 * len(models)), sharex=True,
        sharey="row", squeeze=False, height_ratios=[3.2, 1] * len(models),
    )  # fmt: skip
    for place, model in enumerate(models):
        for column, condition in enumerate(conditions):
            upper, lower = axes[2 * place : 2 * place + 2, column]
            part = rows[(rows["model"] == model) & (rows["condition"] == condition)]
            upper.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))  # for markers at 0 and 1
            upper.axline((0, 0), slope=1, color=style.GREY, linewidth=0.8, linestyle="--")
            style.guess_line(upper, params.options)
            for level in levels:
                diagram(upper, lower, part[part["group"] == level], level)
        axes[2 * place, 0].set_ylabel(f"{model}\naccuracy")
        axes[2 * place + 1, 0].set_ylabel("questions")
    for top, bottom, condition in zip(axes[0], axes[-1], conditions, strict=True):
        top.set_title(condition)
        bottom.set_xlabel("confidence")
    axes[-1, 0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    figure.align_ylabels(axes[:, 0])
    band = Patch(color=style.GREY, alpha=0.25, linewidth=0, label="95 % Wilson interval")
    style.level_legend(figure, levels, [band], "calibrated", guess=bool(params.options))
    return figure


def diagram(upper: Axes, lower: Axes, bins: pd.DataFrame, level: str) -> None:
    """Draw one resource level: its points and their band above, number of questions below."""
    bins = bins.sort_values("bin")
    colour, marker = style.LEVEL_STYLE[level]
    edges = np.append(bins["low"], bins["high"].iloc[-1])
    lower.stairs(bins["n"], edges, color=colour, linewidth=1.0)
    points = tables.points(bins)
    sure, right = points["confidence"], points["accuracy"]
    upper.fill_between(sure, points["low"], points["high"], color=colour, alpha=0.17, linewidth=0)
    if len(points) == 1:  # a band without width
        upper.vlines(sure, points["low"], points["high"], color=colour, linewidth=0.8, alpha=0.5)
    upper.plot(sure, right, color=colour, linewidth=0.8, alpha=0.7)
    size = 4 + 60 * points["n"] / points["n"].sum()
    style.scatter(upper, sure, right, colour, marker, size).set_zorder(3)


def main() -> None:
    args = style.arguments(__doc__, ConditionsAndGuess, "reliability")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(args.reliability, "reliability", args.params, conditions)
    rows = rows[rows["group"].isin(tables.LEVELS)]
    style.finish(draw(rows, args.params), args)


if __name__ == "__main__":
    program(main)
