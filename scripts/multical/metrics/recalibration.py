"""Recalibration: confidences changed by a fit on the answers to other questions.

A method is fitted on answers whose right options are known. It then gives the answers to other
questions new confidences, but never changes the answers. `METHODS` names the methods. For an
evaluation, the questions are cut into folds, the same in all languages. Each question gets its
confidence from a fit that saw no question of its fold in any language.
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

#: Range of temperatures: if all answers are right, the likelihood has no maximum
COLDEST, HOTTEST = 0.01, 100.0
#: Confidences are clipped to this distance from 0 and 1 before their logit is taken
EDGE = 1e-6


@dataclass(frozen=True)
class Answers:
    """Answers to n questions: option scores (n, k) in nats, and right options (n,).

    Scores are NaN beyond a question's own options.
    """

    scores: Floats
    gold: NDArray[np.int64]

    def of(self, rows: NDArray[Any]) -> Answers:
        """The rows that an index or a mask selects."""
        return Answers(self.scores[rows], self.gold[rows])

    @cached_property
    def readout(self) -> Readout:
        """The softmax of the scores."""
        return from_scores(self.scores, self.gold)


#: A fitted method: turns answers into a readout with new confidences
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
    divisor = fit_temperature(answers)
    return lambda other: from_scores(other.scores / divisor, other.gold)


def fit_temperature(answers: Answers) -> float:
    """The temperature T that minimises the negative log-likelihood of the right options.

    The derivative of that loss by 1 / T is the mean of the expected score minus the score of the
    right option, and never decreases. If its sign is the same at both ends of the range, T is
    `COLDEST` or `HOTTEST`. If the scores of no question differ, T is 1.
    """
    slopes = nll_slopes(answers)

    def slope(log_temperature: float) -> float:
        return float(slopes(np.exp(log_temperature)).mean())

    coldest, hottest = np.log([COLDEST, HOTTEST])
    if (np.nanmin(answers.scores, axis=1) == np.nanmax(answers.scores, axis=1)).all():
        return 1.0
    if slope(coldest) <= 0:
        return COLDEST
    if slope(hottest) >= 0:
        return HOTTEST
    return float(np.exp(optimize.brentq(slope, coldest, hottest, xtol=1e-10)))


def nll_slopes(answers: Answers) -> Callable[[float], Floats]:
    """The (n,) derivatives by 1 / T of each answer's loss, as a function of T.

    A derivative is the expected score minus the score of the right option.
    """
    present = ~np.isnan(answers.scores)
    below = np.where(
        present, answers.scores - np.nanmax(answers.scores, axis=1, keepdims=True), 0.0
    )
    right = below[np.arange(len(below)), answers.gold]

    def slopes(divisor: float) -> Floats:
        weights = np.exp(below / divisor) * present
        return np.asarray((weights * below).sum(axis=1) / weights.sum(axis=1) - right)

    return slopes


def platt(answers: Answers) -> Map:
    """Platt scaling (1999) of the logit of the confidence: sigmoid(a logit(c) + b).

    Platt's scores are the margins of support vector machines. Here they are the logits of the
    probabilities, so that a = 1 and b = 0 change nothing (Kull et al. 2017). The fit is that of
    `correctness.fit_platt`, with Platt's targets. A negative a would reverse the order of
    confidences. In that case all confidences become the share of right answers, smoothed as
    (r + 1) / (n + 2).
    """
    right = answers.readout.correct
    fit = fit_platt(logits(answers.readout.confidence), right)
    if fit.a < 0:
        share = (right.sum() + 1) / (len(right) + 2)
        return lambda other: confident(other, np.full(len(other.gold), share))
    return lambda other: confident(other, fit(logits(other.readout.confidence)))


def isotonic(answers: Answers) -> Map:
    """Isotonic regression (Zadrozny and Elkan 2002) of correctness on confidence.

    It is linear between the confidences of the fit, and constant beyond them.
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
    """Logits of confidences, which are clipped to [EDGE, 1 - EDGE]."""
    return np.asarray(special.logit(np.clip(confidence, EDGE, 1 - EDGE)))


def confident(answers: Answers, confidence: Floats) -> Readout:
    """The same answers with other confidences, without a distribution over the options."""
    return Readout(confidence, answers.readout.correct, None, None, True)


def folds(questions: Iterable[str], number: int, seed: int) -> pd.Series:
    """The fold of each question by its id: 0 to number - 1, with sizes that differ by at most 1.

    It depends only on the set of questions, the number and the seed.
    """
    if number < 2:
        raise InputError(f"recalibration: {number} folds, expected at least 2")
    ids = np.unique(np.asarray(list(questions), dtype=str))
    return pd.Series(np.random.default_rng(seed).permutation(len(ids)) % number, index=ids)


def fitted(
    fit: Callable[[Answers], Map], answers: Answers, fold: Ints, number: int
) -> list[Map | None]:
    """For each of `number` folds, the method fitted on all other folds; None if they are empty.

    `fold` (n,) is the fold of each answer.
    """
    others = [np.flatnonzero(fold != held_out) for held_out in range(number)]
    return [fit(answers.of(rows)) if len(rows) else None for rows in others]


def applied(maps: Sequence[Map | None], answers: Answers, fold: Ints) -> Readout | None:
    """Answers with the confidences from their own fold's map; None if that map is missing.

    `fold` (n,) is the fold of each answer.
    """
    rows, readouts = [], []
    for number, change in enumerate(maps):
        inside = np.flatnonzero(fold == number)
        if len(inside):
            if change is None:
                return None
            rows.append(inside)
            readouts.append(change(answers.of(inside)))
    return _joined(readouts, np.argsort(np.concatenate(rows)))


def _joined(readouts: Sequence[Readout], order: Ints) -> Readout:
    """The rows of several readouts, reordered."""

    def column(name: str) -> Any:
        values = [getattr(readout, name) for readout in readouts]
        return None if values[0] is None else np.concatenate(values)[order]

    return Readout(
        column("confidence"), column("correct"), column("probabilities"), column("gold"), True
    )
