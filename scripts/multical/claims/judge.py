"""From statistics and tests to the verdict on a claim, the same for all kinds of claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from multical.claims.schema import NOT_REPRODUCED, NOT_TESTABLE, REPRODUCED, Claim, Part, dumped
from multical.metrics import params
from multical.metrics.bootstrap import Bootstrap, interval
from multical.metrics.readouts import Floats
from multical.stats import comparisons


class NotTestableError(Exception):
    """A study lacks what a claim needs. The message is the reason, in one sentence."""


@dataclass(frozen=True)
class Test:
    """One test, such as that of a model: its name, the statistic with its interval, and p."""

    __test__ = False  # tells pytest that this is no test class

    name: str
    value: float
    p: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Measurement:
    """The statistic of a claim's part over all its tests, with its interval."""

    description: str
    value: float
    low: float
    high: float
    tests: list[Test]
    detail: str = ""
    least: float = 0.0  # the smallest p that one of the tests can have


def need(present: Any, reason: str) -> None:
    """Raise `NotTestableError` with the reason unless `present` is true."""
    if not present:
        raise NotTestableError(reason)


def mean_over(
    names: Sequence[str], values: Sequence[float], bootstrap: params.Bootstrap
) -> tuple[float, float, float]:
    """Mean of `values`, and its bootstrap percentile interval over the models in `names`.

    Values of the same name are drawn together.
    """
    draws = Bootstrap(names, bootstrap.replicates, bootstrap.seed)
    counts = draws.counts(names)
    low, high = interval(counts @ np.asarray(values) / counts.sum(axis=1), bootstrap.level)
    return float(np.mean(values)), float(low), float(high)


def least_tail(replicates: int) -> float:
    """The smallest p that `tail` can return."""
    return 1 / (1 + replicates)


def tail(replicates: Floats, threshold: float, direction: str) -> float:
    """One-sided bootstrap p: the share of replicates that do not lie beyond the threshold.

    The estimate itself counts as such a replicate, so p is never 0 (Davison and Hinkley 1997,
    4.2.5). So does an undefined replicate.
    """
    beyond = replicates > threshold if direction == "above" else replicates < threshold
    return float((1 + (~beyond).sum()) / (1 + len(replicates)))


def judged(claim: Claim, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """The verdict on a claim from the measurements of its parts, one for each.

    The correction is for all tests of the claim, except those that should find no effect.
    """
    family = [
        test.p
        for part, measurement in zip(claim.parts, measurements, strict=True)
        for test in measurement.tests
        if part.direction != "absent"
    ]
    corrected = family and claim.correction == "holm"
    adjusted = iter(comparisons.adjusted(family, "holm").tolist() if corrected else family)
    parts = [
        _part(
            part, measurement, claim.alpha, [
                test.p if part.direction == "absent" else next(adjusted)
                for test in measurement.tests
            ],
        )
        for part, measurement in zip(claim.parts, measurements, strict=True)
    ]  # fmt: skip
    verdict = REPRODUCED if all(part["holds"] for part in parts) else NOT_REPRODUCED
    return {"verdict": verdict, "reason": "", "parts": parts}


def not_testable(reason: str) -> dict[str, Any]:
    """The verdict on a claim that a study cannot test."""
    return {"verdict": NOT_TESTABLE, "reason": reason, "parts": []}


def _part(
    part: Part, measurement: Measurement, alpha: float, adjusted: list[float]
) -> dict[str, Any]:
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
        for test, p in zip(measurement.tests, adjusted, strict=True)
    ]
    passed = sum(bool(test["passes"]) for test in tests)
    return {
        **dumped(part),
        "said": measurement.description,
        "value": measurement.value,
        "low": _finite(measurement.low),
        "high": _finite(measurement.high),
        "detail": measurement.detail,
        "tests": tests,
        "passed": passed,
        # rounding of the product must not decide
        "holds": passed >= part.share * len(tests) - 1e-9,
    }


def _passes(part: Part, value: float, p: float, alpha: float) -> bool:
    if part.direction == "absent":
        return bool(abs(value) < part.threshold and p >= alpha)
    beyond = value > part.threshold if part.direction == "above" else value < part.threshold
    return bool(beyond and p < alpha)


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
