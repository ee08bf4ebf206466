"""Compute every metric of every run, benchmark, language and readout from records.

A metric that a readout has no ground for (ECE of a logit) is left out. The summary has the
unweighted means over groups of languages; a language in which a metric is not
defined (AUROC with all answers right) drops out of the mean and of the column
`languages`. Intervals are percentile bootstrap intervals over questions, the same
replicates for all languages and runs, recentred at the value (a calibration error's
replicates lie above it) and wide enough to hold it; with 0 replicates they are empty.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import pandas as pd

from multical.errors import program
from multical.files import atomic
from multical.params import parse
from multical.stats.blocks import Block
from multical.stats.estimates import (
    BY_LANGUAGE,
    SUMMARY,
    bootstrap,
    estimate,
    metric_rows,
    summary_rows,
    write,
)
from multical.stats.params import MetricsJob
from multical.stats.record_files import each, survey


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", nargs="+", required=True, metavar="PARQUET")
    parser.add_argument("--params", required=True, metavar="JSON", help="stats.params.MetricsJob")
    parser.add_argument("--metrics", required=True, metavar="CSV", help="output, by language")
    parser.add_argument("--summary", required=True, metavar="CSV", help="output, by group")
    parser.add_argument(
        "--processes", type=int, default=2, help="that share a million rows or more (%(default)s)"
    )
    arguments = parser.parse_args()
    params = parse(MetricsJob, arguments.params)
    metrics, summary = compute(arguments.records, params, arguments.processes)
    # Both are ready before one is written.
    with atomic(arguments.metrics) as first, atomic(arguments.summary) as second:
        write(first, metrics)
        write(second, summary)


Rows = list[dict[str, Any]]


def compute(
    paths: Iterable[str], params: MetricsJob, processes: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of record files: by language, and by group of languages."""
    parts, questions = survey(paths, params.resource_levels)
    made = each(parts, block_rows, questions, params, processes=processes)
    metrics = [row for own, _ in made for row in own]
    summary = [row for _, own in made for row in own]
    return pd.DataFrame(metrics, columns=BY_LANGUAGE), pd.DataFrame(summary, columns=SUMMARY)


def block_rows(
    block: Block, questions: dict[str, list[str]], params: MetricsJob
) -> tuple[Rows, Rows]:
    """Both tables' rows of one run on one benchmark."""
    estimates = estimate(block, bootstrap(block, questions, params), params)
    return metric_rows(block, estimates, params), summary_rows(block, estimates, params)


if __name__ == "__main__":
    program(main)
