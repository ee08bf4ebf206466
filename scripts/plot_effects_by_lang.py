"""Draw a forest plot of the changes by SFT and by smoothing in each language, for one model.

A panel per metric, a line per language, by resource level: the change from the base model to
SFT, and from SFT to SFT with smoothing, with bootstrap intervals. A filled marker is a change
that is significant at 5 % with Holm's correction for the languages. With several seeds, the thin
bar is the standard deviation between them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import language_plots, style, tables
from multical.figures.params import ModelByLanguage


def draw(rows: pd.DataFrame, params: ModelByLanguage) -> Figure:
    languages = tables.languages(rows)
    y = dict(zip(languages["language"], languages["place"], strict=True))
    metrics = [name for name in tables.CHANGED if (rows["metric"] == name).any()]
    height = 1.1 + min(0.15 * (max(y.values()) + 1), 8.5)  # not higher than a page
    figure, axes = style.panels(1, len(metrics), height, sharey=True)
    conditions = tables.conditions(params)[1:]
    for ax, metric in zip(axes[0], metrics, strict=True):
        ax.axvline(0, color=style.GREY, linewidth=0.8)
        for place, condition in enumerate(conditions):
            part = rows[(rows["metric"] == metric) & (rows["after"] == tables.label(condition))]
            at = part["language"].map(y).to_numpy(float) + 0.32 * (place - 0.5)
            bars(ax, at, part, *style.condition_style(condition))
        ax.set_title(tables.CHANGED[metric].replace(", ", ",\n"))
        ax.grid(axis="x")
        style.small_ticks(ax, "change")
        for first in languages.drop_duplicates("resource_level")["place"].iloc[1:]:
            ax.axhline(first - 1, color=style.GREY, linewidth=0.6)
    few = tables.few(rows, params.least_questions)
    named = language_plots.on_axis(y, few, params.language_names)
    names(axes[0, 0], y, named, named.get(params.reference_language, ""))
    for level, part in languages.groupby("resource_level"):
        axes[0, -1].annotate(
            level, (1.02, part["place"].mean()), xycoords=("axes fraction", "data"), rotation=270,
            va="center", fontsize=7.5, color=style.GREY, fontstyle="italic", annotation_clip=False,
        )  # fmt: skip
    entries = style.bars(rows, params.level, marker="_")
    if rows["seed_sd"].notna().any():
        entries.append(style.bar("SD between seeds", "_", width=0.5))
    style.change_legend(figure, conditions, entries, title=params.model)
    return figure


def bars(ax: Axes, y: np.ndarray, rows: pd.DataFrame, colour: str, marker: str) -> None:
    """Draw changes with their intervals, and with the spread between seeds if it is known."""
    ax.hlines(y, rows["ci_low"], rows["ci_high"], color=colour, linewidth=1.0, alpha=0.7)
    spread = rows["seed_sd"]
    ax.hlines(y + 0.14, rows["value"] - spread, rows["value"] + spread, color=colour, linewidth=0.5)
    significant = (rows["p_holm"] < tables.ALPHA).to_numpy()
    open_marker = style.OPEN | {"markeredgecolor": colour}
    for mask, look in ((significant, style.MARKER), (~significant, open_marker)):
        ax.plot(rows["value"][mask], y[mask], color=colour, marker=marker, linestyle="",
                markersize=3, **look)  # fmt: skip


def names(ax: Axes, y: dict[str, float], named: dict[str, str], bold: str) -> None:
    """Label the y axis with the languages, from top to bottom."""
    ax.set_yticks(list(y.values()), list(named.values()), fontsize=6 if len(y) < 60 else 5)
    ax.set_ylim(max(y.values()) + 0.8, -0.8)
    for text in ax.get_yticklabels():
        if text.get_text() == bold:
            text.set_fontweight("bold")


def main() -> None:
    args = style.arguments(__doc__, ModelByLanguage, "effects")
    rows = tables.compared(args.effects, "effects", args.params)
    rows = tables.select(rows, args.effects, model=args.params.model)
    style.finish(draw(rows, args.params), args)


if __name__ == "__main__":
    program(main)
