"""Which runs are compared: base -> SFT, and SFT -> SFT with smoothing.

A comparison belongs to a model, an SFT data set and a benchmark. Both of its runs answer the
same questions. If a study has several seeds, a comparison has a pair of runs for each seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from multical.errors import InputError
from multical.labels import label
from multical.stats.blocks import Block

#: What identifies a comparison in every table
COMPARISON = ["model", "sft", "benchmark", "before", "after", "seeds"]
#: Corrections for the number of tests, by the suffix of their columns. Holm's (1979) controls the
#: chance of any false finding in a family, Benjamini and Hochberg's (1995) the share of false ones
CORRECTIONS = ("holm", "bh")


@dataclass(frozen=True)
class Run:
    """A run on a benchmark: its values of `blocks.RUN`, its questions and its estimates."""

    keys: dict[str, Any]
    questions: dict[str, str]  # a digest of the questions of each language
    estimates: Any  # by (readout, metric) and language


@dataclass(frozen=True)
class Comparison:
    """Pairs of runs (before, after), one for each seed. The keys are those of `COMPARISON`."""

    keys: dict[str, Any]
    pairs: list[tuple[Run, Run]]


def question_digests(block: Block) -> dict[str, str]:
    """A digest of the questions of each language of a block."""
    return {
        language: sha256("\n".join(rows["question_id"]).encode()).hexdigest()
        for language, rows in block.languages.items()
    }


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """All comparisons that the runs allow, sorted.

    Raises `InputError` if there is none, or if the two runs of a pair have different questions.
    """
    tuned: dict[tuple[str, str, str], dict[float, dict[int, Run]]] = {}
    bases = {}
    for run in runs:
        model, sft, benchmark = (run.keys[name] for name in ("model", "sft", "benchmark"))
        if sft is None:
            bases[model, benchmark] = run
        else:
            by_smoothing = tuned.setdefault((model, sft, benchmark), {})
            by_smoothing.setdefault(float(run.keys["smoothing"]), {})[int(run.keys["seed"])] = run
    result = []
    for (model, sft, benchmark), by_smoothing in sorted(tuned.items()):
        plain = by_smoothing.get(0.0, {})
        keys = {"model": model, "sft": sft, "benchmark": benchmark}
        if (model, benchmark) in bases:
            base = bases[model, benchmark]
            pairs = {seed: (base, run) for seed, run in plain.items()}
            result.append(_comparison(keys, None, 0.0, pairs))
        for smoothing, by_seed in sorted(by_smoothing.items()):
            if smoothing:
                pairs = {seed: (plain[seed], run) for seed, run in by_seed.items() if seed in plain}
                result.append(_comparison(keys, 0.0, smoothing, pairs))
    result = [comparison for comparison in result if comparison.pairs]
    if not result:
        raise InputError(
            "records: no two runs to compare, expected a base model and its SFT, or SFT without "
            "and with smoothing"
        )
    return result


def _comparison(
    keys: dict[str, Any], before: float | None, after: float,
    by_seed: Mapping[int, tuple[Run, Run]],
) -> Comparison:  # fmt: skip
    pairs = [by_seed[seed] for seed in sorted(by_seed)]
    for pair in pairs:
        _same_questions(*pair)
        _same_questions(pairs[0][1], pair[1])
    conditions = {"before": label(before), "after": label(after), "seeds": len(pairs)}
    return Comparison(keys | conditions, pairs)


def _same_questions(before: Run, after: Run) -> None:
    unequal = sorted(
        language
        for language in before.questions.keys() | after.questions.keys()
        if before.questions.get(language) != after.questions.get(language)
    )
    if unequal:
        raise InputError(
            f"records: {before.keys['run']} and {after.keys['run']} on "
            f"{before.keys['benchmark']}: different questions in {unequal}, expected the same ones"
        )


def corrected(table: pd.DataFrame, family: list[str], columns: Sequence[str]) -> pd.DataFrame:
    """The table with corrected p-values beside those in `columns`.

    Rows that share the values of `family` form a family, and each family is corrected by itself.
    Tests without a p do not count.
    """
    table = table.copy()
    for column in columns:
        place, groups = list(table).index(column), table.groupby(family, dropna=False)[column]
        for offset, method in enumerate(CORRECTIONS, start=1):
            table.insert(place + offset, f"{column}_{method}", groups.transform(adjusted, method))
    return table


def adjusted(p: ArrayLike, method: str) -> NDArray[np.float64]:
    """p-values adjusted by a method of `CORRECTIONS`. NaN stays NaN and does not count as a test.

    As statsmodels has them, which collects garbage at each call, for most of a job's time.
    """
    values = np.array(p, float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known])]
    ranks = np.arange(1, len(order) + 1)
    if method == "holm":
        found = np.maximum.accumulate(values[order] * ranks[::-1])
    else:
        found = np.minimum.accumulate((values[order] / (ranks / len(order)))[::-1])[::-1]
    values[order] = np.minimum(found, 1)
    return values
