"""Claims of paper 2, tested on its tables, and on its records if a test simulates answers.

The intervals of means over models come from a bootstrap over models, since the claims are about
models. The interval of a correlation is Fisher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from multical import records
from multical.claims import judge
from multical.claims.judge import Measurement, Test, need
from multical.claims.params import AnswerClaims
from multical.claims.schema import AbstentionGain, Auroc, CalibrationError, Correlation
from multical.errors import InputError
from multical.figures import msp_tables
from multical.metrics import definitions
from multical.metrics.params import Bootstrap
from multical.metrics.readouts import Floats

#: How far values of the table may be from those computed from the records
ROUNDING = 1e-9
#: Paper 2's calibration error, except for the number of bins
DEFINITION: dict[str, Any] = {"scheme": "equal_mass", "closed": False}


def calibration_error(
    part: CalibrationError, path: str, record_paths: Sequence[str], params: AnswerClaims
) -> Measurement:
    """The error of each model, tested against a calibrated model with as many answers.

    p is the share of simulated errors that are at least as large (consistency resampling,
    Broecker and Smith 2007). It allows for the error that this number of answers has by chance.
    """
    bootstrap = params.bootstrap
    need(bootstrap.replicates, "bootstrap.replicates of the study is 0")
    table = _rows(
        msp_tables.read_table(path, ["dataset", "model", "calibration_error"]),
        dataset=msp_tables.ALL,
    )
    errors = dict(zip(table["model"], table["calibration_error"], strict=True))
    pooled: dict[str, list[pd.DataFrame]] = {}
    frame = records.read(list(record_paths))
    for keys, rows in msp_tables.answer_groups(frame, params, "msp", by_prompt=False):
        pooled.setdefault(keys["model"], []).append(rows)
    tests = []
    for place, (model, parts) in enumerate(pooled.items()):
        readout = msp_tables.readout(pd.concat(parts), "msp")
        error = definitions.calibration_error(
            readout.confidence, readout.correct, bins=params.bins, weighting="uniform",
            **DEFINITION,
        )[0]  # fmt: skip
        need(not np.isnan(error), f"the calibration error of {model} is not defined")
        if not abs(errors.get(model, np.nan) - error) <= ROUNDING:
            raise InputError(
                f"{path}: {model}: found a calibration error of {errors.get(model)}, expected "
                f"{error} as in the records"
            )
        generator = np.random.default_rng([bootstrap.seed, place])
        chance = calibrated_errors(readout.confidence, params.bins, bootstrap.replicates, generator)
        tests.append(Test(model, float(error), judge.tail(chance, float(error), "below")))
    description = "mean calibration error of the MSP over {} models"
    measurement = _over_models(description, tests, [test.name for test in tests], bootstrap)
    return replace(measurement, least=judge.least_tail(bootstrap.replicates))


def calibrated_errors(
    confidence: Floats, bins: int, replicates: int, generator: np.random.Generator
) -> Floats:
    """(B,) calibration errors of answers that are right with their confidence as probability."""
    mass, sure, _ = definitions.bin_sums(
        confidence, np.zeros(len(confidence)), bins=bins, **DEFINITION
    )
    filled = mass[0] > 0
    sizes, sums = mass[0][filled], sure[0][filled]
    # Sorted, the answers of a bin are neighbours. float32 is precise enough for the draws.
    ordered = np.sort(confidence)[: int(sizes.sum())].astype(np.float32)
    ends = np.cumsum(sizes)[:-1].astype(int)
    errors = np.empty(replicates)
    for place in range(replicates):
        right = generator.random(len(ordered), dtype=np.float32) < ordered
        hits = np.array([np.count_nonzero(part) for part in np.split(right, ends)])
        errors[place] = (np.abs(hits - sums) / sizes).mean()
    return errors


def auroc(part: Auroc, path: str, params: AnswerClaims) -> Measurement:
    """AUROC of each cell of the models that are accurate enough, and the mean of all."""
    columns = ["dataset", "model", "prompt", "method", "accuracy", "auroc", "p"]
    cells = _rows(msp_tables.read_table(path, columns), method=part.method)
    accuracy = cells.groupby("model", sort=False)["accuracy"].mean()
    models = list(accuracy.index[accuracy >= part.min_accuracy])
    need(models, f"no model has an accuracy of {part.min_accuracy:g} or more")
    cells = cells[cells["model"].isin(models)]
    tests = []
    for row in cells.to_dict("records"):
        name = f"{row['model']}, {row['dataset']}, {row['prompt']}"
        defined = not np.isnan([row["auroc"], row["p"]]).any()
        need(defined, f"the AUROC of {name}, or its test, is not defined")
        tests.append(Test(name, float(row["auroc"]), float(row["p"])))
    description = (
        f"mean AUROC of {msp_tables.METHOD_NAMES[part.method]} over {{}} models with an accuracy "
        f"of {part.min_accuracy:g} or more"
    )
    return _over_models(description, tests, cells["model"].to_list(), params.bootstrap)


def correlation(part: Correlation, path: str, params: AnswerClaims) -> Measurement:
    """Pearson's r over the models, with Fisher's interval."""
    columns = ["dataset", "prompt", "x", "y", "r", "p", "n"]
    table = _rows(msp_tables.read_table(path, columns), dataset=msp_tables.ALL, x=part.x, y=part.y)
    table = table[table["prompt"].isna()]  # both phrasings
    need(len(table), f"no correlation of {part.x} and {part.y}")
    r, p, n = (float(table[name].iloc[0]) for name in ("r", "p", "n"))
    need(n > 3, f"{n:.0f} models, too few for a correlation with an interval")
    need(abs(r) < 1, f"the correlation of {part.x} and {part.y}, or its interval, is not defined")
    half = stats.norm.ppf((1 + params.bootstrap.level) / 2) / np.sqrt(n - 3)
    low, high = (float(np.tanh(np.arctanh(r) + side * half)) for side in (-1, 1))
    description = f"correlation of {part.x} and {part.y} over {n:.0f} models"
    return Measurement(description, r, low, high, [Test(f"{part.x}, {part.y}", r, p, low, high)])


def abstention_gain(part: AbstentionGain, path: str, params: AnswerClaims) -> Measurement:
    """Mean gain over the models. The gain of a model is its mean over the splits."""
    columns = ["dataset", "model", "k", "scheme", "method", "mean"]
    table = msp_tables.read_table(path, columns)
    rows = _rows(
        table.assign(k=table["k"].astype(str)),
        dataset=msp_tables.ALL,
        k=str(part.k),
        scheme=part.scheme,
    )
    scores = rows.pivot(index="model", columns="method", values="mean")
    setting = f"{part.scheme}, k = {part.k}"
    need({part.method, "none"} <= set(scores), f"no scores of {part.method} with {setting}")
    gains = (scores[part.method] - scores["none"]).dropna()
    need(len(gains) > 1, f"{len(gains)} models with scores, too few for a test over models")
    p = float(stats.wilcoxon(gains, alternative="greater").pvalue) if gains.any() else 1.0
    value, low, high = judge.mean_over(list(gains.index), gains.to_list(), params.bootstrap)
    method = msp_tables.METHOD_NAMES[part.method]
    description = f"mean gain in score by abstaining on {method}, {setting}"
    detail = f"gain in {(gains > 0).sum()} of {len(gains)} models"
    tests = [Test(f"{len(gains)} models, {part.scheme}", value, p, low, high)]
    least = 0.5 ** len(gains)  # p if all models gain
    return Measurement(description, value, low, high, tests, detail, least)


def _over_models(
    description: str, tests: list[Test], models: list[str], bootstrap: Bootstrap
) -> Measurement:
    """The mean of the tests' values. `models` names the model of each test."""
    mean = judge.mean_over(models, [test.value for test in tests], bootstrap)
    return Measurement(description.format(len(set(models))), *mean, tests)


def _rows(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """The rows that have the wanted values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table
