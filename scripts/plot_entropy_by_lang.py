"""Draw predictive entropy by language: base model, SFT, and SFT with smoothing.

One row of panels per model, languages grouped by resource level, with bootstrap
intervals. The dotted line is a uniform guess among the options. If questions differ in their number
of options k, the entropy of each is divided by ln k, that of a guess.
"""

from __future__ import annotations

import math

from multical.errors import program
from multical.figures import language_plots, style, tables
from multical.figures.params import NamedByLanguageAndGuess

NATS, SHARE = "entropy", "normalised_entropy"


def main() -> None:
    args = style.arguments(__doc__, NamedByLanguageAndGuess, "metrics")
    conditions, options = tables.conditions(args.params), args.params.options
    known = set(tables.read(args.metrics, "metrics")["metric"])
    mixed = options is None and SHARE in known  # a study may have left the metric out
    metric, name = (SHARE, "entropy / ln k") if mixed else (NATS, "entropy (nats)")
    rows = tables.chosen(args.metrics, "metrics", args.params, conditions, metric=metric)
    guess = 1.0 if mixed else math.log(options) if options else None
    line = None if guess is None else (guess, "uniform guess")
    style.finish(language_plots.by_language(rows, args.params, name, line), args)


if __name__ == "__main__":
    program(main)
