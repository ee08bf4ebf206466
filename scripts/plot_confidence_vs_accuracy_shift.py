"""Draw the change of mean confidence against the change of accuracy, SFT less base.

A point per language. A row of panels per model, with a column for SFT and one for SFT with
smoothing. On the diagonal both changed by the same amount. Above it confidence gained more than
accuracy. The languages furthest from the median and the reference language are named.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import language_plots, style, tables
from multical.figures.params import ByLanguage

NAMED = 6  # languages named in a panel, besides the reference


def shifts(rows: pd.DataFrame) -> pd.DataFrame:
    """Changes from the base: a row per model, level, language and condition, metrics as columns."""
    wide = rows.pivot(
        index=["model", "resource_level", "language", "metric"],
        columns="condition",
        values="value",
    )
    # rounded, since the rounding errors of equal means would set the scale of an axis
    change = wide.drop(columns="base").sub(wide["base"], axis=0).round(12)
    return change.stack().unstack("metric").dropna().reset_index()


def draw(
    change: pd.DataFrame, params: ByLanguage, models: list[str], few: dict[str, int]
) -> Figure:
    labels = [tables.label(0.0), tables.label(params.smoothing)]
    share = "row" if any(style.squeezes(change, x) for x in ("accuracy", "confidence")) else True
    figure, axes = style.panels(len(models), 2, 0.8 + 2.6 * len(models), sharex=share, sharey=share)
    levels = tables.levels(change, "resource_level")
    panels = []
    for line, model in zip(axes, models, strict=True):
        for ax, condition in zip(line, labels, strict=True):
            part = change[(change["model"] == model) & (change["condition"] == condition)]
            panels.append((ax, part))
            ax.axline((0, 0), slope=1, color=style.GREY, linewidth=0.8, linestyle="--")
            ax.axhline(0, color=style.GREY, linewidth=0.6)
            ax.axvline(0, color=style.GREY, linewidth=0.6)
            for level in levels:
                rows = part[part["resource_level"] == level]
                language_plots.language_points(
                    ax, rows["accuracy"], rows["confidence"], rows["language"].isin(list(few)),
                    style.LEVEL_STYLE[level],
                )  # fmt: skip
        line[0].set_ylabel(f"{model}\nchange of confidence")
    for top, bottom, condition in zip(axes[0], axes[-1], labels, strict=True):
        top.set_title(condition)
        bottom.set_xlabel("change of accuracy")
    for ax in axes.flat:
        ax.margins(0.1)
        ax.locator_params(nbins=6)
    entries = [style.handle(name, *style.LEVEL_STYLE[name]) for name in levels]
    entries.append(style.handle("equal change", style.GREY, line="--"))
    style.legend(figure, entries + language_plots.few_handle(few))
    figure.draw_without_rendering()  # computes the layout, which must be final for the names
    figure.set_layout_engine("none")
    for ax, part in panels:
        x, y = part["accuracy"].to_numpy(), part["confidence"].to_numpy()
        language_plots.name_outliers(
            ax, x, y, part["language"].tolist(), params.reference_language, NAMED
        )
    return figure


def main() -> None:
    args = style.arguments(__doc__, ByLanguage, "metrics")
    tables.need_tuned(args.params)
    rows = tables.chosen(
        args.metrics, "metrics", args.params, tables.conditions(args.params),
        metric=["accuracy", "confidence"],
    )  # fmt: skip
    few = tables.few(rows, args.params.least_questions)
    style.finish(draw(shifts(rows), args.params, tables.models(rows), few), args)


if __name__ == "__main__":
    program(main)
