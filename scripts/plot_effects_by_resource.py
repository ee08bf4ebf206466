"""Draw the changes by SFT and by smoothing at each resource level, as mixed models estimate them.

A row of panels per metric, a column per model: the change from the base model to SFT, and from
SFT to SFT with smoothing, with the intervals of the mixed model. A filled marker is a change that
is significant at 5 % with Holm's correction. A note names each mixed model that could not be
fitted or did not converge.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import Conditions


def draw(rows: pd.DataFrame, params: Conditions) -> Figure:
    models, levels = tables.models(rows), tables.levels(rows, "level")
    metrics = [name for name in tables.CHANGED if (rows["metric"] == name).any()]
    height = 0.8 + 1.4 * len(metrics)
    figure, axes = style.panels(len(metrics), len(models), height, sharex=True, sharey="row")
    conditions = tables.conditions(params)[1:]
    for line, metric in zip(axes, metrics, strict=True):
        for ax, model in zip(line, models, strict=True):
            ax.axhline(0, color=style.GREY, linewidth=0.8)
            for place, condition in enumerate(conditions):
                part = rows[(rows["model"] == model) & (rows["metric"] == metric)]
                part = part[part["after"] == tables.label(condition)]
                estimates(ax, part, levels, place, condition)
        line[0].set_ylabel(f"change of\n{tables.CHANGED[metric]}")
    for ax, model in zip(axes[0], models, strict=True):
        ax.set_title(model)
    for ax in axes[-1]:
        style.name_levels(ax, levels, 0.5)
    figure.align_ylabels(axes[:, 0])
    style.change_legend(figure, conditions)
    return figure


def estimates(
    ax: Axes, rows: pd.DataFrame, levels: list[str], place: int, condition: float | None
) -> None:
    """Draw the estimates of one mixed model, the `place`th of its panel, or why it has no test."""
    colour, marker = style.condition_style(condition)
    significant = rows["p_holm"] < tables.ALPHA
    for part, filled in ((rows[significant], True), (rows[~significant], False)):
        at = part["level"].map(levels.index).to_numpy(float) + 0.24 * (place - 0.5)
        style.with_intervals(ax, at, part, colour, marker, filled=filled)
    if rows["p"].isna().all():
        why = "not fitted" if np.isnan(rows["value"]).all() else "did not converge"
        ax.annotate(
            f"{tables.label(condition)}: {why}", (0.98, 0.02 + 0.12 * place), fontsize=6,
            xycoords="axes fraction", ha="right", va="bottom", color=colour,
            path_effects=style.HALO,
        )  # fmt: skip


def main() -> None:
    args = style.arguments(__doc__, Conditions, "mixed_effects")
    rows = tables.compared(args.mixed_effects, "mixed_effects", args.params)
    rows = rows[rows["level"].isin(tables.LEVELS)]
    style.finish(draw(rows, args.params), args)


if __name__ == "__main__":
    program(main)
