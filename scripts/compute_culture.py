"""Compute the metrics of culturally sensitive and of culturally agnostic questions.

Only questions with such a label count, and benchmarks without labels are left out. The rows are
those of summary.csv, for the questions of each label (CS, CA) and for their difference (CS-CA).
The difference is taken in each language, and then averaged over the languages in which both
are defined. The bootstrap draws from all labelled questions of a benchmark. A replicate of the
difference uses the same draw for both labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import InputError, program
from multical.metrics.definitions import BIASED
from multical.stats import record_files
from multical.stats.blocks import RUN, Block
from multical.stats.estimates import (
    SUMMARY,
    Estimate,
    Estimates,
    bootstrap,
    estimate,
    summary_rows,
)
from multical.stats.params import MetricsJob

CULTURES = ["CS", "CA"]
DIFFERENCE = "CS-CA"
NONE = (
    f"records: culture: no question is labelled, expected some of {CULTURES} "
    "(columns.culture of a benchmark from the hub says where they are)"
)
COLUMNS = [*RUN, "culture", *SUMMARY[len(RUN) :]]


def main() -> None:
    outputs = {"output": "by label and group of languages"}
    record_files.write_tables(__doc__, MetricsJob, outputs, compute)


def compute(paths: Iterable[str], params: MetricsJob, processes: int = 1) -> list[pd.DataFrame]:
    """The table, in a list, from record files and their questions with a label."""
    parts, questions = record_files.survey(paths, CULTURES)
    if not questions:
        raise InputError(NONE)
    return record_files.tables(
        parts, block_rows, questions, params,
        processes=processes, select=with_label, columns=[COLUMNS],
    )  # fmt: skip


def with_label(frame: pd.DataFrame) -> pd.DataFrame:
    """The records of questions with a label."""
    return frame[frame["culture"].isin(CULTURES)]


def block_rows(
    block: Block, questions: dict[str, list[str]], params: MetricsJob
) -> tuple[list[dict[str, Any]]]:
    """The table's rows of one run on one benchmark."""
    draws = bootstrap(block, questions, params)
    by_culture = {name: estimate(labelled(block, name), draws, params) for name in CULTURES}
    by_culture[DIFFERENCE] = difference(*by_culture.values())
    rows = [
        {**row, "culture": culture}
        for culture, estimates in by_culture.items()
        for row in summary_rows(block, estimates, params)
    ]
    return (rows,)


def labelled(block: Block, culture: str) -> Block:
    """The questions of a block with one label, in the languages that have such questions."""
    languages = {name: rows[rows["culture"] == culture] for name, rows in block.languages.items()}
    return Block(block.keys, {name: rows for name, rows in languages.items() if len(rows)})


def difference(first: Estimates, second: Estimates) -> Estimates:
    """The first minus the second, in the languages that have both."""
    return {
        key: {
            language: minus(cell, second[key][language], key[1] in BIASED)
            for language, cell in cells.items()
            if language in second[key]
        }
        for key, cells in first.items()
        if key in second
    }


def minus(first: Estimate, second: Estimate, biased: bool) -> Estimate:
    """A biased metric has no interval: the bias depends on the number of questions."""
    low, high = first.bounds
    return Estimate(
        first.value - second.value,
        np.empty(0) if biased else first.replicates - second.replicates,
        min(first.n, second.n),
        (low - high, high - low),
    )


if __name__ == "__main__":
    program(main)
