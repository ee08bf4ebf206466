"""Draw mean ECE after recalibration that is fitted on one language, on several, or on each alone.

A row of panels per model, a column per resource level. From left to right: the unchanged readout,
then each method, by the languages that it was fitted on. The conditions are base, SFT, and SFT with
smoothing, with bootstrap intervals. The thin lines are the conditions without recalibration.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import ByLanguage
from multical.labels import languages_of

GAP = 0.7  # extra space between methods, in distances between two fits

#: x of each method and fit
Places = dict[tuple[str, str], float]


def draw(rows: pd.DataFrame, params: ByLanguage) -> Figure:
    models, levels = tables.models(rows), tables.levels(rows, "group")
    conditions = tables.conditions(params)
    fitted = rows[["method", "fit"]].drop_duplicates()
    order = fitted["method"].map(list(tables.METHODS).index)
    places = style.places(fitted.iloc[order.argsort(kind="stable")].to_numpy().tolist(), GAP)
    height = 1.3 + 1.8 * len(models)
    sharey = "row" if style.squeezes(rows, *style.ENDS, zero=True) else True
    figure, axes = style.panels(len(models), len(levels), height, sharex=True, sharey=sharey)
    for line, model in zip(axes, models, strict=True):
        for ax, level in zip(line, levels, strict=True):
            part = rows[(rows["model"] == model) & (rows["group"] == level)]
            panel(ax, part, conditions, places)
        line[0].set_ylabel(f"{model}\nmean ECE")
    for ax, level in zip(axes[0], levels, strict=True):
        ax.set_title(languages_of(level))
    for ax in axes[-1]:
        names(ax, places, params.reference_language)
    for ax in axes[:, 0]:
        ax.set_ylim(bottom=0)
    axes[0, 0].set_xlim(-0.8, max(places.values()) + 0.8)
    style.legend(figure, [*style.condition_handles(conditions), *style.bars(rows, params.level)])
    return figure


def panel(ax: Axes, rows: pd.DataFrame, conditions: list[float | None], places: Places) -> None:
    """Draw the conditions of one model and resource level beside each other."""
    for place, condition in enumerate(conditions):
        part = rows[rows["condition"] == tables.label(condition)]
        colour, marker = style.condition_style(condition)
        keys = part[["method", "fit"]].itertuples(index=False, name=None)
        shift = 0.25 * (place - (len(conditions) - 1) / 2)
        at = [places[key] + shift for key in keys]
        style.with_intervals(ax, at, part, colour, marker, size=3.5)
        plain = part.loc[part["method"] == "none", "value"].iloc[0]
        ax.axhline(plain, color=colour, linewidth=0.5, alpha=0.5)


def names(ax: Axes, places: Places, reference: str) -> None:
    """Label the x axis with the fits, and with the methods below them."""
    labels = {"none": "", "reference": reference, "high": "high", "own": "own"}
    ax.set_xticks(
        list(places.values()), [labels[fit] for _, fit in places], rotation=90, fontsize=6.5
    )
    middles = {}
    for method, name in tables.METHODS.items():
        xs = [x for key, x in places.items() if key[0] == method]
        if xs:
            middles[name] = sum(xs) / len(xs)
    style.name_groups(ax, middles, 26)
    ax.set_xlabel("method, and what it is fitted on")


def main() -> None:
    args = style.arguments(__doc__, ByLanguage, "recalibration")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(args.recalibration, "recalibration", args.params, conditions, metric="ece")
    rows = rows[rows["group"].isin(tables.LEVELS)]
    style.finish(draw(rows, args.params), args)


if __name__ == "__main__":
    program(main)
