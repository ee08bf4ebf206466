"""Draw mean confidence minus accuracy against accuracy: base model, SFT, SFT with smoothing.

A panel per model, a small point per language and condition. The large points are the means over
all languages but the reference, and arrows lead from one condition to the next. Along a thin
diagonal mean confidence stays the same, so that a change in that direction is one of accuracy
alone. A vertical change is one of confidence alone.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import language_plots, style, tables
from multical.figures.params import ByLanguageAndGuess

COLUMNS = 2  # panels in a row


def draw(wide: pd.DataFrame, params: ByLanguageAndGuess, models: list[str]) -> Figure:
    """`wide` has a row per model, language and condition.

    Its columns are `accuracy`, `gap` and `n`, the number of questions.
    """
    wide = wide.dropna()
    few = tables.few(wide, params.least_questions)
    columns = min(COLUMNS, len(models))
    rows = math.ceil(len(models) / columns)
    share = not any(style.squeezes(wide, name) for name in ("accuracy", "gap"))
    figure, axes = style.panels(rows, columns, 0.9 + 2.9 * rows, sharex=share, sharey=share)
    conditions = tables.conditions(params)
    for place, (ax, model) in enumerate(zip(axes.flat, models, strict=False)):
        panel(ax, wide[wide["model"] == model], params, few)
        ax.set_title(model)
        if place + columns >= len(models):  # the last one of its column
            ax.set_xlabel("accuracy")
            ax.tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("mean confidence \u2212 accuracy")
    for ax in axes.flat[len(models) :]:
        ax.remove()
    for ax, model in zip(axes.flat, models, strict=False):
        for end, name in (("xlim", "accuracy"), ("ylim", "gap")):
            drawn = wide[name] if share else wide.loc[wide["model"] == model, name]
            low, high = drawn.min(), drawn.max()
            margin = 0.05 if share else max(0.1 * (high - low), 0.002)
            ax.set(**{end: (low - margin, high + margin)})
    entries = style.condition_handles(conditions)
    entries.append(style.handle("same confidence", style.GREY, line="--"))
    if params.options:
        entries.append(style.handle("random guess", style.GREY, line=":"))
    style.legend(figure, entries + language_plots.few_handle(few))
    figure.draw_without_rendering()  # computes the layout, which must be final for the names
    figure.set_layout_engine("none")
    for ax, model in zip(axes.flat, models, strict=False):
        part = wide[wide["model"] == model]
        named = np.flatnonzero(part["language"] == params.reference_language)
        x, y = part["accuracy"].to_numpy(), part["gap"].to_numpy()
        language_plots.label_points(ax, x, y, {int(i): params.reference_language for i in named})
    return figure


def panel(ax: Axes, wide: pd.DataFrame, params: ByLanguageAndGuess, few: dict[str, int]) -> None:
    """The languages and the means of one model."""
    ax.axhline(0, color=style.GREY, linewidth=0.8)
    for confidence in np.linspace(0, 1, 6):
        ax.axline((0, confidence), slope=-1, color="0.8", linewidth=0.6, linestyle="--", zorder=0.5)
    if params.options:
        ax.axvline(1 / params.options, color=style.GREY, linestyle=":")
    counted = wide["n"] >= params.least_questions
    others = wide[counted & (wide["language"] != params.reference_language)]
    means = others.groupby("condition", observed=True)[["accuracy", "gap"]].mean()
    for condition in tables.conditions(params):
        colour, marker = style.condition_style(condition)
        part = wide[wide["condition"] == tables.label(condition)]
        for points in language_plots.language_points(
            ax,
            part["accuracy"],
            part["gap"],
            part["language"].isin(list(few)),
            (colour, marker),
            10,
        ):
            points.set_alpha(0.45)
    for start, end in pairwise(means.itertuples(index=False, name=None)):
        ax.annotate(
            "", end, start, arrowprops={"arrowstyle": "-|>", "shrinkA": 2, "shrinkB": 2.5,
            "color": "0.15", "linewidth": 0.9, "mutation_scale": 6},
        )  # fmt: skip
    for condition in tables.conditions(params):
        colour, marker = style.condition_style(condition)
        mean = means[means.index == tables.label(condition)]
        ax.plot(mean["accuracy"], mean["gap"], color=colour, marker=marker, linestyle="",
                markersize=5.5, markeredgecolor="0.15", markeredgewidth=0.7)  # fmt: skip


def main() -> None:
    args = style.arguments(__doc__, ByLanguageAndGuess, "metrics")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(
        args.metrics, "metrics", args.params, conditions, metric=["accuracy", "gap"]
    )
    index = ["model", "language", "condition", "n"]
    wide = rows.pivot(index=index, columns="metric", values="value")
    style.finish(draw(wide.reset_index(), args.params, tables.models(rows)), args)


if __name__ == "__main__":
    program(main)
