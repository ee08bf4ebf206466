"""Draw ECE by language: base model, SFT, and SFT with smoothing.

One row of panels per model, languages grouped by resource level, with bootstrap
intervals. The language of the SFT data is set in bold.
"""

from __future__ import annotations

import time

from multical import plots, results
from multical.errors import program

KEYS = ("benchmark", "readout", "sft", "seed", "smoothing", "reference_language")


def main() -> None:
    started = time.monotonic()
    args = plots.arguments(__doc__, "metrics", KEYS)
    conditions = results.conditions(args.params)
    rows = results.chosen(args.table, "metrics", args.params, conditions, metric="ece")
    figure = plots.by_language(rows, args.params, "ECE")
    figure.axes[0].set_ylim(bottom=0)
    plots.finish(figure, args, started)


if __name__ == "__main__":
    program(main)
