"""Bin confidences for reliability diagrams: per run, benchmark, readout, and group or language.

The bins have equal width and are half-open, except for the last one, which is closed, as for ECE.
The questions of a group's languages are pooled. Readouts that are not probabilities have no such
diagram and are left out. Empty bins have n = 0 and no confidence or accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import program
from multical.metrics.definitions import bin_sums, edges
from multical.metrics.readouts import Floats
from multical.stats import record_files
from multical.stats.blocks import RUN, Block, groups, readings
from multical.stats.params import Reliability


def main() -> None:
    outputs = {"output": "by group of languages", "by_language": "by language"}
    record_files.write_tables(__doc__, Reliability, outputs, compute)


Rows = list[dict[str, Any]]


def compute(paths: Iterable[str], params: Reliability, processes: int = 1) -> list[pd.DataFrame]:
    """The tables by group of languages and by language.

    They have a row per run, benchmark, readout, group or language, and bin.
    """
    parts, _ = record_files.survey(paths, params.resource_levels)
    columns = ["readout", "bin", "low", "high", "n", "confidence", "accuracy"]
    places = (["group"], ["language", "resource_level"])
    return record_files.tables(
        parts, block_rows, params,
        processes=processes, columns=[[*RUN, *place, *columns] for place in places],
    )  # fmt: skip


def block_rows(block: Block, params: Reliability) -> tuple[Rows, Rows]:
    """The rows of one run on one benchmark, for both tables."""
    levels = params.resource_levels
    by_group, by_language = [], []
    for name in params.readouts:
        sums = binned(block, name, params.bins)
        by_group += [
            {"group": group, **row}
            for group, languages in groups(sums, levels).items()
            for row in rows(np.sum([sums[x] for x in languages], axis=0), block, name)
        ]
        by_language += [
            {"language": language, "resource_level": levels[language], **row}
            for language, language_sums in sums.items()
            for row in rows(language_sums, block, name)
        ]
    return by_group, by_language


def binned(block: Block, name: str, bins: int) -> dict[str, Floats]:
    """(3, bins) per language: number of answers, sum of confidences, number of right answers.

    Empty if the readout is not a probability.
    """
    readouts = readings(block, name)
    if not all(readout.is_probability for readout in readouts.values()):
        return {}
    return {
        language: np.concatenate(bin_sums(readout.confidence, readout.correct, bins=bins))
        for language, readout in readouts.items()
    }


def rows(sums: Floats, block: Block, name: str) -> Iterator[dict[str, Any]]:
    """A row per bin, from the (3, bins) sums of a language or group as `binned` returns them."""
    limits = edges(sums.shape[1])
    for index, (n, confidence, right) in enumerate(sums.T):
        row = block.keys | {"readout": name, "bin": index, "n": int(n)}
        row |= {"low": limits[index], "high": limits[index + 1]}
        if n:
            row |= {"confidence": confidence / n, "accuracy": right / n}
        yield row


if __name__ == "__main__":
    program(main)
