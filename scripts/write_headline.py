"""Write a study's result in a few lines: which files were made, which to open first, the numbers.

There are three lines per model: the base model, SFT, and SFT with smoothing; or the first alone, if
the study has only base models. Each has means over the languages other than English, or over all if
there is no other, with bootstrap intervals where they hold the truth: not for ECE.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from multical.errors import program
from multical.figures import tables
from multical.figures.params import Conditions
from multical.files import atomic
from multical.params import command_line

#: The languages of the means, the first that there are, with their name
GROUPS = {"non-english": "languages other than English", "all": "languages"}
METRICS = {"ece": "ECE", "confidence": "confidence", "accuracy": "accuracy"}


def main() -> None:
    files = {"summary": "table of group means, .csv", "output": "the headline, .txt"}
    parser = command_line(__doc__, Conditions, **files)
    parser.add_argument(
        "--parts", nargs="*", default=[], metavar="TXT", help="headlines of the studies inside"
    )
    args = parser.parse_args()
    params: Conditions = args.params
    conditions = tables.conditions(params)
    rows = tables.chosen(args.summary, "summary", params, conditions, metric=list(METRICS))
    groups = [name for name in GROUPS if name in rows["group"].array]
    rows = rows[rows["group"] == groups[0]]
    with atomic(args.output) as temporary:
        text = headline(rows, params) + "".join(f"See also {path}\n" for path in args.parts)
        Path(temporary).write_text(text, encoding="utf-8")


def headline(rows: pd.DataFrame, params: Conditions) -> str:
    """The text, from rows of `tables.chosen`."""
    root = params.study
    counted = f" with {params.least_questions} questions or more" * (params.least_questions > 1)
    seeds = ", means over all training seeds" * (params.seed is None and params.sft is not None)
    lines = [
        f"Made in {root}: figures/ (pdf, png, provenance), tables/main.csv and .tex,",
        "  metrics.csv, summary.csv, reliability.csv, records/, and runs/.",
        f"Look first at {root}/figures/ece_by_lang.pdf. `make report "
        f"STUDY={root.removeprefix('results/')}` makes {root}/index.html, all on one page.",
        f"Mean over {rows['languages'].max():.0f} {GROUPS[rows['group'].iloc[0]]}{counted}, "
        f"{params.benchmark}, readout {params.readout}{seeds} [bootstrap interval]:",
    ]
    for model in tables.models(rows):
        lines.append(model)
        of_model = rows[rows["model"] == model]
        for condition in of_model["condition"].cat.categories:
            cells = of_model[of_model["condition"] == condition].set_index("metric")
            numbers = [f"{name} {_cell(cells, metric)}" for metric, name in METRICS.items()]
            lines.append(f"  {condition:<20} " + "   ".join(numbers))
    return "\n".join(lines) + "\n"


def _cell(cells: pd.DataFrame, metric: str) -> str:
    row = cells.loc[metric]
    if pd.isna(row["ci_low"]):
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


if __name__ == "__main__":
    program(main)
