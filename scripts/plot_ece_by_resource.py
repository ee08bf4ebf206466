"""Draw mean ECE over the languages of a resource level, by condition.

A panel per model shows the base model and every smoothing of the table, with bootstrap intervals.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import Panel


def draw(rows: pd.DataFrame, conditions: list[float | None], level: float) -> Figure:
    """The figure; `level` is that of the intervals."""
    models, levels = tables.models(rows), tables.levels(rows, "group")
    sharey = not style.squeezes(rows, *style.ENDS, zero=True)
    figure, axes = style.panels(1, len(models), 2.6, sharey=sharey)
    looks = style.condition_styles(conditions)
    offsets = np.linspace(-0.3, 0.3, len(conditions))
    for ax, model in zip(axes[0], models, strict=True):
        for offset, condition in zip(offsets, conditions, strict=True):
            part = rows[(rows["model"] == model) & (rows["condition"] == tables.label(condition))]
            at = part["group"].map(levels.index).to_numpy() + offset
            style.with_intervals(ax, at, part, *looks[condition], size=5.5)
        ax.set_title(model)
        ax.set_ylim(bottom=0)
        style.name_levels(ax, levels)
    axes[0, 0].set_ylabel("mean ECE over languages")
    style.legend(figure, [*style.condition_handles(conditions), *style.bars(rows, level)])
    return figure


def main() -> None:
    args = style.arguments(__doc__, Panel, "summary")
    rows = tables.chosen(args.summary, "summary", args.params, metric="ece")
    conditions = [None, *tables.smoothings(rows, args.params)]
    rows = rows[rows["group"].isin(tables.LEVELS)]
    style.finish(draw(rows, conditions, args.params.level), args)


if __name__ == "__main__":
    program(main)
