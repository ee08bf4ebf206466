"""Draw ECE, accuracy and confidence against the label smoothing of the SFT.

A row of panels per model, a line per resource level, with bootstrap intervals.
Dashed lines are the base model. The dotted line is a random guess.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import Guess

METRICS = {"ece": "ECE", "accuracy": "accuracy", "confidence": "mean confidence"}


def draw(rows: pd.DataFrame, params: Guess) -> Figure:
    models, levels = tables.models(rows), tables.levels(rows, "group")
    height = 0.9 + 1.7 * len(models)
    sharey = "none" if style.row_unless_squeezed(rows) == "none" else "col"
    figure, axes = style.panels(len(models), len(METRICS), height, sharex=True, sharey=sharey)
    for line, model in zip(axes, models, strict=True):
        for ax, (metric, name) in zip(line, METRICS.items(), strict=True):
            part = rows[(rows["model"] == model) & (rows["metric"] == metric)]
            sweep(ax, part, levels, tables.smoothings(rows, params))
            ax.set_ylabel(name)
            if metric == "accuracy":
                style.guess_line(ax, params.options)
        line[0].set_ylabel(f"{model}\n{METRICS['ece']}")
    figure.align_ylabels(axes)
    for ax in axes[-1]:
        ax.set_xlabel("label smoothing b")
    for ax in axes[:, 0]:
        ax.set_ylim(bottom=0)
    bars = style.bars(rows, params.level)
    style.level_legend(figure, levels, bars, "base", guess=bool(params.options))
    return figure


def sweep(ax: Axes, rows: pd.DataFrame, levels: list[str], swept: list[float]) -> None:
    """Draw one metric of one model, the levels a little apart so that bars do not overlap."""
    step = 0.025 * (max(swept) - min(swept) or 0.1)
    for place, level in enumerate(levels):
        part = rows[rows["group"] == level].sort_values("smoothing")
        tuned, base = part[part["smoothing"].notna()], part[part["smoothing"].isna()]
        colour, marker = style.LEVEL_STYLE[level]
        at = tuned["smoothing"] + step * (place - (len(levels) - 1) / 2)
        style.with_intervals(ax, at, tuned, colour, marker, line="-", size=5)
        ax.axhline(base["value"].iloc[0], color=colour, linestyle="--")
    ax.set_xticks(swept, [f"{value:g}" for value in swept])


def main() -> None:
    args = style.arguments(__doc__, Guess, "summary")
    tables.need_tuned(args.params)
    rows = tables.chosen(args.summary, "summary", args.params, metric=list(METRICS))
    style.finish(draw(rows[rows["group"].isin(tables.LEVELS)], args.params), args)


if __name__ == "__main__":
    program(main)
