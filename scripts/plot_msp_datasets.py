"""Draw paper 2's data sets: mean accuracy and AUROCs over the models, a bar per data set."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import latex, msp_style, msp_tables, style
from multical.figures.params import ComparedFigure

#: Half the width of a group of bars
HALF = 0.425
CROWDED = 18  # with more bars their labels are upright
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")


def main() -> None:
    args = style.arguments(__doc__, ComparedFigure, "datasets")
    measures = {"accuracy": "Accuracy"} | {
        f"{method}_auroc": f"{msp_tables.METHOD_NAMES[method]} AUROC"
        for method in args.params.methods
    }
    table = msp_tables.read_table(args.datasets, ["dataset", *measures])
    style.finish(bars(table, measures, args.params.dataset_names), args)


def bars(table: pd.DataFrame, measures: dict[str, str], names: dict[str, str]) -> Figure:
    """A figure with a group of bars for each measure, accuracy first."""
    per_cent = latex.rounded(1, 100)
    figure, ax = style.subplots(figsize=(style.WIDTH, 2.8))
    width = 2 * HALF / len(table)
    for place, row in enumerate(table.to_dict("records")):
        x = np.arange(len(measures)) + width * (place - (len(table) - 1) / 2)
        drawn = ax.bar(
            x,
            [100 * row[name] for name in measures],
            width,
            label=names[row["dataset"]],
            color=msp_style.COLOURS[1 + place % 6],
            hatch=HATCHES[place % len(HATCHES)],
            edgecolor="white",
            linewidth=0.4,
        )
        labels = [per_cent(row[name]) for name in measures]
        turn = 90 if len(table) * len(measures) > CROWDED else 0
        ax.bar_label(drawn, labels, fontsize=6.5, padding=2, rotation=turn, path_effects=style.HALO)
    others = [1 - HALF, len(measures) - 1 + HALF]  # accuracy is not compared with it
    ax.plot(others, [50, 50], **msp_style.GUESS)
    ax.set_xticks(range(len(measures)), list(measures.values()))
    ax.set(ylabel="Mean over models (%)", ylim=(0, 100))
    figure.legend(loc="outside upper center", ncols=len(table) + 1, handlelength=2.2)
    return figure


if __name__ == "__main__":
    program(main)
