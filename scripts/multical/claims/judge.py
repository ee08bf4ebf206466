"""From a statistic and its tests to a verdict: what every claim's part is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from statsmodels.stats.multitest import multipletests

from multical.claims.schema import NOT_REPRODUCED, NOT_TESTABLE, REPRODUCED, Claim, Part, dumped
from multical.metrics import params
from multical.metrics.bootstrap import Bootstrap, interval
from multical.metrics.readouts import Floats


class NotTestableError(Exception):
    """A study lacks what a claim needs; the reason, in one sentence."""


@dataclass(frozen=True)
class Test:
    """One test: of what, the statistic there with its interval, and p."""

    __test__ = False  # not pytest's

    name: str
    value: float
    p: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Found:
    """A part's statistic over all its tests, with its interval."""

    said: str
    value: float
    low: float
    high: float
    tests: list[Test]
    detail: str = ""
    least: float = 0.0  # the smallest p that a test of it can have


def need(present: Any, reason: str) -> None:
    """Raise `NotTestableError` with a reason if there is nothing to test."""
    if not present:
        raise NotTestableError(reason)


def mean_over(
    names: Sequence[str], values: Sequence[float], bootstrap: params.Bootstrap
) -> tuple[float, float, float]:
    """Mean of `values`, and its percentile interval when the models in `names` are drawn."""
    draws = Bootstrap(names, bootstrap.replicates, bootstrap.seed)
    counts = draws.counts(names)
    low, high = interval(counts @ np.asarray(values) / counts.sum(axis=1), bootstrap.level)
    return float(np.mean(values)), float(low), float(high)


def least_tail(replicates: int) -> float:
    """The smallest p that `tail` can have."""
    return 1 / (1 + replicates)


def tail(replicates: Floats, threshold: float, direction: str) -> float:
    """One-sided bootstrap p: the share of replicates that do not lie beyond the threshold.

    The estimate itself counts as one that does not, so p is never 0 (Davison and Hinkley
    1997, 4.2.5); nor does an undefined one.
    """
    beyond = replicates > threshold if direction == "above" else replicates < threshold
    return float((1 + (~beyond).sum()) / (1 + len(replicates)))


def judged(claim: Claim, found: Sequence[Found]) -> dict[str, Any]:
    """Verdict of a claim from what its parts found; the correction is for all tests of it.

    A test that should find nothing is not one of a family that should find something.
    """
    family = [
        test.p
        for part, one in zip(claim.parts, found, strict=True)
        for test in one.tests
        if part.direction != "absent"
    ]
    corrected = family and claim.correction == "holm"
    adjusted = iter(multipletests(family, method="holm")[1].tolist() if corrected else family)
    parts = [
        _part(
            part, one, claim.alpha, [
                test.p if part.direction == "absent" else next(adjusted) for test in one.tests
            ],
        )
        for part, one in zip(claim.parts, found, strict=True)
    ]  # fmt: skip
    verdict = REPRODUCED if all(part["holds"] for part in parts) else NOT_REPRODUCED
    return {"verdict": verdict, "reason": "", "parts": parts}


def not_testable(reason: str) -> dict[str, Any]:
    """The verdict on a claim that a study cannot show."""
    return {"verdict": NOT_TESTABLE, "reason": reason, "parts": []}


def _part(part: Part, found: Found, alpha: float, adjusted: list[float]) -> dict[str, Any]:
    tests = [
        {
            "of": test.name,
            "value": test.value,
            "low": _finite(test.low),
            "high": _finite(test.high),
            "p": test.p,
            "p_adjusted": p,
            "passes": _passes(part, test.value, p, alpha),
        }
        for test, p in zip(found.tests, adjusted, strict=True)
    ]
    passed = sum(bool(test["passes"]) for test in tests)
    return {
        **dumped(part),
        "said": found.said,
        "value": found.value,
        "low": _finite(found.low),
        "high": _finite(found.high),
        "detail": found.detail,
        "tests": tests,
        "passed": passed,
        # the last digit of a product does not decide
        "holds": passed >= part.share * len(tests) - 1e-9,
    }


def _passes(part: Part, value: float, p: float, alpha: float) -> bool:
    if part.direction == "absent":
        return bool(abs(value) < part.threshold and p >= alpha)
    beyond = value > part.threshold if part.direction == "above" else value < part.threshold
    return bool(beyond and p < alpha)


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
