"""Claims of paper 2, tested on its tables, and on its records if a test simulates answers.

The intervals of means over models take the models as the sample, since the claims are about models.
The interval of a correlation is Fisher's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from multical import records
from multical.claims import judge
from multical.claims.judge import Measurement, Test, Variant, need
from multical.claims.params import AnswerClaims
from multical.claims.schema import AbstentionGain, Auroc, CalibrationError, Correlation
from multical.errors import InputError
from multical.figures import msp_tables
from multical.metrics import definitions
from multical.metrics.readouts import Floats

#: What a correlation may also be with
ALTERNATIVES = {
    "calibration_error_width": ("calibration_error", "calibration_error_cells"),
    "msp_auroc": ("maxlogit_auroc",),
}
#: AUROC of a confidence that says nothing
NO_EFFECT = 0.5
#: How far values of the table may be from those computed from the records
ROUNDING = 1e-9
#: Paper 2's calibration error, except for the number of bins
DEFINITION: dict[str, Any] = {"scheme": "equal_mass", "closed": False}


def calibration_error(
    part: CalibrationError,
    path: str,
    record_paths: Sequence[str],
    params: AnswerClaims,
    alpha: float,
) -> Measurement:
    """The error of each model, tested against chance and against the threshold.

    The larger p of two tests counts. One asks whether a calibrated model would have as large an
    error by chance. The other asks whether the error, less its bias, lies beyond the threshold
    (`error_test`). Both draw questions, each with all its answers (see `errors`).
    """
    bootstrap = params.bootstrap
    need(bootstrap.replicates, "the study has no bootstrap (its replicates are 0)")
    table = _rows(
        msp_tables.read_table(path, ["dataset", "model", "calibration_error"]),
        dataset=msp_tables.ALL,
    )
    known = dict(zip(table["model"], table["calibration_error"], strict=True))
    pooled: dict[str, list[pd.DataFrame]] = {}
    frame = records.read(list(record_paths))
    for keys, rows in msp_tables.answer_groups(frame, params, "msp", by_prompt=False):
        pooled.setdefault(keys["model"], []).append(rows)
    found: dict[str, tuple[float, Floats, Floats]] = {}
    for place, (model, parts) in enumerate(pooled.items()):
        rows = pd.concat(parts)
        readout = msp_tables.readout(rows, "msp")
        question = rows["benchmark"].astype(str) + "/" + msp_tables.questions(rows)
        generator = np.random.default_rng([bootstrap.seed, place])
        error, chance, drawn = errors(
            readout.confidence, readout.correct, question.to_numpy(str), params.bins,
            bootstrap.replicates, generator,
        )  # fmt: skip
        need(not np.isnan(error), f"the calibration error of {model} is not defined")
        if not abs(known.get(model, np.nan) - error) <= ROUNDING:
            raise InputError(
                f"{path}: {model}: found a calibration error of {known.get(model)}, expected "
                f"{error} as in the records"
            )
        found[model] = error, chance, drawn

    def tests(threshold: float) -> list[Test]:
        return [error_test(model, *one, threshold, alpha) for model, one in found.items()]

    description = "mean over {} models of the calibration error of the MSP, answers pooled"
    measurement = _over_models(description, tests(part.threshold), list(found), bootstrap.level)
    variants = [
        Variant(
            f"above {threshold:g} in {share:.0%} of models", measurement.value, tests(threshold),
            share,
        )
        for threshold in (0.0, 0.02, 0.05, 0.1)
        for share in (0.5, 0.8, 0.9, 1.0)
        if (threshold, share) != (part.threshold, part.share)
    ]  # fmt: skip
    return replace(measurement, least=judge.least_tail(bootstrap.replicates), variants=variants)


def error_test(
    model: str, error: float, chance: Floats, drawn: Floats, threshold: float, alpha: float
) -> Test:
    """The test of one model, from what `errors` returns.

    Replicates exceed the error on average by about as much as it is too large, and by half of that
    where gaps are small. The basic bootstrap takes that excess off once, here it goes off twice
    (`bootstrap.around_biased` says why).
    """
    unbiased = 2 * error - drawn - max(0.0, float(drawn.mean()) - error)
    p = max(
        judge.tail(chance, error, "below"),
        judge.tail(unbiased, threshold, "above") if threshold > 0 else 0.0,
    )
    against = judge.tail(drawn - drawn.mean() + error, threshold, "below") if threshold > 0 else 1.0
    least = judge.detectable(threshold, "above", float(np.std(drawn, ddof=1)), alpha)
    return Test(model, error, p, against, detectable=least)


def errors(
    confidence: Floats,
    correct: NDArray[np.bool_],
    question: NDArray[np.str_],
    bins: int,
    replicates: int,
    generator: np.random.Generator,
) -> tuple[float, Floats, Floats]:
    """The calibration error; (B,) errors that a calibrated model has by chance; (B,) replicates.

    A question's answers, such as those in several languages, are not independent. So a draw gives
    all residuals of a question one random sign (wild cluster bootstrap, Cameron, Gelbach and Miller
    2008). Their means by bin are what chance adds to the gaps of the bins. For a calibrated model
    they are the residuals from its confidences, and the gaps are 0. For a replicate they are those
    from the mean of the bin, which for G questions are too small by (G - 1) / G. The bins
    themselves are fixed.
    """
    mass, sure, right = definitions.bin_sums(confidence, correct, bins=bins, **DEFINITION)
    filled = mass[0] > 0
    if not filled.any():
        return np.nan, np.full(replicates, np.nan), np.full(replicates, np.nan)
    size, gap = mass[0][filled], (right - sure)[0][filled] / mass[0][filled]
    order = np.argsort(confidence, kind="stable")[: int(size.sum())]  # a bin's answers together
    place = np.repeat(np.arange(len(size)), size.astype(int))
    wrong = correct[order] - confidence[order]
    names, cluster = np.unique(question[order], return_inverse=True)
    null, own, answers = np.zeros((3, len(names), len(size)))
    for sums, values in ((null, wrong), (own, wrong - gap[place]), (answers, 1)):
        np.add.at(sums, (cluster, place), values)
    questions = (answers > 0).sum(axis=0)
    own *= np.sqrt(questions / np.maximum(questions - 1, 1))
    signs = generator.integers(0, 2, (replicates, len(names)), dtype=np.int8) * 2.0 - 1
    by_chance, noise = signs @ null / size, signs @ own / size
    return (
        float(np.abs(gap).mean()),
        np.abs(by_chance).mean(axis=1),
        np.abs(gap + noise).mean(axis=1),
    )


def auroc(part: Auroc, path: str, params: AnswerClaims, alpha: float) -> Measurement:
    """AUROC of each cell of the models that are accurate enough, and the mean of all."""
    columns = ["dataset", "model", "prompt", "method", "n", "accuracy", "auroc", "p"]
    cells = _rows(msp_tables.read_table(path, columns), method=part.method)
    accuracy = cells.groupby("model", sort=False)["accuracy"].mean()

    def of_models(least: float) -> pd.DataFrame:
        return cells[cells["model"].isin(accuracy.index[accuracy >= least])]

    chosen = of_models(part.min_accuracy)
    need(len(chosen), f"no model has an accuracy of {part.min_accuracy:g} or more")
    tests = [_auroc_test(row, alpha) for row in chosen.to_dict("records")]
    description = (
        f"mean AUROC of {msp_tables.METHOD_NAMES[part.method]} over {{}} models with an accuracy "
        f"of {part.min_accuracy:g} or more"
    )
    variants = []
    for least in (0.0, 0.4, 0.5, 0.6):
        rows = of_models(least).to_dict("records")
        try:
            others = [_auroc_test(row, alpha) for row in rows]
        except judge.NotTestableError:
            continue  # a model that is always wrong, say
        for share in (0.5, 0.8, 0.9, 1.0) if rows else ():
            if (least, share) != (part.min_accuracy, part.share):
                name = f"accuracy of {least:g} or more, {share:.0%} of the tests"
                value = float(np.mean([test.value for test in others]))
                variants.append(Variant(name, value, others, share))
    measurement = _over_models(
        description, tests, chosen["model"].to_list(), params.bootstrap.level
    )
    return replace(measurement, variants=variants)


def _auroc_test(row: Mapping[Any, Any], alpha: float) -> Test:
    """Mann and Whitney's test of a cell, one-sided in both directions from its two-sided p."""
    name = f"{row['model']}, {row['dataset']}, {row['prompt']}"
    defined = not np.isnan([row["auroc"], row["p"]]).any()
    need(defined, f"the AUROC of {name}, or its test, is not defined")
    value, n, right = float(row["auroc"]), row["n"], row["n"] * row["accuracy"]
    p, against = row["p"] / 2, 1 - row["p"] / 2
    if value < NO_EFFECT:
        p, against = against, p
    se = np.sqrt((n + 1) / (12 * right * (n - right)))  # of an AUROC of 0.5 without ties
    least = judge.detectable(NO_EFFECT, "above", float(se), alpha)
    return Test(name, value, float(p), float(against), detectable=least)


def correlation(part: Correlation, path: str, params: AnswerClaims, alpha: float) -> Measurement:
    """Pearson's r over the models, with Fisher's interval, tested against the threshold.

    That a correlation is absent is tested as equivalence: by the larger p of two tests, that r lies
    below the threshold and above its negative (Schuirmann 1987).
    """
    columns = ["dataset", "prompt", "x", "y", "r", "n"]
    table = _rows(msp_tables.read_table(path, columns), dataset=msp_tables.ALL, x=part.x)
    table = table[table["prompt"].isna()]  # both phrasings
    measurement = _correlation(part, table, params.bootstrap.level, alpha)
    others = [name for name in ALTERNATIVES.get(part.y, ()) if name in set(table["y"])]
    variants = []
    for name in others:
        other = part.model_copy(update={"y": name})
        try:
            tests = _correlation(other, table, params.bootstrap.level, alpha).tests
        except judge.NotTestableError:
            continue  # it is not defined
        variants.append(Variant(_pair(other), tests[0].value, tests, part.share))
    return replace(measurement, variants=variants)


def _correlation(part: Correlation, table: pd.DataFrame, level: float, alpha: float) -> Measurement:
    table = _rows(table, y=part.y)
    need(len(table), f"no correlation of {_pair(part)}")
    r, n = (float(table[name].iloc[0]) for name in ("r", "n"))
    return correlation_test(part, r, n, level, alpha)


def _pair(part: Correlation) -> str:
    """What is correlated."""
    return " and ".join(msp_tables.QUANTITIES[name] for name in (part.x, part.y))


def correlation_test(
    part: Correlation, r: float, n: float, level: float, alpha: float
) -> Measurement:
    """Fisher's interval and test of a correlation over n models."""
    need(n > 3, f"{n:.0f} models, too few for a correlation with an interval")
    need(abs(r) < 1, f"the correlation of {_pair(part)}, or its interval, is not defined")
    se = 1 / np.sqrt(n - 3)
    half = stats.norm.ppf((1 + level) / 2) * se
    low, high = (float(np.tanh(np.arctanh(r) + side * half)) for side in (-1, 1))
    z, limit = np.arctanh(r), np.arctanh(part.threshold)
    above, below = (float(stats.norm.sf((z - edge) / se)) for edge in (limit, -limit))
    if part.direction == "absent":
        p, against = max(1 - above, below), min(1.0, 2 * min(above, 1 - below))
        # what could be shown if r were 0
        shown = (stats.norm.ppf(1 - alpha) + stats.norm.ppf((1 + judge.POWER) / 2)) * se
        least = float(stats.norm.sf(limit / se))
    else:
        p, against = (above, 1 - above) if part.direction == "above" else (1 - above, above)
        shown, least = judge.detectable(limit, part.direction, se, alpha), 0.0
    description = f"correlation of {_pair(part)} over {n:.0f} models"
    test = Test(_pair(part), r, p, against, low, high, float(np.tanh(shown)))
    return Measurement(description, r, low, high, [test], least=least)


def abstention_gain(
    part: AbstentionGain, path: str, params: AnswerClaims, alpha: float
) -> Measurement:
    """Mean gain over the models. The gain of a model is its mean over the splits.

    `msp_tables.gains` says what it is compared with.
    """
    columns = ["dataset", "model", "k", "scheme", "method", "mean"]
    scores = msp_tables.scores(msp_tables.read_table(path, columns), part.scheme, part.k)
    method = msp_tables.METHOD_NAMES[part.method]
    need(part.scheme in params.schemes, f"the study has no score called {part.scheme}")
    costs = f"where a wrong answer costs {params.schemes[part.scheme]:g}"
    labelled = f"with thresholds chosen on {part.k} labelled questions of each data set"
    found = {part.method, "none"} <= set(scores)
    need(found, f"no scores of abstaining on {method} {costs}, {labelled}")
    gains = msp_tables.gains(scores, part.method).dropna()
    need(len(gains) > 1, f"{len(gains)} models with scores, too few for a test over models")
    p, against = gain_test(gains.to_numpy(), part.threshold)
    value, low, high = judge.mean_over(list(gains.index), gains.to_list(), params.bootstrap.level)
    description = (
        f"mean gain in score by abstaining on {method}, over the better of never and always "
        f"abstaining, {costs}, {labelled}"
    )
    detail = f"gain in {(gains > 0).sum()} of {len(gains)} models"
    # Wilcoxon's test has 3 / pi of the efficiency of the t-test, for normal gains
    se = float(gains.std() / np.sqrt(len(gains) * 3 / np.pi))
    limit = judge.detectable(part.threshold, "above", se, alpha)
    name = f"{len(gains)} models, {costs}"
    tests = [Test(name, value, p, against, low, high, limit)]
    least = 0.5 ** len(gains)  # p if all models gain
    return Measurement(description, value, low, high, tests, detail, least)


def gain_test(gains: Floats, threshold: float = 0.0) -> tuple[float, float]:
    """Wilcoxon's signed-rank test over models: p that they lie above a threshold, and below."""
    beyond = gains - threshold
    if not beyond.any():
        return 1.0, 1.0
    above, below = (
        float(stats.wilcoxon(beyond, alternative=side).pvalue) for side in ("greater", "less")
    )
    return above, below


def _over_models(
    description: str, tests: list[Test], models: list[str], level: float
) -> Measurement:
    """The mean of the tests' values. `models` names the model of each test."""
    mean = judge.mean_over(models, [test.value for test in tests], level)
    return Measurement(description.format(len(set(models))), *mean, tests)


def _rows(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """The rows that have the wanted values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table
