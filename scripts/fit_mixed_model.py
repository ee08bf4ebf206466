"""Fit what SFT and smoothing change, by resource level, in mixed models over languages.

The comparisons are those of compute_effects.py. If there are several seeds, their mean is fitted.
There is a model for each comparison, readout and metric, with fixed effects of condition x
resource level, and a random intercept and effect (slope) for each language (statsmodels' MixedLM,
by REML). It is fitted to means in paired blocks of questions (`mixed.paired`). The languages are
the sample, and the questions are taken as fixed. compute_effects.py takes the questions as the
sample, and its values by resource level are the same.

--effects has a row for each level, and for its difference to the first. p-values are corrected
for all models of a metric, readout and level. --models has a row for each model: whether it
converged (else its effects have no p), problems and warnings, the spread of languages, and
diagnostics. A model that cannot be fitted has no estimates, and the column problem says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from multical.errors import program
from multical.metrics.bootstrap import Bootstrap
from multical.stats import blocks, comparisons, mixed, record_files
from multical.stats.blocks import Block
from multical.stats.comparisons import COMPARISON, Comparison, Run
from multical.stats.mixed import Cell, Fit, NotFittedError
from multical.stats.params import MixedModels

KEYS = [*COMPARISON, "readout", "metric"]
EFFECTS = [*KEYS, "level", "languages", "value", "ci_low", "ci_high", "se", "df", "d_av", "p"]
MODELS = [*KEYS, "converged", "problem", "languages", "blocks", "df", "log_likelihood"]
MODELS += ["sd_intercept", "sd_effect", "correlation", "sd_residual", "p_normal_languages"]
MODELS += ["p_normal_blocks", "p_equal_spread", "outlier", "outlier_sd"]


def main() -> None:
    outputs = {"effects": "by resource level", "models": "by model"}
    record_files.write_tables(__doc__, MixedModels, outputs, compute)


def compute(
    paths: Iterable[str], params: MixedModels, processes: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of record files: effects by level, and models."""
    parts, questions = record_files.survey(paths, params.resource_levels)
    runs = record_files.each(parts, blocked, questions, params, processes=processes)
    effects: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    todo = [
        (comparison, reading)
        for comparison in comparisons.comparisons(runs)
        for reading in comparison.pairs[0][1].estimates
    ]  # fmt: skip
    for comparison, reading in tqdm(todo, unit="model", desc="mixed models"):
        keys = comparison.keys | dict(zip(("readout", "metric"), reading, strict=True))
        fitted = fit(comparison, reading, params)
        effects += [keys | with_interval(term, params.level) for term in fitted.terms]
        models.append(keys | fitted.about)
    table = pd.DataFrame(effects, columns=EFFECTS)
    return (
        comparisons.corrected(table, ["level", "readout", "metric"], ["p"]),
        pd.DataFrame(models, columns=MODELS),
    )


def blocked(block: Block, questions: dict[str, list[str]], params: MixedModels) -> Run:
    """A run on a benchmark, with its means in blocks of questions."""
    cells: dict[tuple[str, str], dict[str, Cell]] = {}
    ids = questions[block.keys["benchmark"]]
    places = Bootstrap(ids, 0, 0)
    order = np.random.default_rng(params.seed).permutation(len(ids))
    orders = {
        language: order[places.sample(rows["question_id"]).places]
        for language, rows in block.languages.items()
    }
    for name in params.readouts:
        for language, readout in blocks.readings(block, name).items():
            for metric in params.metrics:
                if mixed.applies(readout, metric):
                    values = mixed.per_question(readout, metric, params.bins)
                    by_language = cells.setdefault((name, metric), {})
                    by_language[language] = mixed.cell(values, orders[language])
    return Run(block.keys, comparisons.question_digests(block), cells)


def fit(comparison: Comparison, reading: tuple[str, str], params: MixedModels) -> Fit:
    """The model of a comparison, or the reason why there is none."""
    sides = [
        [run.estimates.get(reading, {}) for run in runs]
        for runs in zip(*comparison.pairs, strict=True)
    ]  # before and after: the cells of each run, by language
    languages = [x for x in sides[0][0] if all(x in cells for side in sides for cells in side)]
    levels = [params.resource_levels[language] for language in languages]
    try:
        before, after = (
            [mixed.over_seeds([cells[x] for cells in side]) for x in languages] for side in sides
        )
        fitted = mixed.fit(mixed.paired(before, after), levels)
    except NotFittedError as reason:
        terms = [{"level": level, "languages": n} for level, n in mixed.counted(levels).items()]
        about = {"converged": False, "problem": str(reason), "languages": len(languages)}
        return Fit(terms, about)
    return Fit(fitted.terms, fitted.about | {"outlier": languages[fitted.about["outlier"]]})


def with_interval(term: dict[str, Any], level: float) -> dict[str, Any]:
    """The term, with the ends of its interval if it was fitted."""
    if "se" not in term:
        return term
    half = float(stats.t.ppf((1 + level) / 2, term["df"])) * term["se"]
    return term | {"ci_low": term["value"] - half, "ci_high": term["value"] + half}


if __name__ == "__main__":
    program(main)
