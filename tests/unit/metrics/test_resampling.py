"""The fast replicates equal the metrics of counts, which are the reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from multical.errors import InputError
from multical.metrics.bootstrap import Bootstrap
from multical.metrics.definitions import METRICS, Counts
from multical.metrics.readouts import Readout
from multical.metrics.resampling import Sample, replicates, table
from support.readouts import make, simple, tied

RNG = np.random.default_rng
#: Sums of values that are not negative
EXACT = {"accuracy", "confidence", "entropy", "nll", "brier"}


def awkward(rows: int) -> dict[str, Readout]:
    rng = RNG(rows)
    right = rng.random(rows) < 0.5
    alike = np.round(make(rows).confidence, 1)
    sure = np.zeros((rows, 2))
    sure[:, 0] = 1
    return {
        "four": make(rows),
        "ragged": make(rows, 10, 2, ragged=True),
        "tied": tied(rows),
        "mostly tied": simple(alike, right),
        "all equal": simple(np.full(rows, 0.5), right),
        "all right": simple(rng.random(rows), np.ones(rows)),
        "all wrong": simple(rng.random(rows), np.zeros(rows)),
        "certain": Readout(sure[:, 0], right, sure, (~right).astype(np.int64), True),
        "tiny": simple(rng.random(rows) * 1e-20, right),
        "scores": Readout(rng.normal(size=rows).round(1) * 9, right, None, None, False),
    }


def samples(rows: int) -> Counts:
    """The rows themselves, no row, one row, a bootstrap's, and uneven ones."""
    rng = RNG(rows)
    counts = rng.integers(0, 4, size=(8, rows))
    counts[0], counts[1:3] = 1, 0
    counts[2, -1] = 1
    counts[3] = np.bincount(rng.integers(rows, size=rows), minlength=rows)
    return counts


def assert_equal(readout: Readout, counts: Counts, bins: int) -> None:
    names = [name for name, metric in METRICS.items() if metric.applies(readout)]
    sample = Sample(table(counts), np.arange(counts.shape[1]))
    found = replicates(readout, sample, names, bins)
    assert list(found) == names
    for name in names:
        expected = METRICS[name](readout, counts, bins)
        near = 0 if name in EXACT else 1e-14  # of a difference of sums
        near = 1e-12 if name == "smece" else near  # of a search
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=near, err_msg=name)


@pytest.mark.parametrize("kind", awkward(3))
@pytest.mark.parametrize("rows", [1, 2, 5, 16, 17, 31, 64, 65, 300])
@pytest.mark.parametrize("bins", [1, 2, 15])
def test_replicates_equal_the_metrics_of_counts(kind: str, rows: int, bins: int) -> None:
    assert_equal(awkward(rows)[kind], samples(rows), bins)


def test_at_the_size_of_a_benchmark() -> None:
    questions = [f"q{number:05d}" for number in range(5000)]
    counts = Bootstrap(questions, 20, 0).counts(questions)
    for readout in (make(5000), make(5000, 10, 1, ragged=True), tied(5000)):
        assert_equal(readout, counts, 15)


@pytest.mark.parametrize("times", [100, 30_000, 100_000])
def test_any_size_of_counts(times: int) -> None:
    assert_equal(make(5), samples(5) * times, 15)


def test_without_samples() -> None:
    sample = Sample(table(np.zeros((0, 4), int)), np.arange(4))
    found = replicates(make(4), sample, list(METRICS), 15)
    assert {values.shape for values in found.values()} == {(0,)}


def test_rows_that_are_not_there() -> None:
    counts = np.ones((2, 4), int)
    with pytest.raises(IndexError, match="row 4 of 4 questions"):
        Sample(table(counts), np.arange(5))
    with pytest.raises(IndexError, match="4 rows of 5"):
        replicates(make(5), Sample(table(counts), np.arange(4)), ["ece"], 15)


def test_a_cell_has_some_questions_in_its_own_order() -> None:
    questions = [f"q{number:02d}" for number in range(50)]
    bootstrap = Bootstrap(questions, 30, 0)
    own = pd.Series([questions[index] for index in RNG(0).permutation(50)[:33]])
    counts = bootstrap.counts(own.to_list())
    whole = np.vstack([counts, np.ones((1, 33), int)])
    readout = make(33)
    for series in (own, own.astype("category"), pd.Categorical(own, [*questions, "other"])):
        sample = bootstrap.sample(pd.Series(series))
        for name, values in replicates(readout, sample, list(METRICS), 15).items():
            expected = METRICS[name](readout, whole, 15)
            np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12, err_msg=name)
    for odd in (pd.Series(["q01", "q1"]), pd.Series(["q01", "q1"], dtype="category")):
        with pytest.raises(InputError, match="found question 'q1', expected one of its own"):
            bootstrap.sample(odd)
