"""What figures with languages share: an axis of them, points for them, and their names.

Languages are called by their codes, in full only where the config asks for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multical.figures import style, tables
from multical.figures.params import NamedByLanguage


def on_axis(languages: Iterable[str], few: dict[str, int], named: bool) -> dict[str, str]:
    """What an axis says of languages, by their codes.

    That is the code, with the English name before it if `named`, and with the number of questions
    where these are few.
    """
    shown = {code: spelt(code) if named else code for code in languages}
    return {code: f"{name} ({few[code]})" if code in few else name for code, name in shown.items()}


def spelt(code: str) -> str:
    """The English name of a language in CLDR, and its code; the code alone if it has none."""
    from multical.figures.language_names import language  # here: babel, which most figures need not

    name = language(code)
    return code if name == code else f"{name} ({code})"


def by_language(
    rows: pd.DataFrame, params: NamedByLanguage, ylabel: str, line: tuple[float, str] | None = None
) -> Figure:
    """A row of panels per model: `value` of each language, grouped by resource level.

    `rows` has one metric, and a column `condition` as `tables.runs` adds it. The reference language
    of `params` is in bold, and languages with few questions have their number beside their name.
    `line` is a value to draw as a dotted line, and its name; without one, axes start at 0.
    """
    languages = tables.languages(rows)
    x = dict(zip(languages["language"], languages["place"], strict=True))
    models = tables.models(rows)
    zero = line is None
    sharey = not style.squeezes(rows, *style.ENDS, zero=zero)
    fig, axes = style.panels(len(models), 1, 0.8 + 1.75 * len(models), sharex=True, sharey=sharey)
    width = fig.get_size_inches()[0] * 72 * 0.9 / (max(x.values()) + 1)  # points per language
    conditions = tables.conditions(params)
    middle = (len(conditions) - 1) / 2
    for ax, model in zip(axes[:, 0], models, strict=True):
        for place, condition in enumerate(conditions):
            part = rows[(rows["model"] == model) & (rows["condition"] == tables.label(condition))]
            at = part["language"].map(x).to_numpy(float) + 0.27 * (place - middle) * min(
                1, 20 / width
            )
            style.with_intervals(
                ax, at, part, *style.condition_style(condition), size=min(4, 0.1 * width + 2)
            )
        ax.set(title=model, ylabel=ylabel)
        ax.margins(y=0.14)  # room for the names of the levels
        if line is not None:
            ax.axhline(line[0], color=style.GREY, linestyle=":")
        for first in languages.drop_duplicates("resource_level")["place"].iloc[1:]:
            ax.axvline(first - 1, color=style.GREY, linewidth=0.6)
    for level, part in languages.groupby("resource_level", sort=False):
        axes[0, 0].annotate(
            level, (part["place"].mean(), 1), xycoords=("data", "axes fraction"), xytext=(0, -1),
            textcoords="offset points", ha="center", va="top", fontsize=7.5,
            color=style.GREY, fontstyle="italic", path_effects=style.HALO,
        )  # fmt: skip
    if zero:
        for ax in axes[:, 0]:
            ax.set_ylim(bottom=0)
    named = on_axis(x, tables.few(rows, params.least_questions), params.language_names)
    at_name = dict(zip(named.values(), x.values(), strict=True))
    _language_names(axes[-1, 0], at_name, named.get(params.reference_language, ""), width < 14)
    xlabel = "language, by resource level" + _number(tables.questions(rows))
    axes[-1, 0].set(xlim=(-0.8, max(x.values()) + 0.8), xlabel=xlabel)
    dotted = [style.handle(line[1], style.GREY, line=":")] if line is not None else []
    style.legend(
        fig, [*style.condition_handles(conditions), *style.bars(rows, params.level), *dotted]
    )
    return fig


def _number(questions: dict[str, int]) -> str:
    """How many questions languages have, in brackets."""
    if not questions:
        return ""
    low, high = min(questions.values()), max(questions.values())
    return f" ({high} questions each)" if low == high else f" ({low} to {high} questions each)"


def _language_names(ax: Axes, x: dict[str, float], bold: str, crowded: bool) -> None:
    """Label the x axis with the languages.

    Long tags are upright. Short tags are in two staggered rows if the axis is crowded.
    """
    upright = max(map(len, x)) > 3
    names, stagger = list(x), crowded and not upright
    ax.set_xticks([x[name] for name in names[:: 1 + stagger]], names[:: 1 + stagger])
    if stagger:
        ax.set_xticks([x[name] for name in names[1::2]], names[1::2], minor=True)
        ax.tick_params(axis="x", which="minor", pad=10)
    for text in [*ax.get_xticklabels(), *ax.get_xticklabels(minor=True)]:
        text.set(fontsize=6.5, rotation=90 if upright else 0)
        if text.get_text() == bold:
            text.set_fontweight("bold")


def label_points(ax: Axes, x: np.ndarray, y: np.ndarray, names: dict[int, str]) -> None:
    """Write `names` (by index of the point) beside points, where each hides the fewest others.

    The layout of the figure must be final.
    """
    scale = ax.figure.dpi / 72
    points = ax.transData.transform(np.column_stack([x, y])) / scale  # in points on paper
    frame = ax.bbox.get_points() / scale
    taken: list[tuple[float, float, float, float]] = []
    turns = [(gap, turn) for gap in (3.0, 9.0, 15.0) for turn in range(8)]
    for index, name in names.items():
        half = np.array([2.1 * len(name) + 0.5, 3.2])
        others = np.delete(points, index, axis=0)
        best, far, least = (0.0, 0.0), False, math.inf
        for gap, turn in turns:
            angle = turn * math.pi / 4
            shift = (gap + half) * (math.cos(angle), math.sin(angle))
            low, high = points[index] + shift - half, points[index] + shift + half
            hits = ((others > low - 4) & (others < high + 4)).all(axis=1).sum()
            hits += 10 * sum(
                low[0] < right and high[0] > left and low[1] < top and high[1] > bottom
                for left, bottom, right, top in taken
            )
            hits += 10 * bool((low < frame[0]).any() or (high > frame[1]).any())
            if hits < least:
                best, far, least = (float(shift[0]), float(shift[1])), gap > 3, float(hits)
        centre = points[index] + best
        taken.append((*(centre - half), *(centre + half)))
        ax.annotate(
            name, (x[index], y[index]), xytext=best, textcoords="offset points", fontsize=6.5,
            ha="center", va="center", path_effects=style.HALO,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": style.GREY} if far else None,
        )  # fmt: skip


def name_outliers(
    ax: Axes, x: np.ndarray, y: np.ndarray, languages: Sequence[str], reference: str, count: int
) -> None:
    """Name the `count` languages furthest from the median, and the reference language."""
    distance = np.hypot(x - np.median(x), y - np.median(y))
    far = [int(i) for i in np.argsort(-distance, kind="stable")[:count]]
    far += [i for i, name in enumerate(languages) if name == reference and i not in far]
    label_points(ax, x, y, {i: languages[i] for i in far})


def language_points(
    ax: Axes, x: pd.Series, y: pd.Series, few: pd.Series, look: tuple[str, str], size: float = 14
) -> list[PathCollection]:
    """A point for each language, open for those with few questions (true in `few`)."""
    colour, marker = look
    drawn = [style.scatter(ax, x[~few], y[~few], colour, marker, size)]
    if few.any():
        edge: dict[str, Any] = {"facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
        drawn.append(ax.scatter(x[few], y[few], s=size, marker=marker, **edge))
    return drawn


def few_handle(few: dict[str, int]) -> list[Line2D]:
    """The entry of a style.legend for the open points of `language_points`, if there are any."""
    return [style.handle("few questions", style.GREY, "o", filled=False)] if few else []
