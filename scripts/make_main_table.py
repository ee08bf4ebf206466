"""Make the main table: accuracy and calibration of each model and condition.

The CSV has a row per model, condition and group of languages, with full precision
and the ends of each bootstrap interval. The LaTeX table (package booktabs)
has the same groups, and the intervals of the languages other than English.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

import jinja2  # noqa: F401  # writes the LaTeX, for pandas
import pandas as pd

from multical.errors import program
from multical.figures import tables
from multical.files import atomic
from multical.provenance import sidecar

KEYS = ("study", "target", "benchmark", "readout", "sft", "seed")
METRICS = {
    "accuracy": "accuracy",
    "confidence": "confidence",
    "ece": "ECE",
    "ece_equal_mass": "ECE (equal mass)",
    "rmsce": "RMSCE",
    "debiased_ece2": "ECE2 (debiased)",
    "brier": "Brier",
    "nll": "NLL",
    "auroc": "AUROC",
}
GROUPS = {"non-english": "all but English", "high": "high", "mid": "mid", "low": "low"}
FIRST = "non-english"


def wide(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per (model, condition, group), three columns per metric: value, low, high."""
    ends = {"value": "", "ci_low": "_low", "ci_high": "_high"}
    keys = ["model", "group", "condition"]
    rows = rows.assign(
        model=pd.Categorical(rows["model"], tables.models(rows)),
        group=pd.Categorical(rows["group"], list(GROUPS)),
    )
    extra = rows.groupby(keys, observed=True)[["smoothing", "languages"]].first()
    extra["languages"] = extra["languages"].astype(int)
    table = rows.pivot(index=keys, columns="metric", values=list(ends))
    table.columns = [pair[1] + ends[pair[0]] for pair in table.columns]
    order = [metric + end for metric in METRICS for end in ends.values()]
    return extra.join(table[order]).sort_index()


def latex(table: pd.DataFrame) -> str:
    """Three digits; for the group FIRST each interval in small type below its value."""
    lines = {}
    for (model, group, condition), (_, row) in zip(
        table.index.to_list(), table.iterrows(), strict=True
    ):
        key = (model, GROUPS[group], condition)
        lines[(*key, "value")] = [_number(row[metric]) for metric in METRICS]
        if group == FIRST:
            ends = [(_number(row[f"{m}_low"]), _number(row[f"{m}_high"])) for m in METRICS]
            lines[(*key, "interval")] = [rf"{{\tiny [{low}, {high}]}}" for low, high in ends]
    names = ["model", "languages", "condition", "line"]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=list(METRICS.values()))
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=names)
    style = frame.style.hide(axis="index", level="line").hide(axis="index", names=True)
    style.format_index(escape="latex", axis="index")
    text = style.to_latex(
        hrules=True, column_format="lll" + "r" * len(METRICS), multirow_align="naive"
    )
    text = re.sub(r"(?<=\\\\\n)(?=[^ \\])", r"\\midrule\n", text)  # a new model
    return re.sub(r"(?<=\\\\\n)(?= & [^ &])", r"\\addlinespace\n", text)  # a new group


def _number(value: float) -> str:
    return "--" if pd.isna(value) else f"{value:.3f}"


def main() -> None:
    started = time.monotonic()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--summary", metavar="CSV", required=True, help="input")
    parser.add_argument("--params", required=True, help="JSON object with " + ", ".join(KEYS))
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the sidecar")
    parser.add_argument("--csv", required=True, help="output: the table, full precision")
    parser.add_argument("--tex", required=True, help="output: the table for print")
    parser.add_argument("--sidecar", metavar="JSON", required=True, help="output: provenance")
    args = parser.parse_args()
    params = tables.params(args.params, KEYS)
    rows = tables.chosen(args.summary, "summary", params, metric=list(METRICS))
    table = wide(rows[rows["group"].isin(list(GROUPS))])
    text = latex(table)
    with atomic(args.csv) as csv, atomic(args.tex) as tex:
        table.to_csv(csv)
        Path(tex).write_text(text, encoding="utf-8")
    sidecar.write_sidecar(
        args.sidecar,
        study=params["study"],
        target=params["target"],
        params=params,
        code=args.code,
        inputs=[args.summary],
        outputs=[args.csv, args.tex],
        started=started,
        seed=params["seed"],
    )


if __name__ == "__main__":
    program(main)
