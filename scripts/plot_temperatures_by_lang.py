"""Draw the temperature of temperature scaling by language: base model, SFT, SFT with smoothing.

One row of panels per model, languages grouped by resource level, with bootstrap intervals on a
log axis. The dotted line is T = 1, at which nothing is to be changed. The thin lines are the
temperatures of a fit on all high-resource languages together.
"""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

from multical.errors import program
from multical.figures import language_plots, style, tables
from multical.figures.params import NamedByLanguage

#: Ticks of an axis, times the powers of 10, by how many times its end is its start at most
TICKS = {5: (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), 200: (1, 2, 5), math.inf: (1, 3)}


def draw(rows: pd.DataFrame, params: NamedByLanguage) -> Figure:
    own, high = (rows[rows["fit"] == fit] for fit in ("own", "high"))
    figure = language_plots.by_language(own, params, "temperature T", (1, "T = 1"))
    for ax, model in zip(figure.axes, tables.models(rows), strict=True):
        ax.set_yscale("log")
        bottom, top = ax.get_ylim()
        ticks = next(ticks for most, ticks in TICKS.items() if top / bottom <= most)
        ax.yaxis.set_major_locator(LogLocator(subs=ticks))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        for condition in tables.conditions(params):
            label = tables.label(condition)
            for pooled in high[(high["model"] == model) & (high["condition"] == label)]["value"]:
                colour, _ = style.condition_style(condition)
                ax.axhline(pooled, color=colour, linewidth=0.5, alpha=0.5)
    return figure


def main() -> None:
    args = style.arguments(__doc__, NamedByLanguage, "temperatures")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(args.temperatures, "temperatures", args.params, conditions)
    style.finish(draw(rows, args.params), args)


if __name__ == "__main__":
    program(main)
