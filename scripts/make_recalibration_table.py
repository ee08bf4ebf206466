"""Make the table of recalibration: what each method and fit does to each model and condition.

The CSV has a row per model, group of languages, condition, method and fit, with full precision
and the ends of each bootstrap interval. The LaTeX table (packages booktabs and multirow) has
the mean ECE of each group and condition, a column for each method and fit.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Any

import pandas as pd

from multical.errors import program
from multical.figures import tables
from multical.files import atomic
from multical.provenance import sidecar

KEYS = ("study", "target", "benchmark", "readout", "sft", "seed", "reference_language")
METRICS = ["accuracy", "confidence", "ece", "debiased_ece2"]
GROUPS = {"non-english": "all but English", "high": "high", "mid": "mid", "low": "low"}
FITS = ["none", "reference", "high", "own"]


def wide(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per (model, group, condition, method, fit), three columns per metric."""
    ends = {"value": "", "ci_low": "_low", "ci_high": "_high"}
    keys = ["model", "group", "condition", "method", "fit"]
    orders = {"model": tables.models(rows), "group": list(GROUPS)}
    orders |= {"method": list(tables.METHODS), "fit": FITS}
    rows = rows.assign(**{key: pd.Categorical(rows[key], order) for key, order in orders.items()})
    extra = rows.groupby(keys, observed=True)[["smoothing", "languages"]].first()
    extra["languages"] = extra["languages"].astype(int)
    table = rows.pivot(index=keys, columns="metric", values=list(ends))
    table.columns = [pair[1] + ends[pair[0]] for pair in table.columns]
    order = [metric + end for metric in METRICS for end in ends.values()]
    return extra.join(table[order]).sort_index()


def latex(table: pd.DataFrame, params: dict[str, Any]) -> str:
    """Mean ECE with three digits, a line for each model, group and condition."""
    frame = table["ece"].unstack(["method", "fit"]).rename(GROUPS, level="group")
    fits = {"none": "", "reference": params["reference_language"]}
    pairs = [(tables.METHODS[pair[0]], fits.get(pair[1], pair[1])) for pair in frame.columns]
    frame.columns = pd.MultiIndex.from_tuples(pairs)
    style = frame.style.format(precision=3, na_rep="--").hide(axis="index", names=True)
    style.format_index(escape="latex", axis="index").format_index(escape="latex", axis="columns")
    text = style.to_latex(
        hrules=True, column_format="lll" + "r" * len(frame.columns), multirow_align="naive"
    )
    text = re.sub(r"(?<=\\\\\n)(?=[^ &\\])", r"\\midrule\n", text)  # a new model
    return re.sub(r"(?<=\\\\\n)(?= & [^ &])", r"\\addlinespace\n", text)  # a new group


def main() -> None:
    started = time.monotonic()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recalibration", metavar="CSV", required=True, help="input")
    parser.add_argument("--params", required=True, help="JSON object with " + ", ".join(KEYS))
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the sidecar")
    parser.add_argument("--csv", required=True, help="output: the table, full precision")
    parser.add_argument("--tex", required=True, help="output: the table for print")
    parser.add_argument("--sidecar", metavar="JSON", required=True, help="output: provenance")
    args = parser.parse_args()
    params = tables.params(args.params, KEYS)
    rows = tables.chosen(args.recalibration, "recalibration", params, metric=METRICS)
    table = wide(rows[rows["group"].isin(list(GROUPS))])
    text = latex(table, params)
    with atomic(args.csv) as csv, atomic(args.tex) as tex:
        table.to_csv(csv)
        Path(tex).write_text(text, encoding="utf-8")
    sidecar.write_sidecar(
        args.sidecar,
        study=params["study"],
        target=params["target"],
        params=params,
        code=args.code,
        inputs=[args.recalibration],
        outputs=[args.csv, args.tex],
        started=started,
        seed=params["seed"],
    )


if __name__ == "__main__":
    program(main)
