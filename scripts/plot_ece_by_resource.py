"""Draw mean ECE over the languages of a resource level, by condition.

A panel per model; every smoothing of the table is shown, with bootstrap intervals.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style as plots
from multical.figures import tables
from multical.figures.params import Panel


def draw(rows: pd.DataFrame, conditions: list[float | None]) -> Figure:
    models, levels = tables.models(rows), tables.levels(rows, "group")
    figure, axes = plt.subplots(
        1, len(models), figsize=(plots.WIDTH, 2.6), sharey=True, squeeze=False
    )
    offsets = np.linspace(-0.3, 0.3, len(conditions))
    for ax, model in zip(axes[0], models, strict=True):
        for offset, condition in zip(offsets, conditions, strict=True):
            part = rows[(rows["model"] == model) & (rows["condition"] == tables.label(condition))]
            at = part["group"].map(levels.index).to_numpy() + offset
            plots.with_intervals(ax, at, part, *plots.condition_style(condition), size=5.5)
        ax.set(title=model, xlabel="resource level", xlim=(-0.55, len(levels) - 0.45))
        ax.set_xticks(range(len(levels)), levels)
    axes[0, 0].set(ylabel="mean ECE over languages", ylim=(0, None))
    styles = [(tables.label(c), *plots.condition_style(c)) for c in conditions]
    plots.legend(figure, [plots.handle(*style) for style in styles])
    return figure


def main() -> None:
    started = time.monotonic()
    args = plots.arguments(__doc__, Panel, "summary")
    rows = tables.chosen(args.summary, "summary", args.params, metric="ece")
    conditions = [None, *tables.smoothings(rows, args.params)]
    rows = rows[rows["group"].isin(tables.LEVELS)]
    plots.finish(draw(rows, conditions), args, started)


if __name__ == "__main__":
    program(main)
