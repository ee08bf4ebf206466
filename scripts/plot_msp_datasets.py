"""Draw paper 2's data sets: mean accuracy and AUROCs over the models, a bar per data set."""

from __future__ import annotations

import numpy as np

from multical.errors import program
from multical.figures import latex, msp_style, msp_tables, style
from multical.figures.params import ComparedFigure

CROWDED = 18  # with more bars their labels are upright
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")


def main() -> None:
    args = style.arguments(__doc__, ComparedFigure, "datasets")
    measures = {"accuracy": "Accuracy"} | {
        f"{method}_auroc": f"{msp_tables.METHOD_NAMES[method]} AUROC"
        for method in args.params.methods
    }
    table = msp_tables.read_table(args.datasets, ["dataset", *measures])
    per_cent = latex.rounded(1, 100)
    figure, ax = style.subplots(figsize=(style.WIDTH, 2.8))
    width = 0.85 / len(table)
    for place, row in enumerate(table.to_dict("records")):
        x = np.arange(len(measures)) + width * (place - (len(table) - 1) / 2)
        bars = ax.bar(
            x,
            [100 * row[name] for name in measures],
            width,
            label=args.params.dataset_names[row["dataset"]],
            color=msp_style.COLOURS[1 + place % 6],
            hatch=HATCHES[place % len(HATCHES)],
            edgecolor="white",
            linewidth=0.4,
        )
        labels = [per_cent(row[name]) for name in measures]
        turn = 90 if len(table) * len(measures) > CROWDED else 0
        ax.bar_label(bars, labels, fontsize=6.5, padding=2, rotation=turn)
    ax.axhline(50, **msp_style.GUESS)
    ax.set_xticks(range(len(measures)), list(measures.values()))
    ax.set(ylabel="Mean over models (%)", ylim=(0, 100))
    figure.legend(loc="outside upper center", ncols=len(table) + 1, handlelength=2.2)
    style.finish(figure, args)


if __name__ == "__main__":
    program(main)
