"""Compute what SFT and smoothing change, in each language and over languages.

Compared are the base model with SFT, and SFT with SFT
with smoothing, of the same model, SFT set, benchmark and seed, question by question; an effect
is the mean over seeds of the metric after less before. Intervals and tests by questions use the
same resamples before and after and in all languages; intervals are as in compute_metrics.py. They
take the trained runs as given: seed_sd is the standard deviation between seeds.

By language, p is that of a t-test by questions (`effects.question_test`), corrected for the
languages of an effect. Over a group of languages there are three tests: p, of the mean effect,
takes questions for the sample; p_sign and p_wilcoxon take the languages for it, and the
questions as given. They are corrected for the comparisons (models, SFT sets, benchmarks,
before and after) of a metric, readout and group. holm is Holm's correction, bh Benjamini and
Hochberg's. Changes of no language, or tests that cannot be made, have an empty cell.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import program
from multical.stats import comparisons, record_files
from multical.stats.blocks import Block, groups
from multical.stats.comparisons import COMPARISON, Comparison, Run
from multical.stats.effects import Effect, average, described, language_tests, question_test
from multical.stats.estimates import bootstrap, estimate
from multical.stats.params import MetricsJob

READING = ["readout", "metric"]


def main() -> None:
    outputs = {"effects": "by language", "over_languages": "by group of languages"}
    record_files.write_tables(__doc__, MetricsJob, outputs, compute)


def compute(
    paths: Iterable[str], params: MetricsJob, processes: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of record files: by language, and over groups of languages."""
    parts, questions = record_files.survey(paths, params.resource_levels)
    runs = record_files.each(parts, estimated, questions, params, processes=processes)
    by_language: list[dict[str, Any]] = []
    over: list[dict[str, Any]] = []
    for one in comparisons.comparisons(runs):
        for reading, effects in changes(one).items():
            keys = one.keys | dict(zip(READING, reading, strict=True))
            by_language += language_rows(keys, effects, params)
            over += group_rows(keys, effects, params)
    # A change is one of its languages', a mean over them one of all that is compared.
    each_language = [*COMPARISON, *READING]
    return (
        comparisons.corrected(pd.DataFrame(by_language), each_language, ["p"]),
        comparisons.corrected(
            pd.DataFrame(over), ["group", *READING], ["p", "p_sign", "p_wilcoxon"]
        ),
    )


def estimated(block: Block, questions: dict[str, list[str]], params: MetricsJob) -> Run:
    """A run on a benchmark with its estimates."""
    found = estimate(block, bootstrap(block, questions, params), params)
    return Run(block.keys, comparisons.asked(block), found)


def changes(one: Comparison) -> dict[tuple[str, str], dict[str, Effect]]:
    """The effects of a comparison by (readout, metric) and language."""
    (first, *_) = one.pairs
    return {
        reading: {
            language: change(one, reading, language)
            for language in cells
            if all(language in run.found.get(reading, {}) for pair in one.pairs for run in pair)
        }
        for reading, cells in first[1].found.items()
    }


def change(one: Comparison, reading: tuple[str, str], language: str) -> Effect:
    """The effect in one language, a mean over the seeds."""
    pairs = [[run.found[reading][language] for run in pair] for pair in one.pairs]
    by_seed = np.array([after.value - before.value for before, after in pairs])
    drawn = [after.replicates - before.replicates for before, after in pairs]
    low, high = pairs[0][0].bounds
    n, bounds = pairs[0][0].n, (low - high, high - low)
    return Effect(float(by_seed.mean()), np.mean(drawn, axis=0), n, bounds, by_seed)


def language_rows(
    keys: dict[str, Any], effects: dict[str, Effect], params: MetricsJob
) -> list[dict[str, Any]]:
    """Rows of one comparison, readout and metric, by language."""
    return [
        {
            **keys,
            "language": language,
            "resource_level": params.resource_levels[language],
            **described(effect, params.bootstrap.level),
            **question_test(effect),
            "n": effect.n,
        }
        for language, effect in effects.items()
    ]


def group_rows(
    keys: dict[str, Any], effects: dict[str, Effect], params: MetricsJob
) -> list[dict[str, Any]]:
    """Rows of one comparison, readout and metric, by group of languages."""
    rows = []
    for group, languages in groups(effects, params.resource_levels).items():
        own = [effects[language] for language in languages]
        values = np.array([effect.value for effect in own])
        overall = average(own)
        row = {
            **keys,
            "group": group,
            "languages": int((~np.isnan(values)).sum()),
            **described(overall, params.bootstrap.level),
            **question_test(overall),
            **language_tests(values),
        }
        rows.append(row)
    return rows


if __name__ == "__main__":
    program(main)
