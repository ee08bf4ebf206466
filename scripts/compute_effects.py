"""Compute what SFT and smoothing change, in each language and over languages.

The program compares the base model with SFT, and SFT with SFT with smoothing, for the same model,
SFT data set, benchmark and seed, question by question. An effect is the mean over seeds of the
metric after minus the metric before. Intervals and tests over questions use the same resamples
before and after and in all languages. Intervals of one seed are as in compute_metrics.py, those
of several are Student's.

By language, p is that of a t-test (`effects.effect_test`) over questions and, if there are several
seeds, over trainings. It is corrected for all tests of a comparison: languages, readouts and
metrics. Over a group of languages there are two tests of the mean effect: p is the same test, and
p_all also takes the languages as a sample (`effects.crossed_test`). A group such as low-high is the
difference between two resource levels. Both are corrected for all tests of the group: comparisons
(models, SFT data sets, benchmarks, before and after), readouts and metrics. holm is Holm's
correction, bh Benjamini and Hochberg's. The cell of a test that cannot be made is empty. A test of
one seed says nothing about other trainings.

The metric confidence_at_equal_accuracy is the change of confidence that would be left if accuracy
stayed as before (`at_equal_accuracy`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import program
from multical.labels import KNOWN_LEVELS, level_of
from multical.metrics.params import Metric
from multical.metrics.readouts import Floats
from multical.stats import comparisons, record_files
from multical.stats.blocks import Block, groups
from multical.stats.comparisons import COMPARISON, Comparison, Run
from multical.stats.effects import (
    Contrast,
    Effect,
    crossed_test,
    described,
    directions,
    effect_of,
    effect_test,
)
from multical.stats.estimates import bootstrap, estimate
from multical.stats.params import MetricsJob

READING = ["readout", "metric"]
#: Metrics that the change of confidence at equal accuracy is made of
PARTS: tuple[Metric, ...] = ("accuracy", "confidence_right", "confidence_wrong")
EQUAL = "confidence_at_equal_accuracy"


def main() -> None:
    outputs = {"effects": "by language", "over_languages": "by group of languages"}
    record_files.write_tables(__doc__, MetricsJob, outputs, compute)


def compute(
    paths: Iterable[str], params: MetricsJob, processes: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of record files: by language, and over groups of languages."""
    parts, questions = record_files.survey(paths)
    runs = record_files.each(parts, estimated, questions, params, processes=processes)
    by_language: list[dict[str, Any]] = []
    by_group: list[dict[str, Any]] = []
    for comparison in comparisons.comparisons(runs):
        effects_by_reading = all_changes(comparison, params)
        for reading, effects in effects_by_reading.items():
            keys = comparison.keys | dict(zip(READING, reading, strict=True))
            by_language += language_rows(keys, effects, params)
            by_group += group_rows(keys, effects, params)
    # A family is all tests of a comparison by language, and all tests of a group.
    return (
        comparisons.corrected(pd.DataFrame(by_language), COMPARISON, ["p"]),
        comparisons.corrected(pd.DataFrame(by_group), ["group"], ["p", "p_all"]),
    )


def estimated(block: Block, questions: dict[str, list[str]], params: MetricsJob) -> Run:
    """A run on a benchmark with its estimates."""
    metrics = list(dict.fromkeys([*params.metrics, *PARTS]))
    wanted = params.model_copy(update={"metrics": metrics})
    estimates = estimate(block, bootstrap(block, questions, params), wanted)
    return Run(block.keys, comparisons.question_digests(block), estimates)


def all_changes(
    comparison: Comparison, params: MetricsJob
) -> dict[tuple[str, str], dict[str, Effect]]:
    """The effects on the study's metrics, and that on confidence at equal accuracy."""
    found = changes(comparison)
    wanted = {
        reading: effects for reading, effects in found.items() if reading[1] in params.metrics
    }
    for readout, metric in list(wanted):
        if metric == "confidence":
            languages = found[readout, PARTS[1]]
            wanted[readout, EQUAL] = {
                language: at_equal_accuracy(comparison, readout, language) for language in languages
            }
    return wanted


def changes(comparison: Comparison) -> dict[tuple[str, str], dict[str, Effect]]:
    """The effects of a comparison by (readout, metric) and language."""
    runs = [run for pair in comparison.pairs for run in pair]
    _, first_after = comparison.pairs[0]
    return {
        reading: {
            language: effect_of(
                [
                    (before.estimates[reading][language], after.estimates[reading][language])
                    for before, after in comparison.pairs
                ]
            )
            for language in cells
            if all(language in run.estimates.get(reading, {}) for run in runs)
        }
        for reading, cells in first_after.estimates.items()
    }


def at_equal_accuracy(comparison: Comparison, readout: str, language: str) -> Effect:
    """What confidence would change by if accuracy stayed as it was before.

    It is the change of the mean confidence in right answers and of that in wrong ones, weighted by
    the accuracy before. The rest of the change of confidence comes with that of accuracy.
    """

    def parts(run: Run) -> Floats:
        """(3, 1 + B) values and replicates of `PARTS`."""
        cells = [run.estimates[readout, name][language] for name in PARTS]
        return np.array([[cell.value, *cell.replicates] for cell in cells])

    by_seed = []
    for before, after in comparison.pairs:
        accuracy, *old = parts(before)
        _, *new = parts(after)
        right, wrong = np.subtract(new, old)
        # a part without answers does not count
        by_seed.append(
            np.where(accuracy > 0, accuracy * right, 0)
            + np.where(accuracy < 1, (1 - accuracy) * wrong, 0)
        )
    mean = np.mean(by_seed, axis=0)
    n = comparison.pairs[0][0].estimates[readout, PARTS[0]][language].n
    return Effect(float(mean[0]), mean[1:], n, (-1.0, 1.0), np.array(by_seed)[:, 0])


def language_rows(
    keys: dict[str, Any], effects: dict[str, Effect], params: MetricsJob
) -> list[dict[str, Any]]:
    """Rows of one comparison, readout and metric, by language."""
    return [
        {
            **keys,
            "language": language,
            "resource_level": level_of(language, params.resource_levels),
            **described(effect, params.bootstrap.level),
            **effect_test(effect),
            "n": effect.n,
        }
        for language, effect in effects.items()
    ]


def group_rows(
    keys: dict[str, Any], effects: dict[str, Effect], params: MetricsJob
) -> list[dict[str, Any]]:
    """Rows of one comparison, readout and metric, by group of languages, and by differences."""
    members = {
        group: [effects[language] for language in languages]
        for group, languages in groups(effects, params.resource_levels).items()
    }
    contrasts = {group: Contrast([(1.0, own)]) for group, own in members.items()}
    first, *others = [level for level in KNOWN_LEVELS if level in members] or [None]
    for level in others:
        contrasts[f"{level}-{first}"] = Contrast([(1.0, members[level]), (-1.0, members[first])])
    rows = []
    for group, contrast in contrasts.items():
        values = np.array([effect.value for _, own in contrast.groups for effect in own])
        overall = contrast.effect
        row = {
            **keys,
            "group": group,
            "languages": int((~np.isnan(values)).sum()),
            **described(overall, params.bootstrap.level),
            **effect_test(overall),
            **directions(values),
            **crossed_test(contrast, params.bootstrap.level),
        }
        rows.append(row)
    return rows


if __name__ == "__main__":
    program(main)
