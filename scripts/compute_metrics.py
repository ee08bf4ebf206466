"""Compute every metric of every run, benchmark, language and readout from records.

--params is a JSON object: readouts, metrics (lists of names), bins, bootstrap
{replicates, seed, level}, resource_levels {language: high, mid or low}. A metric
that a readout has no ground for (ECE of a logit) is left out. The summary has the
unweighted means over groups of languages; a language in which a metric is not
defined (AUROC with all answers right) drops out of the mean and of the column
`languages`. Intervals are percentile bootstrap intervals over questions, the same
replicates for all languages and runs, recentred at the value (a calibration error's
replicates lie above it); with 0 replicates they are empty.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from multical import records
from multical.bootstrap import Bootstrap, interval, recentred
from multical.cells import RUN, Block, blocks, check_levels, groups, parameters, readings
from multical.errors import InputError, program
from multical.files import atomic
from multical.metrics import METRICS
from multical.params import known
from multical.readouts import Floats

PARAMS = {
    "readouts": list,
    "metrics": list,
    "bins": int,
    "bootstrap": dict,
    "resource_levels": dict,
}
INTERVAL = ["value", "ci_low", "ci_high"]
COLUMNS = [*RUN, "language", "resource_level", "readout", "metric", *INTERVAL, "n"]
SUMMARY = [*RUN, "group", "languages", "readout", "metric", *INTERVAL]


@dataclass(frozen=True)
class Estimate:
    """A metric of n rows: its value, and its (B,) bootstrap replicates."""

    value: float
    replicates: Floats
    n: int


#: The estimates of a block by (readout, metric) and language.
Estimates = dict[tuple[str, str], dict[str, Estimate]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", nargs="+", required=True, metavar="PARQUET")
    parser.add_argument("--params", required=True, metavar="JSON")
    parser.add_argument("--metrics", required=True, metavar="CSV", help="output, by language")
    parser.add_argument("--summary", required=True, metavar="CSV", help="output, by group")
    arguments = parser.parse_args()
    params = read_params(arguments.params)
    metrics, summary = compute(records.read(arguments.records), params)
    # Both are ready before one is written.
    with atomic(arguments.metrics) as first, atomic(arguments.summary) as second:
        write(first, metrics)
        write(second, summary)


def read_params(text: str) -> dict[str, Any]:
    """Parse and check --params."""
    params = parameters(text, PARAMS)
    known("metrics", params["metrics"], METRICS)
    bootstrap = params["bootstrap"]
    wanted = {"replicates": int, "seed": int, "level": float}
    if {key: type(value) for key, value in bootstrap.items()} != wanted:
        raise InputError(
            f"--params: bootstrap: {bootstrap}, expected replicates, seed (whole) and level"
        )
    if min(bootstrap["replicates"], bootstrap["seed"]) < 0 or not 0 < bootstrap["level"] < 1:
        raise InputError(
            f"--params: bootstrap: {bootstrap}, expected replicates and seed of 0 or more, "
            "and a level between 0 and 1"
        )
    return params


def compute(frame: pd.DataFrame, params: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of a records frame: by language, and by group of languages."""
    check_levels(frame, params["resource_levels"])
    settings = params["bootstrap"]
    bootstraps = {
        benchmark: Bootstrap(rows.to_list(), settings["replicates"], settings["seed"])
        for benchmark, rows in frame.groupby("benchmark", observed=True)["question_id"]
    }
    cells = frame.drop_duplicates(["run", "benchmark", "language"])
    metrics: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    with tqdm(total=len(cells) * len(params["readouts"]), unit="cell", desc="metrics") as bar:
        for block in blocks(frame):
            estimates = estimate(block, bootstraps[block.keys["benchmark"]], params, bar)
            metrics += metric_rows(block, estimates, params)
            summary += summary_rows(block, estimates, params)
    return pd.DataFrame(metrics, columns=COLUMNS), pd.DataFrame(summary, columns=SUMMARY)


def estimate(block: Block, bootstrap: Bootstrap, params: dict[str, Any], bar: Any) -> Estimates:
    """All metrics of all readouts and languages of one block."""
    estimates: Estimates = {}
    for name in params["readouts"]:
        for language, readout in readings(block, name).items():
            questions = block.languages[language]["question_id"].to_list()
            counts = bootstrap.counts(questions)
            for metric in params["metrics"]:
                function = METRICS[metric]
                if function.applies(readout):
                    value = float(function(readout, None, params["bins"])[0])
                    replicates = function(readout, counts, params["bins"])
                    cell = Estimate(value, replicates, len(questions))
                    estimates.setdefault((name, metric), {})[language] = cell
        bar.update(len(block.languages))
    return estimates


def metric_rows(block: Block, estimates: Estimates, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows by language, readout and metric."""
    rows = []
    for language in block.languages:
        for (readout, metric), cells in estimates.items():
            if language in cells:
                cell = cells[language]
                row = {
                    **block.keys,
                    "language": language,
                    "resource_level": params["resource_levels"][language],
                    "readout": readout,
                    "metric": metric,
                    "n": cell.n,
                }
                rows.append(row | with_interval(metric, cell.value, cell.replicates, params))
    return rows


def summary_rows(
    block: Block, estimates: Estimates, params: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows by group, readout and metric: means over the languages of the group."""
    rows = []
    for group, languages in groups(block.languages, params["resource_levels"]).items():
        for (readout, metric), cells in estimates.items():
            chosen = [cells[language] for language in languages if language in cells]
            if not chosen:
                continue
            values = np.array([cell.value for cell in chosen])
            row = {
                **block.keys,
                "group": group,
                "languages": int((~np.isnan(values)).sum()),
                "readout": readout,
                "metric": metric,
            }
            replicates = mean(np.array([cell.replicates for cell in chosen]))
            rows.append(row | with_interval(metric, float(mean(values)), replicates, params))
    return rows


def mean(values: Floats) -> Floats:
    """Mean over the first axis without NaN; NaN where there is nothing else."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0))


def with_interval(
    metric: str, value: float, replicates: Floats, params: dict[str, Any]
) -> dict[str, float]:
    """The columns of `INTERVAL`."""
    around = recentred(replicates, value, METRICS[metric].bounds)
    low, high = interval(around, params["bootstrap"]["level"])
    return {"value": value, "ci_low": float(low), "ci_high": float(high)}


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a table with every digit of its floats; a base model's seed is an empty cell."""
    table.astype({"seed": "Int64"}).to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    program(main)
