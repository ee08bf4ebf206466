"""Draw the ECE of languages against the fertility of the tokenizer: tokens a byte of the options.

A point per language. A row of panels per model, with a column for each condition. r is Spearman's
rank correlation. It has no p-value, since languages are few and share their questions. The
languages furthest from the median and the reference language are named.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import language_plots, style, tables
from multical.figures.params import ByLanguage

KEY = ["model", "condition", "language"]
NAMED = 4  # languages named in a panel, besides the reference


def joined(metrics: str, fertility: str, params: ByLanguage) -> pd.DataFrame:
    """A row per model, condition and language, with its ECE (`value`) and `fertility`."""
    conditions = tables.conditions(params)
    errors = tables.chosen(metrics, "metrics", params, conditions, metric="ece")
    counts = tables.select(
        tables.read(fertility, "fertility"), fertility, benchmark=params.benchmark
    )
    counts = tables.runs(counts, fertility, params, conditions)
    rows = errors.merge(counts[[*KEY, "fertility"]], on=KEY, validate="one_to_one")
    return rows.dropna(subset="value")


def draw(rows: pd.DataFrame, params: ByLanguage) -> Figure:
    models, conditions = tables.models(rows), tables.conditions(params)
    sharey = "row" if style.squeezes(rows, "value") else True
    few = tables.few(rows, params.least_questions)
    figure, axes = style.panels(
        len(models), len(conditions), 0.8 + 2.2 * len(models), sharex="row", sharey=sharey
    )
    levels, panels = tables.levels(rows, "resource_level"), []
    for line, model in zip(axes, models, strict=True):
        for ax, condition in zip(line, conditions, strict=True):
            chosen = (rows["model"] == model) & (rows["condition"] == tables.label(condition))
            part = rows[chosen]
            panels.append((ax, part))
            for level in levels:
                own = part[part["resource_level"] == level]
                language_plots.language_points(
                    ax, own["fertility"], own["value"], own["language"].isin(list(few)),
                    style.LEVEL_STYLE[level],
                )  # fmt: skip
            write_correlation(ax, part)
        line[0].set_ylabel(f"{model}\nECE")
    for top, bottom, condition in zip(axes[0], axes[-1], conditions, strict=True):
        top.set_title(tables.label(condition))
        bottom.set_xlabel("fertility (tokens a byte)")
    for ax in axes.flat:
        ax.margins(0.1, 0.14)
        ax.locator_params(axis="x", nbins=5)
    entries = [style.handle(name, *style.LEVEL_STYLE[name]) for name in levels]
    style.legend(figure, entries + language_plots.few_handle(few))
    figure.draw_without_rendering()  # computes the layout, which must be final for the names
    figure.set_layout_engine("none")
    for ax, part in panels:
        x, y = part["fertility"].to_numpy(), part["value"].to_numpy()
        language_plots.name_outliers(
            ax, x, y, part["language"].tolist(), params.reference_language, NAMED
        )
    return figure


def write_correlation(ax: Axes, part: pd.DataFrame) -> None:
    """Spearman's r in a corner of a panel, if there are three languages or more."""
    if len(part) > 2:
        r = part["fertility"].rank().corr(part["value"].rank())
        text = f"r = {round(r, 2) + 0:.2f}".replace("-", "\N{MINUS SIGN}")
        ax.annotate(
            text, (1, 1), xycoords="axes fraction", xytext=(-2, -1),
            textcoords="offset points", ha="right", va="top", color=style.GREY,
            path_effects=style.HALO,
        )  # fmt: skip


def main() -> None:
    args = style.arguments(__doc__, ByLanguage, "metrics", "fertility")
    style.finish(draw(joined(args.metrics, args.fertility, args.params), args.params), args)


if __name__ == "__main__":
    program(main)
