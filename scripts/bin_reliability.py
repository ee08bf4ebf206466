"""Bin confidences for reliability diagrams: per run, benchmark, readout, group or language.

The bins have equal width and are half-open, the last one closed, as
for ECE; the questions of a group's languages are pooled. Readouts that are no
probabilities have no such diagram and are left out. Empty bins have n = 0 and no
confidence or accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import program
from multical.files import atomic
from multical.metrics.definitions import bin_sums, edges
from multical.metrics.readouts import Floats
from multical.params import parse
from multical.stats.blocks import RUN, Block, groups, readings
from multical.stats.params import Reliability
from multical.stats.record_files import each, survey


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", nargs="+", required=True, metavar="PARQUET")
    parser.add_argument("--params", required=True, metavar="JSON", help="stats.params.Reliability")
    parser.add_argument("--output", required=True, metavar="CSV", help="by group of languages")
    parser.add_argument("--by-language", required=True, metavar="CSV", help="output, by language")
    arguments = parser.parse_args()
    params = parse(Reliability, arguments.params)
    parts, _ = survey(arguments.records, params.resource_levels)
    by_group, by_language = tables(each(parts, block_rows, params, processes=1))
    with atomic(arguments.output) as first, atomic(arguments.by_language) as second:
        for path, table in ((first, by_group), (second, by_language)):
            table.astype({"seed": "Int64"}).to_csv(path, index=False, lineterminator="\n")


Rows = list[dict[str, Any]]


def tables(made: list[tuple[Rows, Rows]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables, a row per run, benchmark, readout, place and bin.

    A place is a group of languages in the first, and a language in the second.
    """
    by_group = [row for own, _ in made for row in own]
    by_language = [row for _, own in made for row in own]
    columns = ["readout", "bin", "low", "high", "n", "confidence", "accuracy"]
    return (
        pd.DataFrame(by_group, columns=[*RUN, "group", *columns]),
        pd.DataFrame(by_language, columns=[*RUN, "language", "resource_level", *columns]),
    )


def block_rows(block: Block, params: Reliability) -> tuple[Rows, Rows]:
    """Both tables' rows of one run on one benchmark."""
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
            for language, own in sums.items()
            for row in rows(own, block, name)
        ]
    return by_group, by_language


def binned(block: Block, name: str, bins: int) -> dict[str, Floats]:
    """(3, bins) of each language: number, sum of confidences, number of right answers."""
    readouts = readings(block, name)
    if not all(readout.is_probability for readout in readouts.values()):
        return {}
    return {
        language: np.concatenate(bin_sums(readout.confidence, readout.correct, bins=bins))
        for language, readout in readouts.items()
    }


def rows(sums: Floats, block: Block, name: str) -> Iterator[dict[str, Any]]:
    """A row per bin of what `binned` gives of a language, or of its sum over languages."""
    limits = edges(sums.shape[1])
    for index, (n, confidence, right) in enumerate(sums.T):
        row = block.keys | {"readout": name, "bin": index, "n": int(n)}
        row |= {"low": limits[index], "high": limits[index + 1]}
        if n:
            row |= {"confidence": confidence / n, "accuracy": right / n}
        yield row


if __name__ == "__main__":
    program(main)
