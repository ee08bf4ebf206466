"""Compute the metrics of culturally sensitive and of culturally agnostic questions.

Only the questions with such a label count; a
benchmark without any is left out. The rows are those of its summary, for the questions of
each label (CS, CA) and for their difference (CS-CA), which is taken in each language and
then averaged over the languages in which both are defined. The bootstrap draws from all
labelled questions of a benchmark, and a replicate of the difference is that of the same draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from multical.errors import InputError, program
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
    "(benchmarks of kind global_mmlu have them)"
)
COLUMNS = [*RUN, "culture", *SUMMARY[len(RUN) :]]


def main() -> None:
    outputs = {"output": "by label and group of languages"}
    record_files.write_tables(__doc__, MetricsJob, outputs, compute)


def compute(paths: Iterable[str], params: MetricsJob, processes: int = 1) -> list[pd.DataFrame]:
    """The one table of record files, of the questions that have a label."""
    parts, questions = record_files.survey(paths, params.resource_levels, CULTURES)
    if not questions:
        raise InputError(NONE)
    return record_files.tables(
        parts, block_rows, questions, params,
        processes=processes, select=with_label, columns=[COLUMNS],
    )  # fmt: skip


def with_label(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a label."""
    return frame[frame["culture"].isin(CULTURES)]


def block_rows(
    block: Block, questions: dict[str, list[str]], params: MetricsJob
) -> tuple[list[dict[str, Any]]]:
    """The table's rows of one run on one benchmark."""
    draw = bootstrap(block, questions, params)
    parts = {name: estimate(labelled(block, name), draw, params) for name in CULTURES}
    parts[DIFFERENCE] = difference(*parts.values())
    rows = [
        {**row, "culture": culture}
        for culture, estimates in parts.items()
        for row in summary_rows(block, estimates, params)
    ]
    return (rows,)


def labelled(block: Block, culture: str) -> Block:
    """The questions of a block with one label, in the languages that have any."""
    parts = {name: rows[rows["culture"] == culture] for name, rows in block.languages.items()}
    return Block(block.keys, {name: rows for name, rows in parts.items() if len(rows)})


def difference(one: Estimates, other: Estimates) -> Estimates:
    """The first less the second, in the languages that have both."""
    return {
        key: {
            language: minus(cell, other[key][language])
            for language, cell in cells.items()
            if language in other[key]
        }
        for key, cells in one.items()
        if key in other
    }


def minus(one: Estimate, other: Estimate) -> Estimate:
    low, high = one.bounds
    return Estimate(
        one.value - other.value,
        one.replicates - other.replicates,
        one.n + other.n,
        (low - high, high - low),
    )


if __name__ == "__main__":
    program(main)
