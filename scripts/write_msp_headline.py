"""Write paper 2's result in a few lines: which files were made, which to open first, the numbers.

A line per model has its accuracy, the AUROC of the maximum softmax probability (MSP), the number
of data sets and phrasings in which wrong answers have significantly smaller MSPs, and its
calibration error. Models without the answers to a whole data set have no such means. Models whose
interval of the accuracy reaches down to that of a guess are named.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from multical.errors import program
from multical.figures import latex, msp_tables
from multical.figures.params import AnswerHeadline
from multical.files import atomic
from multical.params import command_line

AUROC = ["dataset", "model", "accuracy", "msp_auroc", "msp_significant"]
CALIBRATION = ["dataset", "model", "calibration_error_cells"]
INTERVALS = ["dataset", "model", "method", "measure", "prompt", "ci_low"]


def main() -> None:
    tables = dict.fromkeys(["auroc", "calibration", "intervals"], "table of the study, .csv")
    parser = command_line(__doc__, AnswerHeadline, **tables, output="the headline, .txt")
    parser.add_argument(
        "--parts", nargs="*", default=[], metavar="TXT", help="headlines of the studies inside"
    )
    args = parser.parse_args()
    table = msp_tables.read_table(args.auroc, AUROC).merge(
        msp_tables.read_table(args.calibration, CALIBRATION), on=["dataset", "model"], how="left"
    )
    with atomic(args.output) as temporary:
        text = headline(table[table["dataset"] == msp_tables.ALL], args.params.study)
        if args.params.guess is not None:
            text += guessing(msp_tables.read_table(args.intervals, INTERVALS), args.params.guess)
        if left_out := args.params.left_out:
            text += f"Left out, for want of a whole data set: {', '.join(left_out)}\n"
        text += "".join(f"See also {path}\n" for path in args.parts)
        Path(temporary).write_text(text, encoding="utf-8")


def headline(rows: pd.DataFrame, study: str) -> str:
    """The text, from the rows of all data sets together."""
    numbers = pd.DataFrame(
        {
            "accuracy": rows["accuracy"].map(latex.rounded(3)),
            "AUROC": rows["msp_auroc"].map(latex.rounded(3)),
            "significant": rows["msp_significant"],
            "calibration error": rows["calibration_error_cells"].map(latex.rounded(3)),
        }
    )
    table = numbers.set_index(rows["model"].rename(None)).to_string()
    return (
        f"Made in {study}: figures/ (pdf, png, provenance), tables/ (csv, tex, provenance), "
        f"records/.\nLook first at {study}/figures/accuracy_vs_auroc.pdf and "
        f"{study}/figures/calibration.pdf.\n"
        f"Maximum softmax probabilities, means over data sets and phrasings:\n{table}\n"
    )


def guessing(rows: pd.DataFrame, guess: float) -> str:
    """A line that names the models that answer no better than a guess, if there are any."""
    rows = rows[
        (rows["dataset"] == msp_tables.ALL)
        & rows["prompt"].isna()
        & (rows["method"] == "msp")
        & (rows["measure"] == "accuracy")
    ]
    names = ", ".join(rows.loc[rows["ci_low"] <= guess, "model"])
    return f"No better than a guess ({guess:.3g}), by the interval of accuracy: {names}\n" * bool(
        names
    )


if __name__ == "__main__":
    program(main)
