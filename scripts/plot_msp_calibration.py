"""Draw paper 2's calibration: curves per model, and calibration error against accuracy.

Each curve joins the equal-mass bins of one model: fraction of right answers against mean maximum
softmax probability (MSP). A model on the diagonal is calibrated. Platt-scaled figures show the
answers that Platt scaling was not fitted on. The calibration error is the column of the points
that `error` names, drawn with a least squares line over the models. The name of a figure says what
it shows: `accuracy_vs_calibration...` the errors, `..._platt` Platt-scaled values.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from multical.errors import program
from multical.figures import msp_style, msp_tables, outputs, style
from multical.figures.msp_style import Looks
from multical.figures.params import CalibrationFigure


def main() -> None:
    args = style.arguments(__doc__, CalibrationFigure, "curves", "points")
    dataset, error = args.params.dataset, args.params.error
    table = msp_tables.read_table(args.curves, ["dataset", "model", "scaling", "confidence"])
    table = table[table["dataset"] == dataset]
    points = msp_tables.read_table(args.points, ["dataset", "prompt", "model", "accuracy", error])
    points = points[(points["dataset"] == dataset) & points["prompt"].isna()]
    looks = msp_style.styles(args.params)
    for name in outputs.names(args):
        after = "_platt" if name.endswith("_platt") else ""
        if name.startswith("accuracy"):
            figure = scatter(points, f"{error}{after}", looks)
        else:
            scaling = "platt" if after else "none"
            figure = curves(table[table["scaling"] == scaling], looks, scaling)
        figure.axes[0].set_title(args.params.title)
        settle(figure)
        style.finish(figure, args, name)


def curves(table: pd.DataFrame, looks: Looks, scaling: str) -> Figure:
    """A figure with a line per model over its bins."""
    figure, ax = style.subplots(figsize=(6.2, 4.6))
    ax.axline((0, 0), slope=1, color=style.GREY, linewidth=0.8)
    ax.annotate("calibrated", (0.03, 0.03), xytext=(4, 9), textcoords="offset points",
                fontsize=7, color=style.GREY, rotation=45, rotation_mode="anchor")  # fmt: skip
    for model, rows in table.groupby("model", sort=False):
        ax.plot(rows["confidence"], rows["accuracy"], clip_on=False, **looks[str(model)])
    scaled = "Platt-scaled MSP" if scaling == "platt" else "MSP"
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal",
           xlabel=f"Mean {scaled} of the bin", ylabel="Fraction correct")  # fmt: skip
    ax.grid(axis="x")
    msp_style.model_legend(figure, looks, table["model"])
    return figure


def settle(figure: Figure) -> None:
    """Find the layout of a square: matplotlib needs a few rounds until its labels have room."""
    for _ in range(3):
        figure.draw_without_rendering()


def scatter(points: pd.DataFrame, error: str, looks: Looks) -> Figure:
    """A figure of accuracy against calibration error, with a point per model."""
    figure, ax = style.subplots(figsize=(0.8 * style.WIDTH, 3.4))
    points = points.assign(accuracy=100 * points["accuracy"])
    msp_style.fitted_scatter(ax, points, "accuracy", error, looks)
    for line in ax.lines:
        style.whole(line)
    after = ", Platt-scaled" if error.endswith("platt") else ""
    ax.set(xlabel="Accuracy (%)", ylabel=f"Calibration error{after}")
    highest = points[error].max()
    ax.set_ylim(0, 1.15 * highest if highest > 0 else 1)  # 0 or NaN: calibrated, or undefined
    msp_style.model_legend(figure, looks, points["model"], lines=False)
    return figure


if __name__ == "__main__":
    program(main)
