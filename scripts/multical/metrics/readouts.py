"""Readouts: the confidences that can be read off the same records.

Each readout is a pure function of a records frame and says, row by row, which
answer is given, with which confidence, and whether it is right. `READOUTS` names
them all. The answer is the option of the highest score, the first one among equals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multical.errors import InputError
from multical.records import flat

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Readout:
    """Answers and confidences of n questions with at most k options.

    Raises `InputError` when made of no rows, of values that are not finite, or of
    "probabilities" outside [0, 1].
    """

    #: (n,) confidence in the answer given; the higher, the surer
    confidence: Floats
    #: (n,) was that answer right
    correct: NDArray[np.bool_]
    #: (n, k) distribution over a question's own options, NaN beyond them; None if there is none
    probabilities: Floats | None
    #: (n,) index of the right option; None where the source does not tell
    gold: NDArray[np.int64] | None
    #: is `confidence` a probability, so that it can be compared with a frequency
    is_probability: bool

    def __post_init__(self) -> None:
        check_confidence(self.confidence, self.correct, self.is_probability)
        if (self.probabilities is None) != (self.gold is None):
            raise InputError("readout: a distribution and the right options belong together")


def check_confidence(confidence: Floats, correct: NDArray[Any], probability: bool = True) -> None:
    """Raise `InputError` unless both are (n,), n > 0, without NaN, and in [0, 1] if asked."""
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise InputError(
            f"confidence: shape {confidence.shape}, expected one value per row of {correct.shape}"
        )
    if not len(confidence):
        raise InputError("confidence: no rows, expected at least one")
    bad = ~np.isfinite(confidence)
    expected = "a finite number"
    if probability:
        bad |= (confidence < 0) | (confidence > 1)
        expected = "a probability in [0, 1]"
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"confidence: row {row}: {confidence[row]}, expected {expected}")


def padded(lists: pd.Series) -> Floats:
    """(n, k) float64 of a per-option column, k the longest list; NaN beyond a row's own options."""
    values, lengths = flat(lists)
    table = np.full((len(lengths), lengths.max()), np.nan)
    table[np.arange(table.shape[1]) < lengths[:, None]] = values
    return table


def softmax(scores: Floats) -> Floats:
    """Softmax of each row of (n, k) scores in nats, NaN staying NaN; safe from overflow."""
    unnormalised = np.exp(scores - np.nanmax(scores, axis=1, keepdims=True))
    return unnormalised / np.nansum(unnormalised, axis=1, keepdims=True)


def from_scores(scores: Floats, gold: NDArray[np.int64]) -> Readout:
    """The softmax of (n, k) scores in nats, NaN beyond a question's own options."""
    probabilities, correct = softmax(scores), np.nanargmax(scores, axis=1) == gold
    return Readout(np.nanmax(probabilities, axis=1), correct, probabilities, gold, True)


def letter(frame: pd.DataFrame) -> Readout:
    """Softmax of the letter logits over the options."""
    return from_scores(*option_scores(frame, "letter"))


def letter_full(frame: pd.DataFrame) -> Readout:
    """Mass of the answer's letter in the full vocabulary, not renormalised over the options.

    The masses of the options sum to less than 1: there is no distribution to report.
    """
    logits = _letters(frame, "letter_full")
    total = _column(frame, "logsumexp", "letter_full").to_numpy(float)
    # Both are rounded to float32, so that a certain letter can come out above its total.
    mass = np.minimum(np.exp(logits - total[:, None]), 1.0)
    return _score(frame, logits, np.nanmax(mass, axis=1), is_probability=True)


def text_ppl(frame: pd.DataFrame) -> Readout:
    """Inverse perplexities of the option texts, normalised: softmax of their mean log-likelihood.

    The readout of paper 1: perplexities of the candidates, turned into a distribution.
    """
    return from_scores(*option_scores(frame, "text_ppl"))


def text_sum(frame: pd.DataFrame) -> Readout:
    """Softmax of the option texts' summed log-likelihoods, whatever their lengths."""
    return from_scores(*option_scores(frame, "text_sum"))


def msp(frame: pd.DataFrame) -> Readout:
    """Maximum softmax probability: as released, else that of `letter`."""
    return _released(frame, "msp", is_probability=True) or letter(frame)


def max_logit(frame: pd.DataFrame) -> Readout:
    """Maximum logit: as released, else the highest letter logit. Not a probability."""
    released = _released(frame, "max_logit", is_probability=False)
    if released:
        return released
    logits = _letters(frame, "max_logit")
    return _score(frame, logits, np.nanmax(logits, axis=1))


def margin(frame: pd.DataFrame) -> Readout:
    """Highest minus second highest probability of `letter`, as a score."""
    logits = _letters(frame, "margin")
    top = np.sort(np.nan_to_num(softmax(logits)), axis=1)
    return _score(frame, logits, top[:, -1] - top[:, -2])


def entropy(frame: pd.DataFrame) -> Readout:
    """Negative entropy (nats) of `letter`'s distribution, as a score: the higher, the surer."""
    logits = _letters(frame, "entropy")
    return _score(frame, logits, -entropies(softmax(logits)))


def entropies(probabilities: Floats) -> Floats:
    """(n,) entropy in nats of each row of (n, k) probabilities; NaN options do not count."""
    positive = np.where(probabilities > 0, probabilities, 1.0)
    return -(positive * np.log(positive)).sum(axis=1)


#: Every readout by its name in the config and in the results.
READOUTS: dict[str, Callable[[pd.DataFrame], Readout]] = {
    "letter": letter,
    "letter_full": letter_full,
    "text_ppl": text_ppl,
    "text_sum": text_sum,
    "msp": msp,
    "max_logit": max_logit,
    "margin": margin,
    "entropy": entropy,
}


#: The scores (n, k) in nats of the options whose softmax a readout is, of those that are one.
SCORES: dict[str, Callable[[pd.DataFrame], Floats]] = {
    "letter": lambda frame: _letters(frame, "letter"),
    "text_ppl": lambda frame: (
        _texts(frame, "text_ppl") / padded(_column(frame, "text_tokens", "text_ppl"))
    ),
    "text_sum": lambda frame: _texts(frame, "text_sum"),
}


def option_scores(frame: pd.DataFrame, readout: str) -> tuple[Floats, NDArray[np.int64]]:
    """The scores of a readout in `SCORES`, and the (n,) right options."""
    return SCORES[readout](frame), _gold(frame)


def _score(
    frame: pd.DataFrame, scores: Floats, confidence: Floats, is_probability: bool = False
) -> Readout:
    correct = np.nanargmax(scores, axis=1) == _gold(frame)
    return Readout(confidence, correct, None, None, is_probability)


def _gold(frame: pd.DataFrame) -> NDArray[np.int64]:
    return _column(frame, "gold", "any but a released one").to_numpy(np.int64)


def _released(frame: pd.DataFrame, column: str, is_probability: bool) -> Readout | None:
    if frame[column].isna().all():
        return None
    confidence = _column(frame, column, column).to_numpy(float)
    correct = _column(frame, "correct", column).to_numpy(bool)
    return Readout(confidence, correct, None, None, is_probability)


def _letters(frame: pd.DataFrame, readout: str) -> Floats:
    return padded(_column(frame, "letter_logits", readout))


def _texts(frame: pd.DataFrame, readout: str) -> Floats:
    return padded(_column(frame, "text_logliks", readout))


class NotRecordedError(InputError):
    """None of the rows holds what a readout is made of."""


def _column(frame: pd.DataFrame, name: str, readout: str) -> pd.Series:
    if not len(frame):
        raise InputError(f"records: no rows for the readout {readout}, expected at least one")
    missing = frame[name].isna()
    if missing.any():
        error = NotRecordedError if missing.all() else InputError
        row = frame.loc[missing, ["run", "benchmark", "language", "question_id"]].iloc[0].to_dict()
        raise error(
            f"records: {name} is empty in {int(missing.sum())} of {len(frame)} rows, first in "
            f"{row}, expected it filled: the readout {readout} is made of it"
        )
    return frame[name]
