"""Recalibration: confidences changed by what the answers to other questions teach.

A method is fitted on answers whose right options are known, and gives answers to further
questions with new confidences; which option is answered never changes. `METHODS` names them.
To be judged, questions are cut into folds, the same in all languages, and each question is
given the confidence of the fit that saw no question of its fold in any language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special
from sklearn.isotonic import IsotonicRegression

from multical.errors import InputError
from multical.metrics.correctness import fit_platt
from multical.metrics.readouts import Floats, Readout, from_scores

Ints = NDArray[np.integer[Any]]

#: Temperatures are looked for between these; answers that are all right have no least one
COLDEST, HOTTEST = 0.01, 100.0
#: Confidences are kept so far from 0 and 1 where their logit is taken
EDGE = 1e-6


@dataclass(frozen=True)
class Answers:
    """Scores in nats of the options of n questions (n, k), NaN beyond their own; gold (n,)."""

    scores: Floats
    gold: NDArray[np.int64]

    def of(self, rows: NDArray[Any]) -> Answers:
        """Some of the rows, by index or mask."""
        return Answers(self.scores[rows], self.gold[rows])

    @cached_property
    def readout(self) -> Readout:
        """The softmax of the scores."""
        return from_scores(self.scores, self.gold)


#: What has been fitted: answers with new confidences
Map = Callable[[Answers], Readout]


def pooled(parts: Sequence[Answers]) -> Answers:
    """The answers of several languages as one."""
    shapes = np.array([part.scores.shape for part in parts])
    scores = np.full((shapes[:, 0].sum(), shapes[:, 1].max()), np.nan)
    start = 0
    for part in parts:
        rows, options = part.scores.shape
        scores[start : start + rows, :options] = part.scores
        start += rows
    return Answers(scores, np.concatenate([part.gold for part in parts]))


def temperature(answers: Answers) -> Map:
    """Temperature scaling (Guo et al. 2017): softmax of the scores divided by one number."""
    found = fit_temperature(answers)
    return lambda other: from_scores(other.scores / found, other.gold)


def fit_temperature(answers: Answers) -> float:
    """The temperature of the least negative log-likelihood of the right options.

    The slope of that loss over 1 / T is the mean of the expected score less the score of the
    right option, and never falls. Where it has one sign, the temperature is `COLDEST` or
    `HOTTEST`; where no question's scores differ it is 1.
    """
    has = ~np.isnan(answers.scores)
    below = np.where(has, answers.scores - np.nanmax(answers.scores, axis=1, keepdims=True), 0.0)
    right = below[np.arange(len(below)), answers.gold].mean()

    def slope(log_temperature: float) -> float:
        weights = np.exp(below * np.exp(-log_temperature)) * has
        expected = (weights * below).sum(axis=1) / weights.sum(axis=1)
        return float(expected.mean() - right)

    coldest, hottest = np.log([COLDEST, HOTTEST])
    if not below.any():
        return 1.0
    if slope(coldest) <= 0:
        return COLDEST
    if slope(hottest) >= 0:
        return HOTTEST
    return float(np.exp(optimize.brentq(slope, coldest, hottest, xtol=1e-10)))


def platt(answers: Answers) -> Map:
    """Platt scaling (1999) of the logit of the confidence: sigmoid(a logit(c) + b).

    Platt's scores are margins of support vector machines; of a probability the logit stands in
    for them, so that a = 1 and b = 0 change nothing (Kull et al. 2017). The fit is that of
    `correctness.fit_platt`, with Platt's targets. Should a be negative, which would make the
    surer answer the less confident, the confidence is the share of right answers.
    """
    right = answers.readout.correct
    fit = fit_platt(logits(answers.readout.confidence), right)
    if fit.a < 0:
        share = (right.sum() + 1) / (len(right) + 2)
        return lambda other: confident(other, np.full(len(other.gold), share))
    return lambda other: confident(other, fit(logits(other.readout.confidence)))


def isotonic(answers: Answers) -> Map:
    """Isotonic regression (Zadrozny and Elkan 2002) of being right on the confidence.

    Between confidences that were seen it is linear, and constant beyond them.
    """
    fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    fit.fit(answers.readout.confidence, answers.readout.correct.astype(float))
    return lambda other: confident(other, fit.predict(other.readout.confidence))


#: Every method by its name in the results.
METHODS: dict[str, Callable[[Answers], Map]] = {
    "temperature": temperature,
    "platt": platt,
    "isotonic": isotonic,
}


def logits(confidence: Floats) -> Floats:
    """The logit of confidences, which are kept `EDGE` away from 0 and 1."""
    return np.asarray(special.logit(np.clip(confidence, EDGE, 1 - EDGE)))


def confident(answers: Answers, confidence: Floats) -> Readout:
    """The same answers with other confidences, of which there is no distribution."""
    return Readout(confidence, answers.readout.correct, None, None, True)


def folds(questions: Iterable[str], number: int, seed: int) -> pd.Series:
    """The fold of each question by its id: 0 to number - 1, of sizes that differ by 1 at most.

    They depend on the set of questions, the number and the seed alone.
    """
    if number < 2:
        raise InputError(f"recalibration: {number} folds, expected at least 2")
    ids = np.unique(np.asarray(list(questions), dtype=str))
    return pd.Series(np.random.default_rng(seed).permutation(len(ids)) % number, index=ids)


def fitted(
    fit: Callable[[Answers], Map], answers: Answers, fold: Ints, number: int
) -> list[Map | None]:
    """For each fold what is fitted on the answers of all others; None where there are none."""
    others = [np.flatnonzero(fold != own) for own in range(number)]
    return [fit(answers.of(rows)) if len(rows) else None for rows in others]


def applied(maps: Sequence[Map | None], answers: Answers, fold: Ints) -> Readout | None:
    """Answers with the confidences of their own fold's fit; None where one is missing."""
    rows, parts = [], []
    for own, change in enumerate(maps):
        inside = np.flatnonzero(fold == own)
        if len(inside):
            if change is None:
                return None
            rows.append(inside)
            parts.append(change(answers.of(inside)))
    return _joined(parts, np.argsort(np.concatenate(rows)))


def _joined(parts: Sequence[Readout], order: Ints) -> Readout:
    """The rows of several readouts, in another order."""

    def column(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)[order]

    return Readout(
        column("confidence"), column("correct"), column("probabilities"), column("gold"), True
    )
