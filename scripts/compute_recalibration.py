"""Compute metrics of recalibrated confidences: does a fit in one language serve others?

Each method (temperature scaling, Platt scaling, isotonic regression) is fitted on the reference
language alone, on all high-resource languages together, and on each language itself. The first
two fits are applied to every language, the last to its own language. The tables also have the
readout without recalibration. A question gets its confidence from a fit on the questions of other
folds. The folds hold the same questions in all languages and runs. A fit is left out if there is
no language or no question to fit on.

The rows are those of metrics.csv and summary.csv, with the method and the languages of the fit.
The intervals are computed like theirs. They cover the choice of the evaluated questions, and
take the fits as fixed.

A third table has the temperatures themselves, fitted on all questions: of each language, of all
high-resource languages together, and of the reference language. Their intervals refit in each
replicate. They are plain percentile intervals. At level 0.95 those of simulated benchmarks hold the
true temperature in 92 to 95 % with 100 or 1,000 questions, and in 87 to 92 % with 20. Recentred
intervals would hold it in 74 % with 20 questions and in 86 % with 100 if the scores say little,
since then many replicates are at an end of the range (`tests/unit/metrics/test_temperatures.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import program
from multical.labels import level_of
from multical.metrics import bootstrap as bootstraps
from multical.metrics import recalibration
from multical.metrics.readouts import Readout, option_scores
from multical.metrics.recalibration import METHODS, Answers, Ints
from multical.metrics.resampling import Sample
from multical.metrics.temperatures import fit_temperatures
from multical.stats import record_files
from multical.stats.blocks import RUN, Block, recorded
from multical.stats.estimates import (
    BY_LANGUAGE,
    INTERVAL,
    SUMMARY,
    bootstrap,
    drawn,
    measured,
    metric_rows,
    summary_rows,
)
from multical.stats.params import RecalibrationJob

FIT = ["method", "fit"]
#: Method and fit of a readout without recalibration
NONE = "none"
TEMPERATURES = [*RUN, "fit", "language", "resource_level", "readout", *INTERVAL, "n"]
Rows = list[dict[str, Any]]


def main() -> None:
    outputs = {
        "by_language": "by language",
        "output": "by group of languages",
        "temperatures": "temperatures by the languages that they are fitted on",
    }
    record_files.write_tables(__doc__, RecalibrationJob, outputs, compute)


def compute(
    paths: Iterable[str], params: RecalibrationJob, processes: int = 1
) -> list[pd.DataFrame]:
    """The tables of record files: by language, by group of languages, and of temperatures."""
    parts, questions = record_files.survey(paths)
    columns = [[*RUN, *FIT, *names[len(RUN) :]] for names in (BY_LANGUAGE, SUMMARY)]
    columns.append(TEMPERATURES)
    return record_files.tables(
        parts, block_rows, questions, params, processes=processes, columns=columns
    )


def block_rows(
    block: Block, questions: dict[str, list[str]], params: RecalibrationJob
) -> tuple[Rows, Rows, Rows]:
    """The rows of one run on one benchmark, for each table."""
    samples = drawn(block, bootstrap(block, questions, params))
    fold = recalibration.folds(
        questions[block.keys["benchmark"]], params.recalibration.folds, params.recalibration.seed
    )
    folds = {
        language: rows["question_id"].map(fold).to_numpy(int)
        for language, rows in block.languages.items()
    }
    by_language: Rows = []
    by_group: Rows = []
    temperatures: Rows = []
    for name in params.readouts:
        scores = recorded(block, partial(option_scores, readout=name))
        answers = {language: Answers(*arrays) for language, arrays in scores.items()}
        for method, fit, readouts in variants(answers, folds, params):
            estimates = measured(name, readouts, samples, params)
            for rows, make in ((by_language, metric_rows), (by_group, summary_rows)):
                rows += [
                    {**row, "method": method, "fit": fit} for row in make(block, estimates, params)
                ]
        temperatures += temperature_rows(block, name, answers, samples, params)
    return by_language, by_group, temperatures


def temperature_rows(
    block: Block,
    readout: str,
    answers: dict[str, Answers],
    samples: dict[str, Sample],
    params: RecalibrationJob,
) -> Iterator[dict[str, Any]]:
    """Rows by fit and language, which is `high` for the fit on all high-resource languages."""
    for fit, sources in fitted_on(list(answers), params).items():
        for source, _ in sources:
            found = fit_temperatures([answers[x] for x in source], [samples[x] for x in source])
            ends = bootstraps.interval(found[:-1], params.bootstrap.level)
            yield {
                **block.keys,
                "fit": fit,
                "language": source[0] if fit != "high" else fit,
                "resource_level": level_of(source[0], params.resource_levels),
                "readout": readout,
                **dict(zip(INTERVAL, map(float, (found[-1], *ends)), strict=True)),
                "n": sum(len(answers[language].gold) for language in source),
            }


def variants(
    answers: dict[str, Answers], folds: dict[str, Ints], params: RecalibrationJob
) -> Iterator[tuple[str, str, dict[str, Readout]]]:
    """Each method, the name of the fit, and the resulting readouts by language."""
    yield NONE, NONE, {language: unchanged.readout for language, unchanged in answers.items()}
    for method, fit in METHODS.items():
        for name, sources in fitted_on(list(answers), params).items():
            readouts = {}
            for source, targets in sources:
                pooled = recalibration.pooled([answers[language] for language in source])
                fold = np.concatenate([folds[language] for language in source])
                maps = recalibration.fitted(fit, pooled, fold, params.recalibration.folds)
                for language in targets:
                    readout = recalibration.applied(maps, answers[language], folds[language])
                    if readout is not None:
                        readouts[language] = readout
            if readouts:
                yield method, name, readouts


def fitted_on(
    languages: list[str], params: RecalibrationJob
) -> dict[str, list[tuple[list[str], list[str]]]]:
    """By name of the fit, pairs: the languages to fit on, and those to apply the fit to."""
    reference = [language for language in languages if language == params.reference_language]
    high = [x for x in languages if level_of(x, params.resource_levels) == "high"]
    return {
        "reference": [(reference, languages)] if reference else [],
        "high": [(high, languages)] if high else [],
        "own": [([language], [language]) for language in languages],
    }


if __name__ == "__main__":
    program(main)
