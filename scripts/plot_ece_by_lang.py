"""Draw ECE by language: base model, SFT, and SFT with smoothing.

One row of panels per model, languages grouped by resource level, with bootstrap
intervals. The reference language is in bold.
"""

from __future__ import annotations

from multical.errors import program
from multical.figures import language_plots, style, tables
from multical.figures.params import NamedByLanguage


def main() -> None:
    args = style.arguments(__doc__, NamedByLanguage, "metrics")
    conditions = tables.conditions(args.params)
    rows = tables.chosen(args.metrics, "metrics", args.params, conditions, metric="ece")
    style.finish(language_plots.by_language(rows, args.params, "ECE"), args)


if __name__ == "__main__":
    program(main)
