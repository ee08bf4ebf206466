"""Readouts: the different confidences that can be computed from the same records.

Each readout is a pure function of a frame of records. For each row it gives the confidence
in the answer and whether the answer is right. The answer is the option of the highest score,
the first one among equals. `READOUTS` names all readouts.
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

    Raises `InputError` if there are no rows, if a confidence is not finite, or if it is a
    probability outside [0, 1].
    """

    #: (n,) confidence in the answer; a higher value is more confident
    confidence: Floats
    #: (n,) whether the answer is right
    correct: NDArray[np.bool_]
    #: (n, k) distribution over a question's own options, NaN beyond them; None if there is none
    probabilities: Floats | None
    #: (n,) index of the right option; None if there is no distribution
    gold: NDArray[np.int64] | None
    #: whether `confidence` is a probability, which can be compared with a frequency
    is_probability: bool

    def __post_init__(self) -> None:
        check_confidence(self.confidence, self.correct, self.is_probability)
        if (self.probabilities is None) != (self.gold is None):
            raise InputError("readout: a distribution and the right options belong together")


def check_confidence(confidence: Floats, correct: NDArray[Any], probability: bool = True) -> None:
    """Raise `InputError` unless both are (n,), n > 0, and confidences finite.

    With `probability`, they must also lie in [0, 1].
    """
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
    """(n, k) float64 of a per-option column, NaN beyond a row's own options."""
    values, lengths = flat(lists)
    table = np.full((len(lengths), lengths.max()), np.nan)
    table[np.arange(table.shape[1]) < lengths[:, None]] = values
    return table


def softmax(scores: Floats) -> Floats:
    """Softmax of each row of (n, k) scores in nats. NaN stays NaN. Safe from overflow."""
    unnormalised = np.exp(scores - np.nanmax(scores, axis=1, keepdims=True))
    return unnormalised / np.nansum(unnormalised, axis=1, keepdims=True)


def from_scores(scores: Floats, gold: NDArray[np.int64]) -> Readout:
    """The readout whose distribution is the softmax of (n, k) scores in nats.

    Scores are NaN beyond a question's own options.
    """
    probabilities, correct = softmax(scores), np.nanargmax(scores, axis=1) == gold
    return Readout(np.nanmax(probabilities, axis=1), correct, probabilities, gold, True)


def letter(frame: pd.DataFrame) -> Readout:
    """Softmax of the letter logits over the options."""
    return from_scores(*option_scores(frame, "letter"))


def letter_full(frame: pd.DataFrame) -> Readout:
    """Probability of the answer's letter in the full vocabulary, not renormalised.

    The probabilities of the options sum to less than 1, so this readout has no distribution.
    """
    logits = _letters(frame, "letter_full")
    total = _column(frame, "logsumexp", "letter_full").to_numpy(float)
    # Both are rounded to float32, so the logit of a certain letter can exceed the total.
    mass = np.minimum(np.exp(logits - total[:, None]), 1.0)
    return _without_distribution(
        frame, "letter_full", logits, np.nanmax(mass, axis=1), is_probability=True
    )


def text_ppl(frame: pd.DataFrame) -> Readout:
    """Inverse perplexities of the option texts, normalised. Paper 1's readout.

    This is the softmax of the mean log-likelihoods of their tokens.
    """
    return from_scores(*option_scores(frame, "text_ppl"))


def text_sum(frame: pd.DataFrame) -> Readout:
    """Softmax of the option texts' summed log-likelihoods, not normalised by length."""
    return from_scores(*option_scores(frame, "text_sum"))


def text_byte(frame: pd.DataFrame) -> Readout:
    """Softmax of the option texts' log-likelihoods per byte of UTF-8.

    Other than with `text_ppl`, the tokenizer's fertility in a language does not matter. `acc_norm`
    of lm-evaluation-harness normalises likewise, by the number of characters.
    """
    return from_scores(*option_scores(frame, "text_byte"))


def text_pmi(frame: pd.DataFrame) -> Readout:
    """Softmax of the pointwise mutual information of question and option text.

    This is the text's log-likelihood less its log-likelihood without the question:
    domain-conditional PMI (Holtzman et al. 2021; after Brown et al. 2020, section 2.4).
    """
    return from_scores(*option_scores(frame, "text_pmi"))


def msp(frame: pd.DataFrame) -> Readout:
    """Maximum softmax probability: the released value if there is one, else that of `letter`."""
    return _released(frame, "msp", is_probability=True) or letter(frame)


def max_logit(frame: pd.DataFrame) -> Readout:
    """Maximum logit: the released value if there is one, else the highest letter logit."""
    released = _released(frame, "max_logit", is_probability=False)
    if released:
        return released
    logits = _letters(frame, "max_logit")
    return _without_distribution(frame, "max_logit", logits, np.nanmax(logits, axis=1))


def margin(frame: pd.DataFrame) -> Readout:
    """Highest minus second highest probability of `letter`. Not taken as a probability."""
    logits = _letters(frame, "margin")
    top = np.sort(np.nan_to_num(softmax(logits)), axis=1)
    return _without_distribution(frame, "margin", logits, top[:, -1] - top[:, -2])


def entropy(frame: pd.DataFrame) -> Readout:
    """Negative entropy (nats) of the distribution of `letter`."""
    logits = _letters(frame, "entropy")
    return _without_distribution(frame, "entropy", logits, -entropies(softmax(logits)))


def entropies(probabilities: Floats) -> Floats:
    """(n,) entropy in nats of each row of (n, k) probabilities; NaN options do not count."""
    positive = np.where(probabilities > 0, probabilities, 1.0)
    return -(positive * np.log(positive)).sum(axis=1)


#: Every readout by its name in the config and in the results. Those in `SCORES` alone are added.
#: The lists of readouts in the config's schema and elsewhere come from here (`metrics.declared`).
READOUTS: dict[str, Callable[[pd.DataFrame], Readout]] = {
    "letter": letter,
    "letter_full": letter_full,
    "text_ppl": text_ppl,
    "text_sum": text_sum,
    "text_byte": text_byte,
    "text_pmi": text_pmi,
    "msp": msp,
    "max_logit": max_logit,
    "margin": margin,
    "entropy": entropy,
}


#: The option scores (n, k) in nats of each readout that is a softmax of them.
SCORES: dict[str, Callable[[pd.DataFrame], Floats]] = {
    "letter": lambda frame: _letters(frame, "letter"),
    "text_ppl": lambda frame: (
        _texts(frame, "text_ppl") / padded(_column(frame, "text_tokens", "text_ppl"))
    ),
    "text_sum": lambda frame: _texts(frame, "text_sum"),
    "text_byte": lambda frame: (
        _texts(frame, "text_byte") / padded(_column(frame, "text_bytes", "text_byte"))
    ),
    "text_pmi": lambda frame: (
        _texts(frame, "text_pmi") - padded(_column(frame, "text_logliks_alone", "text_pmi"))
    ),
}


def _softmax_of(name: str) -> Callable[[pd.DataFrame], Readout]:
    """The readout that is the softmax of the scores of that name."""
    return lambda frame: from_scores(*option_scores(frame, name))


READOUTS |= {name: _softmax_of(name) for name in SCORES if name not in READOUTS}


def option_scores(frame: pd.DataFrame, readout: str) -> tuple[Floats, NDArray[np.int64]]:
    """The scores of a readout in `SCORES`, and the (n,) right options."""
    return SCORES[readout](frame), _gold(frame, readout)


def _without_distribution(
    frame: pd.DataFrame, readout: str, scores: Floats, confidence: Floats,
    is_probability: bool = False,
) -> Readout:  # fmt: skip
    correct = np.nanargmax(scores, axis=1) == _gold(frame, readout)
    return Readout(confidence, correct, None, None, is_probability)


def _gold(frame: pd.DataFrame, readout: str) -> NDArray[np.int64]:
    return _column(frame, "gold", readout).to_numpy(np.int64)


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
    """No row has a value in a column that a readout needs."""


def _column(frame: pd.DataFrame, name: str, readout: str) -> pd.Series:
    if not len(frame):
        raise InputError(f"records: no rows for the readout {readout}, expected at least one")
    missing = frame[name].isna()
    if missing.any():
        error = NotRecordedError if missing.all() else InputError
        row = frame.loc[missing, ["run", "benchmark", "language", "question_id"]].iloc[0].to_dict()
        raise error(
            f"records: {name} is empty in {int(missing.sum())} of {len(frame)} rows, first in "
            f"{row}, expected a value for the readout {readout}"
        )
    return frame[name]
