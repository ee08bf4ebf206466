"""Draw loss, gradient norm, entropy and learning rate of all SFT runs against the epoch.

A column of panels per model, a line per run: its colour is the smoothing, its style the SFT data.
Lines of long runs are means over windows of steps. The dotted line is the norm to which larger
gradients are scaled. Loss logs are found by the names of runs in --params.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from multical.errors import program
from multical.figures import style, training_log
from multical.figures.params import TrainingFigure

NAMES = {
    "loss": "loss (nats)",
    "grad_norm": "gradient norm",
    "entropy": "entropy (nats)",
    "learning_rate": "learning rate",
}
STYLES: list[style.LineStyle] = ["-", "--", "-."]
#: Points that a line has at most
POINTS = 200


class Plain(LogFormatter):
    """The labels of matplotlib, as plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def draw(logs: list[pd.DataFrame], params: TrainingFigure) -> Figure:
    """The figure; `logs` has the log of each run of `params`."""
    models = list(dict.fromkeys(run.model for run in params.runs))
    sets = dict(zip(dict.fromkeys(run.sft for run in params.runs), cycle(STYLES), strict=False))
    conditions = sorted({run.smoothing for run in params.runs})
    looks = style.condition_styles(conditions)
    rows = len(training_log.QUANTITIES)
    figure, axes = style.panels(rows, len(models), 0.8 + 1.35 * rows, sharex="col", sharey="row")
    for run, log in zip(params.runs, logs, strict=True):
        shown = windows(log)
        for line, quantity in zip(axes, training_log.QUANTITIES, strict=True):
            ax, colour = line[models.index(run.model)], looks[run.smoothing][0]
            marker = looks[run.smoothing][1] if len(shown) == 1 else ""
            ax.plot(shown["epoch"], shown[quantity], color=colour, linestyle=sets[run.sft],
                    linewidth=0.9, marker=marker)  # fmt: skip
    for line, name in zip(axes, NAMES.values(), strict=True):
        line[0].set_ylabel(name)
    for column, model in enumerate(models):
        axes[0, column].set_title(model)
        axes[-1, column].set_xlabel("epoch")
        norms = axes[training_log.QUANTITIES.index("grad_norm"), column]
        norms.set_yscale("log")
        norms.yaxis.set_major_formatter("{x:g}")
        norms.yaxis.set_minor_formatter(Plain(minor_thresholds=(2, 0.4)))
        norms.axhline(params.max_grad_norm, color=style.GREY, linestyle=":")
    for ax in axes[-1]:
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
    figure.align_ylabels(axes)
    handles = [style.handle(style.tables.label(b), looks[b][0], line="-") for b in conditions]
    if len(sets) > 1:
        handles += [style.handle(name, style.GREY, line=look) for name, look in sets.items()]
    style.legend(figure, [*handles, style.handle("norm of the clip", style.GREY, line=":")])
    return figure


def windows(log: pd.DataFrame) -> pd.DataFrame:
    """Means over at most `POINTS` windows of steps of nearly equal length."""
    if len(log) <= POINTS:
        return log
    return log.groupby(np.arange(len(log)) * POINTS // len(log)).mean()


def main() -> None:
    args = style.arguments(__doc__, TrainingFigure)
    files = training_log.files(args.params)
    args.inputs.add(files)
    logs = [pd.DataFrame(training_log.read(path), columns=training_log.COLUMNS) for path in files]
    style.finish(draw(logs, args.params), args)


if __name__ == "__main__":
    program(main)
