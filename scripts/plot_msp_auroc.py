"""Draw paper 2's AUROC against accuracy and against model size, with least squares lines.

A point per model, the unweighted mean of its (data set, phrasing) cells. A column of panels for
each confidence. The name of a figure says what it shows: `accuracy_vs_...` or `size_vs_...`, with a
row of panels for each phrasing if the name contains `by_phrasing`. Models of unknown size are left
out of the figures on size.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multical.errors import program
from multical.figures import msp_style, msp_tables, outputs, style
from multical.figures.msp_style import Looks
from multical.figures.params import ComparedFigure, Method

X = {"accuracy": "Accuracy (%)", "size": "Size (billions of parameters)"}


def main() -> None:
    args = style.arguments(__doc__, ComparedFigure, "points")
    methods = args.params.methods
    per_cent = ["accuracy", *(f"{method}_auroc" for method in methods)]
    points = msp_tables.read_table(args.points, ["dataset", "prompt", "model", *per_cent])
    points = points[points["dataset"] == args.params.dataset]
    points = points.assign(**{name: 100 * points[name] for name in per_cent})
    both = points[points["prompt"].isna()]
    phrasings = {
        phrasing(str(prompt)): rows for prompt, rows in points.groupby("prompt", sort=False)
    }
    looks = msp_style.styles(args.params)
    for name in outputs.names(args):
        rows = phrasings if "by_phrasing" in name else {"": both}
        figure = scatter(rows, name.partition("_")[0], looks, methods)
        figure.suptitle(args.params.title, fontsize=8, fontweight="bold")
        style.finish(figure, args, name)


def phrasing(prompt: str) -> str:
    """The title of a phrasing. In the released outputs phrasings are called `first_prompt` etc."""
    name = prompt.removesuffix("_prompt")
    return f"{name} phrasing" if name != prompt else f"prompt {prompt}"


def scatter(rows: dict[str, pd.DataFrame], x: str, looks: Looks, methods: list[Method]) -> Figure:
    """A figure with a row of panels per phrasing of `rows`, and a column per method."""
    figure, axes = style.subplots(
        len(rows), len(methods), figsize=(style.WIDTH, 3.0 * len(rows) + 0.2), sharex=True,
        sharey=True, squeeze=False,
    )  # fmt: skip
    for line, (name, points) in zip(axes, rows.items(), strict=True):
        for ax, method in zip(line, methods, strict=True):
            ax.set_title(", ".join(filter(None, (msp_tables.METHOD_NAMES[method], name))))
            msp_style.fitted_scatter(ax, points, x, f"{method}_auroc", looks)
            ax.axhline(50, **msp_style.GUESS)
        line[0].set_ylabel("AUROC (%)")
    for ax in axes[-1]:
        ax.set_xlabel(X[x])
    drawn = pd.concat(rows.values()).dropna(subset=[x])
    guess = Line2D([], [], **msp_style.GUESS)
    msp_style.model_legend(figure, looks, drawn["model"], guess, lines=False)
    return figure


if __name__ == "__main__":
    program(main)
