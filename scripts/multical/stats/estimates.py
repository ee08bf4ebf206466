"""Metrics of records with their bootstrap replicates, and the table rows made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from multical.labels import level_of
from multical.metrics.bootstrap import Bootstrap, around, around_biased
from multical.metrics.definitions import BIASED, METRICS, WITHOUT_INTERVAL
from multical.metrics.readouts import Floats, Readout
from multical.metrics.resampling import Sample, replicates
from multical.stats.blocks import RUN, Block, groups, readings
from multical.stats.params import MetricsJob

INTERVAL = ["value", "ci_low", "ci_high"]
BY_LANGUAGE = [*RUN, "language", "resource_level", "readout", "metric", *INTERVAL, "n"]
SUMMARY = [*RUN, "group", "languages", "readout", "metric", *INTERVAL]


@dataclass(frozen=True)
class Estimate:
    """A metric of n questions: its value, its (B,) bootstrap replicates, and its range.

    A metric without an interval has no replicates. One that is biased has the (B + 1,) replicates
    of `debiased_ece2`, the last of them its value.
    """

    value: float
    replicates: Floats
    n: int
    bounds: tuple[float, float]
    debiased: Floats | None = None


#: The estimates of a block by (readout, metric) and language.
Estimates = dict[tuple[str, str], dict[str, Estimate]]


def bootstrap(block: Block, questions: dict[str, list[str]], params: MetricsJob) -> Bootstrap:
    """The bootstrap of a block's benchmark, from a cache, since a study's blocks share it.

    `questions` holds the question ids of each benchmark.
    """
    ids = tuple(questions[block.keys["benchmark"]])
    return _bootstrap(ids, params.bootstrap.replicates, params.bootstrap.seed)


@lru_cache(maxsize=4)
def _bootstrap(questions: tuple[str, ...], replicates: int, seed: int) -> Bootstrap:
    return Bootstrap(questions, replicates, seed)


def estimate(block: Block, bootstrap: Bootstrap, params: MetricsJob) -> Estimates:
    """All metrics of all readouts and languages of one block."""
    estimates: Estimates = {}
    samples = drawn(block, bootstrap)
    for name in params.readouts:
        estimates |= measured(name, readings(block, name), samples, params)
    return estimates


def drawn(block: Block, bootstrap: Bootstrap) -> dict[str, Sample]:
    """The bootstrap samples of each language's rows."""
    return {
        language: bootstrap.sample(rows["question_id"])
        for language, rows in block.languages.items()
    }


def measured(
    name: str, readouts: dict[str, Readout], samples: dict[str, Sample], params: MetricsJob
) -> Estimates:
    """All metrics of the readout `name` in each language."""
    estimates: Estimates = {}
    for language, readout in readouts.items():
        metrics = [metric for metric in params.metrics if METRICS[metric].applies(readout)]
        once = [metric for metric in metrics if metric in WITHOUT_INTERVAL]
        often = {*metrics} - {*once} | ({"debiased_ece2"} if BIASED & {*metrics} else set())
        sample, bins = samples[language], params.bins
        values = replicates(readout, sample, often, bins)
        values |= replicates(readout, sample.last, once, bins)
        for metric in metrics:
            cell = Estimate(
                float(values[metric][-1]),
                values[metric][:-1],
                len(readout.correct),
                METRICS[metric].bounds,
                values["debiased_ece2"] if metric in BIASED else None,
            )
            estimates.setdefault((name, metric), {})[language] = cell
    return estimates


def metric_rows(block: Block, estimates: Estimates, params: MetricsJob) -> list[dict[str, Any]]:
    """Rows by language, readout and metric."""
    rows = []
    for language in block.languages:
        for (readout, metric), cells in estimates.items():
            if language in cells:
                cell = cells[language]
                row = {
                    **block.keys,
                    "language": language,
                    "resource_level": level_of(language, params.resource_levels),
                    "readout": readout,
                    "metric": metric,
                    "n": cell.n,
                }
                rows.append(row | with_interval(cell, params))
    return rows


def summary_rows(block: Block, estimates: Estimates, params: MetricsJob) -> list[dict[str, Any]]:
    """Rows by group, readout and metric, with means over the languages of the group."""
    rows = []
    for group, languages in groups(block.languages, params.resource_levels).items():
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
            rows.append(row | with_interval(average(chosen), params))
    return rows


def average(cells: Sequence[Estimate]) -> Estimate:
    """The mean of a metric over languages. One in which it is not defined does not count."""
    debiased = [cell.debiased for cell in cells if cell.debiased is not None]
    return Estimate(
        float(mean(np.array([cell.value for cell in cells]))),
        mean(np.array([cell.replicates for cell in cells])),
        max(cell.n for cell in cells),
        cells[0].bounds,
        mean(np.array(debiased)) if debiased else None,
    )


def mean(values: Floats) -> Floats:
    """Mean over the first axis without NaN; NaN if all values are NaN."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0))


def with_interval(cell: Estimate, params: MetricsJob) -> dict[str, float]:
    """The columns of `INTERVAL`."""
    low, high = interval(cell, params.bootstrap.level)
    return {"value": cell.value, "ci_low": low, "ci_high": high}


def interval(cell: Estimate, level: float) -> tuple[float, float]:
    """The interval of a metric, NaN if it has none."""
    if cell.debiased is None:
        return around(cell.value, cell.replicates, cell.n, level, cell.bounds)
    return around_biased(cell.value, cell.replicates, cell.debiased, cell.n, level, cell.bounds)
