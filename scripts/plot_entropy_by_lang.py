"""Draw predictive entropy by language: base model, SFT, and SFT with smoothing.

One row of panels per model, languages grouped by resource level, with bootstrap
intervals. The dotted line is a uniform guess among the options.
"""

from __future__ import annotations

import math

from multical.errors import program
from multical.figures import style, tables
from multical.figures.params import ByLanguageAndGuess


def main() -> None:
    args = style.arguments(__doc__, ByLanguageAndGuess, "metrics")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(args.metrics, "metrics", args.params, conditions, metric="entropy")
    options = args.params.options
    guess = (math.log(options), "uniform guess") if options else None
    figure = style.by_language(rows, args.params, "entropy (nats)", guess)
    style.finish(figure, args)


if __name__ == "__main__":
    program(main)
