"""Draw reliability diagrams of one model, a panel per language, a line per condition.

Languages are sorted by resource level, then by name. A line joins points, accuracy against mean
confidence, and a bar is the 95 % interval of a point's accuracy. A point joins neighbouring
equal-width bins that have few questions. The area of a marker grows with the number of its
questions. The numbers at the top are the ECE of the conditions, in the order and colours of the
legend, that at the bottom is the number of questions.
"""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style as plots
from multical.figures import tables
from multical.figures.params import ModelConditions

COLUMNS = (3, 6)  # least and most columns of panels, if 7 rows of panels are enough


def draw(rows: pd.DataFrame, params: ModelConditions) -> Figure:
    conditions = tables.conditions(params)
    languages = tables.languages(rows)[["resource_level", "language"]]
    questions = tables.questions(rows)
    keys = ["language", "condition"]
    every = tables.points(rows, keys)
    points = dict(iter(every.groupby(keys, observed=True)))
    sums = rows.groupby(keys, observed=True)[["distance", "n"]].sum()
    eces: dict[object, float] = (sums["distance"] / sums["n"]).to_dict()
    figure, axes = panels(len(languages))
    for ax, (level, language) in zip(axes, languages.to_numpy(), strict=True):
        ax.axline((0, 0), slope=1, color=plots.GREY, linewidth=0.6, linestyle="--")
        ax.set_title(language, loc="left", fontsize=7)
        ax.set_title(level, loc="right", fontsize=6, color=plots.GREY, fontweight="normal")
        ax.annotate(f"n = {questions[language]}", (1, 0), xycoords="axes fraction",
                    xytext=(-3, 3), textcoords="offset points", ha="right", fontsize=5.5,
                    color=plots.GREY, path_effects=plots.HALO)  # fmt: skip
        for place, condition in enumerate(conditions):
            key = (language, tables.label(condition))
            diagram(ax, points.get(key, every[:0]), eces[key], condition, place)
    for ax in axes:
        for drawn in (*ax.texts, *ax.lines, *ax.collections):
            drawn.set_in_layout(False)  # it lies inside, and its bounds take long to find
    figure.supxlabel("confidence", fontsize=8)
    figure.supylabel("accuracy", fontsize=8)
    entries = plots.condition_handles(conditions, line="-")
    entries.append(plots.handle("calibrated", plots.GREY, line="--"))
    plots.legend(figure, entries, title=params.model)
    return figure


def panels(count: int) -> tuple[Figure, list[Axes]]:
    """A page with `count` square panels."""
    least, columns = COLUMNS
    columns = max(least, min(columns, count))
    while math.ceil(count / columns) > 7 / 6 * columns:  # otherwise higher than a page
        columns += 1
    lines = math.ceil(count / columns)
    side = plots.WIDTH / columns
    figure, axes = plots.panels(lines, columns, 0.8 + 1.05 * side * lines, sharex=True, sharey=True)
    axes[0, 0].set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))  # for markers at 0 and 1
    axes[0, 0].set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes[0, 0].set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    used, spare = list(axes.flat[:count]), axes.flat[count:]
    for ax in used:
        ax.grid(axis="x")
        ax.tick_params(labelsize=6, length=2)
    for ax in spare:
        ax.remove()
    for ax in used[len(used) - columns :] if lines > 1 else []:
        ax.tick_params(labelbottom=True)
    return figure, used


def diagram(
    ax: Axes, points: pd.DataFrame, ece: float, condition: float | None, place: int
) -> None:
    """Draw the line of the `place`th condition, and write its ECE."""
    colour, marker = plots.condition_style(condition)
    sure, right = points["confidence"], points["accuracy"]
    ax.vlines(sure, points["low"], points["high"], color=colour, linewidth=0.6, alpha=0.35)
    ax.plot(sure, right, color=colour, linewidth=0.7, alpha=0.6)
    plots.scatter(ax, sure, right, colour, marker, 2 + 40 * points["n"] / points["n"].sum())
    if not math.isnan(ece):
        ax.annotate(f"{ece:.3f}".lstrip("0"), (0, 1), xycoords="axes fraction",
                    xytext=(4, -4 - 7 * place), textcoords="offset points", va="top",
                    fontsize=5.5, color=colour, path_effects=plots.HALO)  # fmt: skip


def main() -> None:
    args = plots.arguments(__doc__, ModelConditions, "reliability_by_lang")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(args.reliability_by_lang, "reliability_by_lang", args.params, conditions)
    rows = tables.select(rows, args.reliability_by_lang, model=args.params.model)
    plots.finish(draw(rows, args.params), args)


if __name__ == "__main__":
    program(main)
