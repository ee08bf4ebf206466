"""What the figures of paper 2 share: a look for each model, the legend, and a scatter plot.

A model has the same colour, line and marker in every figure. Colours alone cannot tell fifteen
lines apart. So grey and six colours of Okabe and Ito's palette are drawn solid, dashed and dotted,
and each of fifteen models has its own marker.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import cycle, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multical.figures import style
from multical.figures.params import Answers
from multical.metrics.lines import LEAST, least_squares

Floats = npt.NDArray[np.float64]
#: Line properties of each model, by the model's name
Looks = dict[str, dict[str, Any]]
COLOURS = ("#666666", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
#: Fifteen markers and seven colours have no common factor, so a pair of both repeats late. The
#: star is (5, 1, 0), since "*" is so thin that it looks smaller than the others.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", (5, 1, 0), "d", "8", (3, 1, 0))
POINT = {"linestyle": "", "markersize": 6.5}  # for a point per model, not a line
#: The line of the AUROC of a guess
GUESS: dict[str, Any] = {
    "color": style.GREY, "linewidth": 0.6, "linestyle": ":", "label": "AUROC of a guess",
}  # fmt: skip
#: Height of one line of the legend, in points
ENTRY = 12.75


def styles(params: Answers) -> Looks:
    """Line properties of each model, by the model's name in the study."""
    names = list(params.names.values())
    lines = (line for line in cycle(LINES) for _ in COLOURS)
    looks = zip(cycle(COLOURS), lines, cycle(MARKERS), strict=False)
    return {
        name: {
            "color": colour,
            "linestyle": line,
            "marker": marker,
            "markersize": 3.8,
            "markeredgecolor": "white",
            "markeredgewidth": 0.3,
        }
        for name, (colour, line, marker) in zip(names, islice(looks, len(names)), strict=True)
    }


def model_legend(
    figure: Figure, looks: Looks, models: Iterable[str], *more: Line2D, lines: bool = True
) -> None:
    """The legend of `models`, and of `more`, right of a figure, in as many columns as it needs."""
    present = set(models)
    points = {} if lines else POINT
    handles = [
        Line2D([], [], label=name, **look | points)
        for name, look in looks.items()
        if name in present
    ]
    handles += more
    fitting = int(72 * figure.get_figheight() / ENTRY)
    figure.legend(
        handles=handles,
        loc="outside right center",
        handlelength=3.2 if lines else 1.0,
        labelspacing=0.7,
        ncols=max(1, math.ceil(len(handles) / fitting)),
    )


def fitted_scatter(ax: Axes, points: pd.DataFrame, x: str, y: str, looks: Looks) -> None:
    """A point per model, the least squares line of the points, and its R2 and p in the corner.

    The points carry no names, since models lie close together on some data sets.
    """
    known = points.dropna(subset=[x, y])
    xs, ys = known[x].to_numpy(float), known[y].to_numpy(float)
    line = least_squares(xs, ys)
    if not np.isnan(line.r):
        ends = np.array([xs.min(), xs.max()])
        ax.plot(ends, line.intercept + line.slope * ends, color=style.GREY, linewidth=0.9, zorder=1)
    for model, at, height in zip(known["model"], xs, ys, strict=True):
        ax.plot(at, height, **looks[model] | POINT)
    ax.margins(0.08)
    note = f"no line: fewer than\n{LEAST} different values"
    if not np.isnan(line.r):
        note = f"$R^2$ = {line.r**2:.2f}\n$p$ = {line.p:.2g}"
    across, up, look = _free_corner(ax, xs, ys)
    ax.text(across, up, note, transform=ax.transAxes, fontsize=7, color=style.GREY, **look)


def _free_corner(ax: Axes, xs: Floats, ys: Floats) -> tuple[float, float, dict[str, Any]]:
    """The place and alignment of a note: the first corner without points, from the upper left."""
    limits = np.array([ax.get_xlim(), ax.get_ylim()])
    at = (np.column_stack([xs, ys]) - limits[:, 0]) / np.ptp(limits, axis=1)  # parts of the axes
    for right, bottom in ((0, 0), (1, 0), (1, 1), (0, 1)):
        away = np.abs(at - (right, 1 - bottom))
        if not (away < (0.25, 0.18)).all(axis=1).any():
            break
    else:
        right = bottom = 0
    look = {"ha": "right" if right else "left", "va": "bottom" if bottom else "top"}
    return (0.97 if right else 0.03), (0.03 if bottom else 0.97), look
