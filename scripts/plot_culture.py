"""Draw accuracy, confidence and ECE of culturally sensitive and of agnostic questions.

A column of panels per model. For each resource level and condition (base, SFT, SFT with smoothing)
the culturally sensitive questions are beside the agnostic ones, with bootstrap intervals. The
dotted line is a random guess.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import ConditionsAndGuess

METRICS = {"accuracy": "accuracy", "confidence": "mean confidence", "ece": "ECE"}
CULTURES = {"CS": "culturally sensitive", "CA": "agnostic"}


def draw(rows: pd.DataFrame, params: ConditionsAndGuess) -> Figure:
    models, levels = tables.models(rows), tables.levels(rows, "group")
    conditions = tables.conditions(params)
    sharey = style.row_unless_squeezed(rows)
    figure, axes = style.panels(len(METRICS), len(models), 5.4, sharex=True, sharey=sharey)
    for line, (metric, name) in zip(axes, METRICS.items(), strict=True):
        for ax, model in zip(line, models, strict=True):
            part = rows[(rows["model"] == model) & (rows["metric"] == metric)]
            pairs(ax, part, levels, conditions)
            if metric == "accuracy":
                style.guess_line(ax, params.options)
        line[0].set_ylabel(name)
    for ax in axes[-1]:
        ax.set_ylim(bottom=0)
    for top, bottom, model in zip(axes[0], axes[-1], models, strict=True):
        top.set_title(model)
        style.name_levels(bottom, levels)
    figure.align_ylabels(axes[:, 0])
    entries = [*style.condition_handles(conditions), *style.bars(rows, params.level)]
    entries += [
        style.handle(name, style.GREY, "o", filled=culture == "CS")
        for culture, name in CULTURES.items()
    ]
    if params.options:
        entries.append(style.handle("random guess", style.GREY, line=":"))
    style.legend(figure, entries)
    return figure


def pairs(ax: Axes, rows: pd.DataFrame, levels: list[str], conditions: list[float | None]) -> None:
    """Draw one metric of one model: two points (sensitive, agnostic) per level and condition."""
    for place, condition in enumerate(conditions):
        middle = 0.3 * (place - (len(conditions) - 1) / 2)
        of_condition = rows[rows["condition"] == tables.label(condition)]
        colour, marker = style.condition_style(condition)
        for culture, shift in zip(CULTURES, (-0.05, 0.05), strict=True):
            part = of_condition[of_condition["culture"] == culture]
            at = part["group"].map(levels.index).to_numpy(float) + middle + shift
            style.with_intervals(ax, at, part, colour, marker, filled=culture == "CS")
    for border in np.arange(1, len(levels)) - 0.5:
        ax.axvline(border, color="0.75", linewidth=0.6)


def main() -> None:
    args = style.arguments(__doc__, ConditionsAndGuess, "culture")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(
        args.culture, "culture", args.params, conditions,
        metric=list(METRICS), culture=list(CULTURES),
    )  # fmt: skip
    style.finish(draw(rows[rows["group"].isin(tables.LEVELS)], args.params), args)


if __name__ == "__main__":
    program(main)
