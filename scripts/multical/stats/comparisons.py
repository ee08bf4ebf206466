"""What is compared with what: base -> SFT, and SFT -> SFT with smoothing.

A comparison is that of a model, SFT set and benchmark, by the same questions in both runs.
Where a study has several seeds, a comparison has a pair of runs for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import multipletests

from multical.errors import InputError
from multical.labels import label
from multical.stats.blocks import Block

#: What identifies a comparison in every table
COMPARISON = ["model", "sft", "benchmark", "before", "after", "seeds"]
#: Corrections for the number of tests, by the end of their columns' names: the chance of one
#: false finding in a family (Holm 1979), the share of false findings (Benjamini and Hochberg 1995)
CORRECTIONS = {"holm": "holm", "bh": "fdr_bh"}


@dataclass(frozen=True)
class Run:
    """A run on a benchmark: its values of `cells.RUN`, its questions, and what is known of it."""

    keys: dict[str, Any]
    asked: dict[str, str]  # by language, a digest of its questions
    found: Any


@dataclass(frozen=True)
class Comparison:
    """Pairs of runs, before and after, one for each seed; `keys` are those of `COMPARISON`."""

    keys: dict[str, Any]
    pairs: list[tuple[Run, Run]]


def asked(block: Block) -> dict[str, str]:
    """A digest of the questions of each language of a block."""
    return {
        language: sha256("\n".join(rows["question_id"]).encode()).hexdigest()
        for language, rows in block.languages.items()
    }


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """All comparisons that the runs allow, sorted.

    Raises `InputError` where there is none, or where two runs to compare were asked other
    questions.
    """
    tuned: dict[tuple[str, str, str], dict[float, dict[int, Run]]] = {}
    bases = {}
    for run in runs:
        model, sft, benchmark = (run.keys[name] for name in ("model", "sft", "benchmark"))
        if sft is None:
            bases[model, benchmark] = run
        else:
            own = tuned.setdefault((model, sft, benchmark), {})
            own.setdefault(float(run.keys["smoothing"]), {})[int(run.keys["seed"])] = run
    found = []
    for (model, sft, benchmark), by_smoothing in sorted(tuned.items()):
        plain = by_smoothing.get(0.0, {})
        keys = {"model": model, "sft": sft, "benchmark": benchmark}
        if (model, benchmark) in bases:
            base = bases[model, benchmark]
            found.append(_comparison(keys, None, 0.0, {s: (base, x) for s, x in plain.items()}))
        for smoothing, others in sorted(by_smoothing.items()):
            if smoothing:
                pairs = {s: (plain[s], x) for s, x in others.items() if s in plain}
                found.append(_comparison(keys, 0.0, smoothing, pairs))
    found = [one for one in found if one.pairs]
    if not found:
        raise InputError(
            "records: no two runs to compare, expected a base model and its SFT, or SFT without "
            "and with smoothing"
        )
    return found


def _comparison(
    keys: dict[str, Any], before: float | None, after: float,
    by_seed: Mapping[int, tuple[Run, Run]],
) -> Comparison:  # fmt: skip
    pairs = [by_seed[seed] for seed in sorted(by_seed)]
    for pair in pairs:
        _same_questions(*pair)
        _same_questions(pairs[0][1], pair[1])
    named = {"before": label(before), "after": label(after), "seeds": len(pairs)}
    return Comparison(keys | named, pairs)


def _same_questions(one: Run, other: Run) -> None:
    odd = sorted(
        language
        for language in one.asked.keys() | other.asked.keys()
        if one.asked.get(language) != other.asked.get(language)
    )
    if odd:
        raise InputError(
            f"records: {one.keys['run']} and {other.keys['run']} on {one.keys['benchmark']}: other "
            f"questions in {odd}, expected the same ones, which can be paired"
        )


def corrected(table: pd.DataFrame, family: list[str], columns: Sequence[str]) -> pd.DataFrame:
    """The table with corrected p-values beside those in `columns`, each family by itself.

    Rows that share the values of `family` are one family. Tests without a p do not count.
    """
    table = table.copy()
    for column in columns:
        at, groups = list(table).index(column), table.groupby(family, dropna=False)[column]
        for place, (end, method) in enumerate(CORRECTIONS.items(), start=1):
            table.insert(at + place, f"{column}_{end}", groups.transform(adjusted, method))
    return table


def adjusted(p: ArrayLike, method: str) -> NDArray[np.float64]:
    """Adjusted p-values of statsmodels' `method`; NaN stays NaN and counts as no test."""
    found = np.array(p, float)
    known = ~np.isnan(found)
    if known.any():
        found[known] = multipletests(found[known], method=method)[1]
    return found
