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
from typing import Any

import pandas as pd
from tqdm import tqdm

from multical import records
from multical.cells import RUN, Block, blocks, check_levels
from multical.errors import program
from multical.estimates import (
    INTERVAL,
    SUMMARY,
    Estimates,
    bootstraps,
    estimate,
    read_params,
    summary_rows,
    with_interval,
    write,
)
from multical.files import atomic

COLUMNS = [*RUN, "language", "resource_level", "readout", "metric", *INTERVAL, "n"]


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


def compute(frame: pd.DataFrame, params: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of a records frame: by language, and by group of languages."""
    check_levels(frame, params["resource_levels"])
    draws = bootstraps(frame, params)
    cells = frame.drop_duplicates(["run", "benchmark", "language"])
    metrics: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    with tqdm(total=len(cells), unit="cell", desc="metrics") as bar:
        for block in blocks(frame):
            estimates = estimate(block, draws[block.keys["benchmark"]], params)
            metrics += metric_rows(block, estimates, params)
            summary += summary_rows(block, estimates, params)
            bar.update(len(block.languages))
    return pd.DataFrame(metrics, columns=COLUMNS), pd.DataFrame(summary, columns=SUMMARY)


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
                rows.append(row | with_interval(cell, params))
    return rows


if __name__ == "__main__":
    program(main)
