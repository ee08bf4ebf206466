"""Compute metrics of recalibrated confidences: does what is fitted in one language serve others?

Each method (temperature scaling, Platt scaling,
isotonic regression) is fitted on the reference language alone, on all high-resource languages
together, and on each language itself, and applied to every language; beside them is the
readout as it is. A question's confidence comes from a fit on the questions of other folds,
which are the same questions in all languages and runs. Where there is no such language, or no
question to fit on, the fit is left out.

The rows are those of metrics.csv and summary.csv, with the method and what it was fitted on.
Intervals are theirs too: of the questions that are measured, for the fits as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import program
from multical.metrics import recalibration
from multical.metrics.readouts import Readout, option_scores
from multical.metrics.recalibration import METHODS, Answers, Ints
from multical.stats import record_files
from multical.stats.blocks import RUN, Block, recorded
from multical.stats.estimates import (
    BY_LANGUAGE,
    SUMMARY,
    bootstrap,
    drawn,
    measured,
    metric_rows,
    summary_rows,
)
from multical.stats.params import RecalibrationJob

FIT = ["method", "fit"]
#: Not recalibrated
NONE = "none"
Rows = list[dict[str, Any]]


def main() -> None:
    outputs = {"by_language": "by language", "output": "by group of languages"}
    record_files.write_tables(__doc__, RecalibrationJob, outputs, compute)


def compute(
    paths: Iterable[str], params: RecalibrationJob, processes: int = 1
) -> list[pd.DataFrame]:
    """The two tables of record files: by language, and by group of languages."""
    parts, questions = record_files.survey(paths, params.resource_levels)
    columns = [[*RUN, *FIT, *names[len(RUN) :]] for names in (BY_LANGUAGE, SUMMARY)]
    return record_files.tables(
        parts, block_rows, questions, params, processes=processes, columns=columns
    )


def block_rows(
    block: Block, questions: dict[str, list[str]], params: RecalibrationJob
) -> tuple[Rows, Rows]:
    """Both tables' rows of one run on one benchmark."""
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
    for name in params.readouts:
        scores = recorded(block, partial(option_scores, readout=name))
        answers = {language: Answers(*own) for language, own in scores.items()}
        for method, fit, readouts in variants(answers, folds, params):
            estimates = measured(name, readouts, samples, params)
            for rows, make in ((by_language, metric_rows), (by_group, summary_rows)):
                made = make(block, estimates, params)
                rows += [{**row, "method": method, "fit": fit} for row in made]
    return by_language, by_group


def variants(
    answers: dict[str, Answers], folds: dict[str, Ints], params: RecalibrationJob
) -> Iterator[tuple[str, str, dict[str, Readout]]]:
    """Method, what it is fitted on, and the readouts of all languages that it gives."""
    yield NONE, NONE, {language: own.readout for language, own in answers.items()}
    for method, fit in METHODS.items():
        for name, sources in fitted_on(list(answers), params).items():
            found = {}
            for source, languages in sources:
                learnt = recalibration.pooled([answers[language] for language in source])
                fold = np.concatenate([folds[language] for language in source])
                maps = recalibration.fitted(fit, learnt, fold, params.recalibration.folds)
                for language in languages:
                    made = recalibration.applied(maps, answers[language], folds[language])
                    if made is not None:
                        found[language] = made
            if found:
                yield method, name, found


def fitted_on(
    languages: list[str], params: RecalibrationJob
) -> dict[str, list[tuple[list[str], list[str]]]]:
    """By name of the fit, the languages that are learnt from and those that it is applied to."""
    reference = [one for one in languages if one == params.reference_language]
    high = [one for one in languages if params.resource_levels[one] == "high"]
    return {
        "reference": [(reference, languages)] if reference else [],
        "high": [(high, languages)] if high else [],
        "own": [([language], [language]) for language in languages],
    }


if __name__ == "__main__":
    program(main)
