"""Draw paper 2's scores with abstention, against the threshold or against the training size.

A column for each confidence. Figures named `score_vs_k...` are against the training size.

A right answer scores 1 and an abstention 0. Each scheme of scoring subtracts its own number of
points for a wrong answer. Figures against the threshold show the test score of the study's split,
with a ringed marker at the threshold that was chosen on the training answers. Very low scores are
cut off. Figures against k, the number of training answers per data set (logarithmic), show the
mean over many splits, our own addition to the study's single split.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from multical.errors import program
from multical.figures import msp_style, msp_tables, outputs, style
from multical.figures.msp_style import Looks
from multical.figures.params import ComparedFigure, Method

#: The lower end of the score axis, unless a chosen threshold scores less
LOWEST = -60
#: The look of a chosen threshold, but for its model's
RINGED: dict[str, Any] = {
    "markersize": 6.5, "markeredgecolor": "black", "markeredgewidth": 1.0, "linestyle": "",
}  # fmt: skip
#: Axis labels of thresholds that are not named after the method
THRESHOLDS = {"entropy": "Negative entropy threshold (nats)"}


def main() -> None:
    args = style.arguments(__doc__, ComparedFigure, "curves", "scores")
    methods = args.params.methods
    looks = msp_style.styles(args.params)
    columns = ["dataset", "model", "method", "scheme"]
    curves = msp_tables.read_table(args.curves, [*columns, "threshold"])
    scores = msp_tables.read_table(args.scores, [*columns, "k", "mean"])
    for name in outputs.names(args):
        by_k = name.startswith("score_vs_k")
        table = scores if by_k else curves
        rows = table[(table["dataset"] == args.params.dataset) & table["method"].isin(methods)]
        figure = (against_k if by_k else against_threshold)(rows, looks, methods)
        figure.suptitle(args.params.title, fontsize=8, fontweight="bold")
        style.finish(figure, args, name)


def panels(
    table: pd.DataFrame, methods: list[Method], sharex: Any
) -> tuple[Figure, Any, list[str]]:
    """A figure with a row of panels per scheme and a column per method, its axes, the schemes."""
    schemes = list(table["scheme"].unique())
    figure, axes = style.subplots(
        len(schemes), len(methods), figsize=(style.WIDTH, 3.2 * len(schemes)),
        sharex=sharex, sharey="row", squeeze=False,
    )  # fmt: skip
    for line, scheme in zip(axes, schemes, strict=True):
        for ax, method in zip(line, methods, strict=True):
            ax.axhline(0, color=style.GREY, linewidth=0.6)
            ax.set_title(f"{scheme.capitalize()} score, {msp_tables.METHOD_NAMES[method]}")
    return figure, axes, schemes


def against_threshold(table: pd.DataFrame, looks: Looks, methods: list[Method]) -> Figure:
    """Score at each threshold, with a ringed marker at the chosen one."""
    figure, axes, schemes = panels(table, methods, "col")
    for line, scheme in zip(axes, schemes, strict=True):
        for ax, method in zip(line, methods, strict=True):
            part = table[(table["scheme"] == scheme) & (table["method"] == method)]
            for place, (model, rows) in enumerate(part.groupby("model", sort=False)):
                look = looks[str(model)]
                every = (7 * place % 40, 45)  # staggered, so that markers do not pile up
                ax.plot(rows["threshold"], rows["score"], markevery=every, **look)
                chosen = rows[rows["chosen"]]
                ax.plot(chosen["threshold"], chosen["score"], zorder=5, **look | RINGED)
        # No threshold far below zero is ever chosen, and showing it would flatten the rest.
        part = table[table["scheme"] == scheme]
        lowest = min(LOWEST, part.loc[part["chosen"], "score"].min())
        line[0].set_ylim(bottom=max(part["score"].min(), lowest) - 4)
        line[0].set_ylabel(f"{scheme.capitalize()} score")
    for ax, method in zip(axes[-1], methods, strict=True):
        ax.set_xlabel(THRESHOLDS.get(method, f"{msp_tables.METHOD_NAMES[method]} threshold"))
        ax.locator_params(axis="x", nbins=6)
    ring = Line2D([], [], label="chosen on labelled\nanswers", marker="o", color="white", **RINGED)
    msp_style.model_legend(figure, looks, table["model"], ring)
    return figure


def against_k(scores: pd.DataFrame, looks: Looks, methods: list[Method]) -> Figure:
    """Mean test score for each number of training answers."""
    numeric = pd.to_numeric(scores["k"], errors="coerce")
    scores = scores.assign(k=numeric)[numeric.notna()].sort_values("k", kind="stable")
    figure, axes, schemes = panels(scores, methods, True)
    for line, scheme in zip(axes, schemes, strict=True):
        for ax, method in zip(line, methods, strict=True):
            part = scores[(scores["scheme"] == scheme) & (scores["method"] == method)]
            for model, look in looks.items():
                rows = part[part["model"] == model]
                ax.plot(rows["k"], rows["mean"], **look)
            ax.set_xscale("log")
        line[0].set_ylabel(f"{scheme.capitalize()} score, mean over splits")
    ticks = [int(k) for k in scores["k"].unique()]
    for ax in axes[-1]:
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("Training answers per data set, k")
    msp_style.model_legend(figure, looks, scores["model"])
    return figure


if __name__ == "__main__":
    program(main)
