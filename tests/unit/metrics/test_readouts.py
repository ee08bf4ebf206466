from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from multical import records
from multical.errors import InputError
from multical.metrics.readouts import READOUTS, Readout, padded, softmax

#: Two questions: three options and two, so that the second row is padded.
LOGITS = [[1.0, 3.0, 2.0], [0.5, 0.25]]
LOGLIKS = [[-2.0, -9.0, -4.0], [-3.0, -6.0]]
TOKENS = [[1, 3, 4], [1, 3]]
BYTES = [[1, 30, 8], [2, 12]]
ALONE = [[-3.0, -1.0, -8.0], [-1.0, -5.0]]


def frame(**columns: object) -> pd.DataFrame:
    rows = {
        "run": "r",
        "benchmark": "b",
        "prompt": "p",
        "language": "en",
        "question_id": ["q0", "q1"],
        "n_options": [3, 2],
        "gold": [1, 1],
        "letter_logits": LOGITS,
        "logsumexp": [4.0, 2.0],
        "text_logliks": LOGLIKS,
        "text_tokens": TOKENS,
        "text_bytes": BYTES,
        "text_logliks_alone": ALONE,
    }
    table = pd.DataFrame({**rows, **columns}, index=[7, 3])  # an odd index must not matter
    return table.reindex(columns=records.SCHEMA.names)


def test_letter_is_the_softmax_of_each_row() -> None:
    readout = READOUTS["letter"](frame())
    assert readout.probabilities is not None
    assert readout.gold is not None
    for row, logits in enumerate(LOGITS):
        own = readout.probabilities[row, : len(logits)]
        np.testing.assert_allclose(own, special.softmax(logits), rtol=1e-15)
        assert np.isnan(readout.probabilities[row, len(logits) :]).all()
    assert readout.correct.tolist() == [True, False]
    np.testing.assert_allclose(readout.confidence, np.nanmax(readout.probabilities, axis=1))
    assert readout.gold.tolist() == [1, 1]
    assert readout.is_probability


def test_letter_full_is_not_renormalised() -> None:
    readout = READOUTS["letter_full"](frame())
    np.testing.assert_allclose(readout.confidence, np.exp([3 - 4, 0.5 - 2]))
    assert readout.probabilities is None
    assert readout.is_probability


def test_letter_full_is_never_above_one() -> None:
    rounded = frame(logsumexp=[np.nextafter(np.float32(3), np.float32(0)), 2.0])
    assert READOUTS["letter_full"](rounded).confidence[0] == 1


def test_text_readouts_differ_by_the_length() -> None:
    ppl, total = READOUTS["text_ppl"](frame()), READOUTS["text_sum"](frame())
    assert ppl.probabilities is not None
    perplexity = np.exp([2.0, 3.0, 1.0])
    np.testing.assert_allclose(ppl.probabilities[0], (1 / perplexity) / (1 / perplexity).sum())
    assert ppl.correct.tolist() == [False, True]  # options 2 and 1
    np.testing.assert_allclose(total.confidence[0], special.softmax(LOGLIKS[0])[0])
    assert total.correct.tolist() == [False, False]  # options 0 and 0


def test_bytes_and_pmi_choose_other_options() -> None:
    """Of scores worked out by hand."""
    expected = {
        "text_byte": ([[-2.0, -0.3, -0.5], [-1.5, -0.5]], [True, True]),
        "text_pmi": ([[1.0, -8.0, 4.0], [-2.0, -1.0]], [False, True]),
    }
    for name, (scores, correct) in expected.items():
        readout = READOUTS[name](frame())
        assert readout.probabilities is not None
        for row, own in enumerate(scores):
            found = readout.probabilities[row, : len(own)]
            np.testing.assert_allclose(found, special.softmax(own), rtol=1e-15)
            assert np.isnan(readout.probabilities[row, len(own) :]).all()
        assert readout.correct.tolist() == correct


def test_scores_are_no_probabilities() -> None:
    probabilities = [special.softmax(logits) for logits in LOGITS]
    expected = {
        "max_logit": [3.0, 0.5],
        "margin": [np.sort(p)[-1] - np.sort(p)[-2] for p in probabilities],
        "entropy": [-stats.entropy(p) for p in probabilities],
    }
    for name, scores in expected.items():
        readout = READOUTS[name](frame())
        np.testing.assert_allclose(readout.confidence, scores, err_msg=name)
        assert readout.correct.tolist() == [True, False]
        assert not readout.is_probability
        assert readout.probabilities is None


def test_released_confidences_come_first() -> None:
    empty = {name: [None, None] for name in ("letter_logits", "gold", "n_options")}
    released = frame(msp=[0.5, 1.0], max_logit=[12.0, 9.0], correct=[True, False], **empty)
    for name, confidence in (("msp", [0.5, 1.0]), ("max_logit", [12.0, 9.0])):
        readout = READOUTS[name](released)
        assert readout.confidence.tolist() == confidence
        assert readout.correct.tolist() == [True, False]
        assert readout.probabilities is None
        assert readout.is_probability == (name == "msp")


def test_msp_falls_back_to_letter() -> None:
    ours, letter = READOUTS["msp"](frame()), READOUTS["letter"](frame())
    np.testing.assert_array_equal(ours.confidence, letter.confidence)
    np.testing.assert_array_equal(ours.probabilities, letter.probabilities)


@pytest.mark.parametrize("name", READOUTS)
def test_ties_go_to_the_first_option(name: str) -> None:
    even = frame(
        letter_logits=[[2.0] * 3, [1.0] * 2],
        text_logliks=[[-2.0] * 3, [-1.0] * 2],
        text_tokens=[[2] * 3, [1] * 2],
        text_bytes=[[2] * 3, [1] * 2],
        text_logliks_alone=[[-4.0] * 3, [-0.5] * 2],
        gold=[0, 1],
    )
    assert READOUTS[name](even).correct.tolist() == [True, False]


def test_extreme_scores_neither_overflow_nor_vanish() -> None:
    with np.errstate(all="raise", under="ignore"):
        probabilities = softmax(np.array([[1e5, 0.0, np.nan], [-1e5, -1e5, -1e5]]))
    np.testing.assert_allclose(probabilities, [[1, 0, np.nan], [1 / 3] * 3])


def test_padded_keeps_ten_options_and_fewer() -> None:
    table = padded(frame(letter_logits=[list(range(10)), [5, 6]])["letter_logits"])
    assert table.shape == (2, 10)
    assert np.isnan(table[1, 2:]).all()
    assert table[0].tolist() == list(range(10))
    assert table[1, :2].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("letter", "letter_logits"),
        ("letter", "gold"),
        ("letter_full", "logsumexp"),
        ("text_ppl", "text_tokens"),
        ("text_sum", "text_logliks"),
        ("text_byte", "text_bytes"),
        ("text_byte", "text_logliks"),
        ("text_pmi", "text_logliks_alone"),
        ("msp", "letter_logits"),
        ("max_logit", "letter_logits"),
        ("margin", "letter_logits"),
        ("entropy", "letter_logits"),
    ],
)
def test_a_missing_column_is_named(name: str, column: str) -> None:
    lacking = frame()
    lacking[column] = [lacking[column].iloc[0], None]
    with pytest.raises(InputError, match=f"{column} is empty in 1 of 2 rows.*q1.*readout"):
        READOUTS[name](lacking)


def test_half_a_released_column_is_refused() -> None:
    with pytest.raises(InputError, match="msp is empty in 1 of 2 rows"):
        READOUTS["msp"](frame(msp=[0.5, None], correct=[True, True]))


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="no rows for the readout letter"):
        READOUTS["letter"](frame().iloc[:0])


@pytest.mark.parametrize(
    ("confidence", "message"),
    [
        ([], "no rows"),
        ([0.5, np.nan], "row 1: nan"),
        ([np.inf, 0.5], "row 0: inf"),
        ([0.5, 1.5], r"row 1: 1.5, expected a probability in \[0, 1\]"),
        ([-0.1], "row 0: -0.1"),
    ],
)
def test_bad_confidences_are_refused(confidence: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Readout(np.array(confidence), np.ones(len(confidence), bool), None, None, True)
