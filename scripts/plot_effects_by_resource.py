"""Draw the changes by SFT and by smoothing at each resource level.

A row of panels per metric, a column per model: the mean change from the base model to SFT, and from
SFT to SFT with smoothing, with intervals for other questions and other languages. A filled marker
is a change that is significant at 5 % with Holm's correction. A level with one language has no
interval.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import Conditions


def draw(rows: pd.DataFrame, params: Conditions) -> Figure:
    models, levels = tables.models(rows), tables.levels(rows, "group")
    metrics = [name for name in tables.CHANGED if (rows["metric"] == name).any()]
    height = 0.8 + 1.4 * len(metrics)
    sharey = style.row_unless_squeezed(rows)
    figure, axes = style.panels(len(metrics), len(models), height, sharex=True, sharey=sharey)
    conditions = tables.conditions(params)[1:]
    for line, metric in zip(axes, metrics, strict=True):
        for ax, model in zip(line, models, strict=True):
            ax.axhline(0, color=style.GREY, linewidth=0.8)
            for place, condition in enumerate(conditions):
                part = rows[(rows["model"] == model) & (rows["metric"] == metric)]
                part = part[part["after"] == tables.label(condition)]
                colour, marker = style.condition_style(condition)
                significant = part["p_all_holm"] < tables.ALPHA
                for some, filled in ((part[significant], True), (part[~significant], False)):
                    at = some["group"].map(levels.index).to_numpy(float) + 0.24 * (place - 0.5)
                    style.with_intervals(ax, at, some, colour, marker, filled=filled)
        line[0].set_ylabel("change of\n" + tables.CHANGED[metric].replace(", ", ",\n"))
    for ax, model in zip(axes[0], models, strict=True):
        ax.set_title(model)
    for ax in axes[-1]:
        style.name_levels(ax, levels, 0.5)
    figure.align_ylabels(axes[:, 0])
    kind = "interval (questions, languages)"
    style.change_legend(figure, conditions, style.bars(rows, params.level, kind))
    return figure


def main() -> None:
    args = style.arguments(__doc__, Conditions, "effects_over_languages")
    rows = tables.compared(args.effects_over_languages, "effects_over_languages", args.params)
    rows = rows[rows["group"].isin(tables.LEVELS)].drop(columns=["ci_low", "ci_high"])
    rows = rows.rename(columns={"low_all": "ci_low", "high_all": "ci_high"})
    style.finish(draw(rows, args.params), args)


if __name__ == "__main__":
    program(main)
