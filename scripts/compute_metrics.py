"""Compute every metric of every run, benchmark, language and readout from records.

A metric that makes no sense for a readout (the ECE of a logit) is left out. The summary has the
unweighted means over groups of languages. A language in which a metric is not defined (AUROC if
all answers are right) counts neither in the mean nor in the column `languages`. Intervals come
from a bootstrap over questions, with the same replicates for all languages and runs. They are
wide enough to hold the value. Metrics that sum absolute gaps have intervals of their own
(`bootstrap.around_biased`), or none (`definitions.WITHOUT_INTERVAL`). With 0 replicates all are
empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from multical.errors import program
from multical.stats import record_files
from multical.stats.blocks import Block
from multical.stats.estimates import (
    BY_LANGUAGE,
    SUMMARY,
    bootstrap,
    estimate,
    metric_rows,
    summary_rows,
)
from multical.stats.params import MetricsJob


def main() -> None:
    outputs = {"metrics": "by language", "summary": "by group of languages"}
    record_files.write_tables(__doc__, MetricsJob, outputs, compute)


def compute(paths: Iterable[str], params: MetricsJob, processes: int = 1) -> list[pd.DataFrame]:
    """The two tables of record files: by language, and by group of languages."""
    parts, questions = record_files.survey(paths)
    return record_files.tables(
        parts, block_rows, questions, params, processes=processes, columns=[BY_LANGUAGE, SUMMARY]
    )


def block_rows(
    block: Block, questions: dict[str, list[str]], params: MetricsJob
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of one run on one benchmark, for both tables."""
    estimates = estimate(block, bootstrap(block, questions, params), params)
    return metric_rows(block, estimates, params), summary_rows(block, estimates, params)


if __name__ == "__main__":
    program(main)
