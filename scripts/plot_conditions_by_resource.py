"""Draw accuracy, confidence and ECE of every condition, by resource level.

A column of panels per model. From left to right: the base model, then every SFT set of the table
with its smoothings, whichever SFT set is chosen. A line per resource level, with bootstrap
intervals. The thin dashed lines are the base model, the dotted line is a random guess.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import Guess

METRICS = {"accuracy": "accuracy", "confidence": "mean confidence", "ece": "ECE"}
GAP = 0.6  # extra space between SFT sets, in distances between two smoothings

#: x of each condition (SFT set, smoothing). Both are None for the base model.
Places = dict[tuple[str | None, float | None], float]


def conditions(path: str | Path, params: Guess) -> pd.DataFrame:
    """The rows of each SFT set and, for each, of the base model. Adds a column `set`."""
    table = tables.read(path, "summary")
    table = table[table["benchmark"] == params.benchmark]
    seed = table["sft"].notna() if params.seed is None else table["seed"] == params.seed
    names = table.loc[seed, "sft"].unique().tolist() if params.sft is not None else []
    if params.sft not in names:  # null (base models alone), or an error in `chosen`
        names.append(params.sft)
    parts = []
    for name in names:
        params = params.model_copy(update={"sft": name})
        rows = tables.chosen(path, "summary", params, metric=list(METRICS))
        parts.append(rows.assign(set=name))
    rows = pd.concat(parts)
    return rows[rows["group"].isin(tables.LEVELS)]


def draw(rows: pd.DataFrame, params: Guess) -> Figure:
    models, levels = tables.models(rows), tables.levels(rows, "group")
    sharey = style.row_unless_squeezed(rows)
    figure, axes = style.panels(len(METRICS), len(models), 5.6, sharex=True, sharey=sharey)
    swept = rows.dropna(subset=["smoothing"]).groupby("set", sort=False)["smoothing"]
    tuned = [(name, smoothing) for name, part in swept for smoothing in sorted(part.unique())]
    places = style.places([(None, None), *tuned], GAP)
    for line, (metric, name) in zip(axes, METRICS.items(), strict=True):
        for ax, model in zip(line, models, strict=True):
            part = rows[(rows["model"] == model) & (rows["metric"] == metric)]
            for place, level in enumerate(levels):
                shift = 0.16 * (place - (len(levels) - 1) / 2)
                lines(ax, part[part["group"] == level], places, level, shift)
            if metric == "accuracy":
                style.guess_line(ax, params.options)
        line[0].set_ylabel(name)
    for ax in axes[-1]:
        ax.set_ylim(bottom=0)
    for ax, model in zip(axes[0], models, strict=True):
        ax.set_title(model)
    for ax in axes.flat:
        ax.tick_params(axis="x", which="minor", length=0)
        for xs in groups(places).values():
            ax.axvline(xs[0] - (1 + GAP) / 2, color="0.75", linewidth=0.6)
    for ax in axes[-1]:
        names(ax, places, style.WIDTH * 72 * 0.9 / len(models))
        ax.set_xlabel("label smoothing b, by SFT data")
    figure.align_ylabels(axes[:, 0])
    bars = style.bars(rows, params.level)
    style.level_legend(figure, levels, bars, "base", guess=bool(params.options))
    return figure


def lines(ax: Axes, rows: pd.DataFrame, places: Places, level: str, shift: float) -> None:
    """One metric of one model and level: a point for the base, a line for each SFT set."""
    colour, marker = style.LEVEL_STYLE[level]
    base = rows[rows["smoothing"].isna()].iloc[:1]
    ax.axhline(base["value"].iloc[0], color=colour, linestyle="--", linewidth=0.6, alpha=0.6)
    style.with_intervals(ax, [shift], base, colour, marker)
    for name, part in rows.dropna(subset=["smoothing"]).groupby("set", sort=False):
        part = part.sort_values("smoothing")
        at = np.array([places[str(name), smoothing] for smoothing in part["smoothing"]])
        style.with_intervals(ax, at + shift, part, colour, marker, line="-")


def groups(places: Places) -> dict[str, list[float]]:
    """The x of the conditions of each SFT set."""
    xs_by_set: dict[str, list[float]] = {}
    for (name, _), x in places.items():
        if name is not None:
            xs_by_set.setdefault(name, []).append(x)
    return xs_by_set


def names(ax: Axes, places: Places, width: float) -> None:
    """Label the x axis, `width` points wide, with the smoothings and the SFT sets below them."""
    step = width / (max(places.values()) + 1)
    labels = ["base" if smoothing is None else f"{smoothing:g}" for _, smoothing in places]
    upright = step < 3.6 * max(map(len, labels[1:]), default=0)
    ax.set_xticks(list(places.values()), labels, fontsize=6, rotation=90 if upright else 0)
    sets = groups(places)
    middles = {
        textwrap.fill(name, max(4, int(step * (len(xs) + GAP) / 3.7))): float(np.mean(xs))
        for name, xs in sets.items()
    }
    style.name_groups(ax, middles, 25 if upright else 14, fontweight="bold")
    ax.set_xlim(-0.7, max(places.values()) + 0.7)


def main() -> None:
    args = style.arguments(__doc__, Guess, "summary")
    style.finish(draw(conditions(args.summary, args.params), args.params), args)


if __name__ == "__main__":
    program(main)
