"""Compare a study's tables with the published numbers, and fail if one is out of tolerance.

The expected numbers are a CSV file with a row per number: table, dataset, model, quantity, value,
factor, tolerance, source. `quantity` is the table's further keys and then its column, separated
by slashes. `value` is as printed: a number, cells such as 7/10, or <0.001. The table's number
times `factor`, or the 7 of 7/10, may differ from it by `tolerance`. An empty model stands for all
models, whose cells are added up. Prints the published number, ours, the difference and the verdict
for each row, and exits with an error if any row fails.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from multical.errors import InputError, program
from multical.files import atomic

COLUMNS = ["table", "dataset", "model", "quantity", "value", "factor", "tolerance", "source"]
#: Key columns of each table besides dataset and model, in the order of `quantity`.
KEYS: dict[str, list[str]] = {
    "auroc": [],
    "calibration": [],
    "correlations": ["prompt", "x", "y"],
    "mann_whitney": ["prompt", "value"],
    "one_sample": ["prompt", "method"],
    "scores": ["k", "scheme", "method"],
    "abstention": ["k", "scheme", "method"],
    "thresholds": ["k", "scheme", "method"],
}
#: Allows for the rounding of binary fractions. Far below any printed digit.
EPSILON = 1e-9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--expected", required=True, help="input: the published numbers, CSV")
    parser.add_argument("--tables", nargs="+", required=True, help="inputs: the tables, NAME.csv")
    parser.add_argument("--report", required=True, help="output: the comparison, CSV")
    args = parser.parse_args()
    expected = read(args.expected)
    if not expected or list(expected[0]) != COLUMNS:
        raise InputError(f"{args.expected}: no rows, or not the columns {COLUMNS}")
    report = compare(expected, {Path(path).stem: path for path in args.tables}, args.expected)
    with pd.option_context("display.width", 200, "display.max_colwidth", 60):
        print(report.drop(columns=["tolerance", "source"]).to_string(index=False))
    failed = report[report["verdict"] != "ok"]
    if len(failed):
        names = [" ".join(row) for row in failed[COLUMNS[:4]].to_numpy()[:5]]
        raise InputError(
            f"{args.expected}: {len(failed)} of {len(report)} numbers are outside their "
            f"tolerance, first {'; '.join(names)}"
        )
    with atomic(args.report) as temporary:
        report.to_csv(temporary, index=False, lineterminator="\n")
    print(f"all {len(report)} published numbers reproduce", file=sys.stderr)


def read(path: str) -> list[dict[str, str]]:
    """The rows of a CSV file as strings. An empty cell is an empty string."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error


def compare(expected: list[dict[str, str]], tables: dict[str, str], source: str) -> pd.DataFrame:
    """The report: published number, ours, difference and verdict of each expected number.

    `tables` are paths by name, `source` is the file of the expected numbers.
    """
    index = {name: indexed(name, path) for name, path in tables.items()}
    rows = []
    for line, row in enumerate(expected, 2):
        try:
            table, (*keys, column) = index[row["table"]], row["quantity"].split("/")
            ours = table[(row["dataset"], row["model"], *keys)][column]
        except (KeyError, ValueError):
            raise InputError(
                f"{source}: line {line}: no such number in the tables: "
                f"{[row[name] for name in COLUMNS[:4]]}"
            ) from None
        rows.append(verdict(row, ours))
    return pd.DataFrame(rows)


def indexed(name: str, path: str) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of a table by dataset, model and further keys. A missing key is empty."""
    if name not in KEYS:
        raise InputError(f"{path}: unknown table {name}, expected one of {list(KEYS)}")
    keys = ["dataset", "model", *KEYS[name]]
    rows = read(path)
    index = {tuple(row.get(key, "") for key in keys): row for row in rows}
    if name == "auroc":
        for dataset in {row["dataset"] for row in rows}:
            index[dataset, ""] = total([row for row in rows if row["dataset"] == dataset])
    return index


def total(rows: list[dict[str, str]]) -> dict[str, str]:
    """The sums of the cells k/n of several rows, by column."""
    sums = {}
    for name in rows[0]:
        cells = [row[name].split("/") for row in rows if "/" in row[name]]
        if name.endswith("_significant") and cells:
            sums[name] = "/".join(str(sum(map(int, column))) for column in zip(*cells, strict=True))
    return sums


def verdict(row: dict[str, str], ours: str) -> dict[str, object]:
    """One line of the report."""
    published, difference = row["value"], np.nan
    if "/" in published:
        hits, cells = published.split("/")
        our_hits, _, our_cells = ours.partition("/")
        difference = float(our_hits or "nan") - float(hits)
        ok = our_cells == cells and abs(difference) <= float(row["tolerance"])
    elif published.startswith("<"):
        ok = float(ours or "nan") < float(published[1:])
    else:
        number = float(row["factor"]) * float(ours or "nan")
        difference = number - float(published)
        ok = abs(difference) <= float(row["tolerance"]) + EPSILON
        ours = f"{number:.6g}"
    return {
        **{name: row[name] for name in COLUMNS[:4]},
        "published": published,
        "ours": ours,
        "difference": difference,
        "verdict": "ok" if ok else "OUTSIDE",
        "tolerance": row["tolerance"],
        "source": row["source"],
    }


if __name__ == "__main__":
    program(main)
