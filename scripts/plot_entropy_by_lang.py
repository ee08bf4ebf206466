"""Draw predictive entropy by language: base model, SFT, and SFT with smoothing.

One row of panels per model, languages grouped by resource level, with bootstrap
intervals. The dotted line is a uniform guess among the options.
"""

from __future__ import annotations

import math
import time

from multical import plots, results
from multical.errors import program

KEYS = ("benchmark", "readout", "sft", "seed", "smoothing", "reference_language", "options")


def main() -> None:
    started = time.monotonic()
    args = plots.arguments(__doc__, "metrics", KEYS)
    conditions = results.conditions(args.params)
    rows = results.chosen(args.table, "metrics", args.params, conditions, metric="entropy")
    options = args.params["options"]
    guess = math.log(options) if options else None
    figure = plots.by_language(rows, args.params, "entropy (nats)", guess)
    plots.finish(figure, args, started)


if __name__ == "__main__":
    program(main)
