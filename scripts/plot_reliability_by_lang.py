"""Draw reliability diagrams of one model, a panel per language, a line per condition.

Languages are sorted by resource level, then by name. A line joins points, accuracy against mean
confidence, and a bar is the 95 % interval of a point's accuracy. A point joins neighbouring
equal-width bins that have few questions. The area of a marker grows with the number of its
questions. The numbers at the top are the ECE of the conditions, in the order and colours of the
legend, that at the bottom is the number of questions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.transforms import ScaledTranslation

from multical.errors import program
from multical.figures import style as plots
from multical.figures import tables
from multical.figures.params import ModelConditions

COLUMNS = (3, 6)  # least and most columns of panels, if 7 rows of panels are enough
LOW, HIGH = -0.03, 1.03  # the ends of the axes of a panel, with room for markers at 0 and 1
TICKS = {0.0: "0", 0.5: "0.5", 1.0: "1"}
GAP_RIGHT, GAP_BELOW = 8.0, 19.0  # points between panels; the titles are in the second
LEFT, RIGHT, BELOW, ABOVE = 15.0, 3.0, 13.0, 12.0  # points for tick labels and titles at the edges


class Panels(NamedTuple):
    """All panels in one set of axes, since matplotlib takes a third of a second for ten of them.

    Attributes:
        ax: the axes.
        corners: (panels, 2) what to add to the coordinates in a panel for those in the axes.
        columns: panels beside each other.
    """

    ax: Axes
    corners: np.ndarray
    columns: int

    def write(
        self,
        place: int,
        at: tuple[float, float],
        text: str,
        shift: tuple[float, float],
        **look: Any,
    ) -> None:
        """Write at a point of a panel, shifted by points on paper."""
        figure = self.ax.get_figure()
        assert figure is not None
        moved = ScaledTranslation(shift[0] / 72, shift[1] / 72, figure.dpi_scale_trans)
        x, y = self.corners[place] + at
        self.ax.text(x, y, text, transform=self.ax.transData + moved, **look)

    def lines(self, x: tuple[float, float], y: tuple[float, float], **look: Any) -> None:
        """The same line in every panel, from its first to its last point."""
        line = np.column_stack([x, y])
        self.ax.add_collection(LineCollection(list(self.corners[:, None] + line), **look), False)


def draw(rows: pd.DataFrame, params: ModelConditions) -> Figure:
    conditions = tables.conditions(params)
    languages = tables.languages(rows)[["resource_level", "language"]]
    questions = tables.questions(rows)
    keys = ["condition", "language"]
    points = tables.points(rows, keys)
    sums = rows.groupby(keys, observed=True)[["distance", "n"]].sum()
    eces = sums["distance"] / sums["n"]
    figure, panels = page(len(languages))
    frames(panels)
    for place, (level, language) in enumerate(languages.to_numpy()):
        panels.write(place, (LOW, HIGH), language, (0, 6), fontsize=7, fontweight="bold")
        panels.write(place, (HIGH, HIGH), level, (0, 6), ha="right", fontsize=6, color=plots.GREY)
        panels.write(place, (HIGH, LOW), f"n = {questions[language]}", (-3, 3), ha="right",
                     fontsize=5.5, color=plots.GREY, path_effects=plots.HALO)  # fmt: skip
    order = {language: place for place, language in enumerate(languages["language"])}
    for line, condition in enumerate(conditions):
        name = tables.label(condition)
        diagrams(panels, points[points.index.get_level_values("condition") == name],
                 order, condition)  # fmt: skip
        for language, ece in eces[name].dropna().items():
            panels.write(order[str(language)], (LOW, HIGH), f"{ece:.3f}".lstrip("0"),
                         (4, -4 - 7 * line), va="top", fontsize=5.5,
                         color=plots.condition_style(condition)[0],
                         path_effects=plots.HALO)  # fmt: skip
    for drawn in panels.ax.get_children():
        drawn.set_in_layout(False)  # it lies inside, and its bounds take long to find
    figure.supxlabel("confidence", fontsize=8)
    figure.supylabel("accuracy", fontsize=8)
    entries = plots.condition_handles(conditions, line="-")
    entries.append(plots.bar("95 % Wilson interval", "|"))
    entries.append(plots.handle("calibrated", plots.GREY, line="--"))
    plots.legend(figure, entries, title=params.model)
    return figure


def page(count: int) -> tuple[Figure, Panels]:
    """A page with `count` square panels."""
    least, columns = COLUMNS
    columns = max(least, min(columns, count))
    while math.ceil(count / columns) > 7 / 6 * columns:  # otherwise higher than a page
        columns += 1
    lines = math.ceil(count / columns)
    side = plots.WIDTH / columns
    figure, ax = plots.subplots(figsize=(plots.WIDTH, 0.8 + 1.05 * side * lines))
    unit = (72 * side - GAP_RIGHT) / (HIGH - LOW)  # points
    step = HIGH - LOW + np.array([GAP_RIGHT, GAP_BELOW]) / unit
    places = np.array([(place % columns, -(place // columns)) for place in range(count)])
    first, last = LOW - LEFT / unit, (columns - 1) * step[0] + HIGH + RIGHT / unit
    bottom, top = LOW - BELOW / unit - (lines - 1) * step[1], HIGH + ABOVE / unit
    ax.set(xlim=(first, last), ylim=(bottom, top), autoscale_on=False)
    ax.set_axis_off()
    return figure, Panels(ax, places * step, columns)


def frames(panels: Panels) -> None:
    """The axes of each panel, with ticks and grid, and the line of calibrated answers."""
    ends, colour = (LOW, HIGH), plots.plt.rcParams["axes.edgecolor"]
    grid = {"color": plots.plt.rcParams["grid.color"], "linewidth": 0.5, "zorder": 0.5}
    frame = {"color": colour, "linewidth": 0.6, "zorder": 2.5, "capstyle": "projecting"}
    for tick in TICKS:
        panels.lines((tick, tick), ends, **grid)
        panels.lines(ends, (tick, tick), **grid)
        for marker, at in ((TICKDOWN, (tick, LOW)), (TICKLEFT, (LOW, tick))):
            panels.ax.plot(*(panels.corners + at).T, linestyle="", marker=marker, markersize=2,
                           markeredgewidth=0.6, color=colour, zorder=2.01)  # fmt: skip
    panels.lines((LOW, LOW), ends, **frame)
    panels.lines(ends, (LOW, LOW), **frame)
    panels.lines(ends, ends, color=plots.GREY, linewidth=0.6, linestyle="--", zorder=2)
    count = len(panels.corners)
    for tick, text in TICKS.items():
        for place in range(max(0, count - panels.columns), count):
            panels.write(place, (tick, LOW), text, (0, -5.5), ha="center", va="top", fontsize=6)
        for place in range(0, count, panels.columns):
            panels.write(place, (LOW, tick), text, (-5.5, 0), ha="right", va="center_baseline",
                         fontsize=6)  # fmt: skip


def diagrams(
    panels: Panels, points: pd.DataFrame, order: dict[str, int], condition: float | None
) -> None:
    """Draw the lines of a condition."""
    colour, marker = plots.condition_style(condition)
    languages = points.index.get_level_values("language")
    right, up = panels.corners[[order[language] for language in languages]].T
    n = points.groupby(languages)["n"].transform("sum")
    points = points.assign(confidence=points["confidence"] + right, size=2 + 40 * points["n"] / n)
    points[["accuracy", "low", "high"]] += up[:, None]
    sure, accuracy = points["confidence"], points["accuracy"]
    panels.ax.vlines(sure, points["low"], points["high"], color=colour, linewidth=0.6, alpha=0.35)
    lines = [part[["confidence", "accuracy"]].to_numpy() for _, part in points.groupby(languages)]
    panels.ax.add_collection(
        LineCollection(lines, color=colour, linewidth=0.7, alpha=0.6, zorder=2, capstyle="round",
                       joinstyle="round"), autolim=False,
    )  # fmt: skip
    plots.scatter(panels.ax, sure, accuracy, colour, marker, points["size"])


def main() -> None:
    args = plots.arguments(__doc__, ModelConditions, "reliability_by_lang")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(args.reliability_by_lang, "reliability_by_lang", args.params, conditions)
    rows = tables.select(rows, args.reliability_by_lang, model=args.params.model)
    plots.finish(draw(rows, args.params), args)


if __name__ == "__main__":
    program(main)
