"""Bin confidences for reliability diagrams: per run, benchmark, readout, and group or language.

The bins have equal width and are half-open, except for the last one, which is closed, as for ECE.
The questions of a group's languages are pooled. Readouts that are not probabilities have no such
diagram and are left out. Empty bins have n = 0 and no confidence or accuracy.

Neighbouring bins are joined, from the lowest on, into points of at least `least` different
questions. The rest above the last full point joins it. All bins of a point have its mean
confidence, its accuracy, and the ends of the accuracy's 95 % interval (`band`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multical.errors import program
from multical.labels import level_of
from multical.metrics.bands import band
from multical.metrics.definitions import edges, equal_width
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
    parts, _ = record_files.survey(paths)
    columns = ["readout", "bin", "low", "high", "n", "confidence", "accuracy"]
    columns += ["point", "point_confidence", "point_accuracy", "point_low", "point_high"]
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
        own = answers(block, name)
        by_group += [
            {"group": group, **row}
            for group, languages in groups(own, levels).items()
            for row in rows(pd.concat([own[x] for x in languages]), block, name, params)
        ]
        by_language += [
            {"language": language, "resource_level": level_of(language, levels), **row}
            for language, answered in own.items()
            for row in rows(answered, block, name, params)
        ]
    return by_group, by_language


def answers(block: Block, name: str) -> dict[str, pd.DataFrame]:
    """Each language's questions, with the confidence in the answer and whether it is right.

    Empty if the readout is not a probability.
    """
    readouts = readings(block, name)
    if not all(readout.is_probability for readout in readouts.values()):
        return {}
    return {
        language: pd.DataFrame(
            {
                "question": block.languages[language]["question_id"].array,
                "confidence": readout.confidence,
                "right": readout.correct.astype(float),
            }
        )
        for language, readout in readouts.items()
    }


def rows(
    answered: pd.DataFrame, block: Block, name: str, params: Reliability
) -> Iterator[dict[str, Any]]:
    """A row per bin, from the answers of a language or group as `answers` returns them."""
    question, _ = pd.factorize(answered["question"])
    confidence, right = answered["confidence"].to_numpy(), answered["right"].to_numpy()
    index = equal_width(confidence, params.bins)
    joined = points(index, question, params.bins, params.least)
    n = np.bincount(index, minlength=params.bins)
    sums = np.array([np.bincount(index, x, params.bins) for x in (confidence, right)])
    described = {}
    for point in range(joined[-1] + 1):
        own, inside = joined == point, joined[index] == point
        sure, share = sums[:, own].sum(axis=1) / n[own].sum()
        low, high = band(right[inside], question[inside])
        values = {"confidence": sure, "accuracy": share, "low": low, "high": high}
        described[point] = {f"point_{key}": value for key, value in values.items()}
    limits = edges(params.bins)
    for place, (sure, hits) in enumerate(sums.T):
        row = block.keys | {"readout": name, "bin": place, "n": int(n[place])}
        row |= {"low": limits[place], "high": limits[place + 1]}
        if n[place]:
            row |= {"confidence": sure / n[place], "accuracy": hits / n[place]}
        yield row | {"point": joined[place]} | described[joined[place]]


def points(
    index: NDArray[np.int64], question: NDArray[np.int64], bins: int, least: int
) -> NDArray[np.int64]:
    """(bins,) point of each bin, from the (n,) bins and questions of answers."""
    joined, point, inside = np.zeros(bins, np.int64), 0, set[int]()
    for place in range(bins):
        joined[place] = point
        inside |= set(question[index == place])
        if len(inside) >= least:
            point, inside = point + 1, set()
    return np.minimum(joined, max(point - 1, 0))


if __name__ == "__main__":
    program(main)
