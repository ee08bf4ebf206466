"""From statistics and tests to the verdict on a claim, the same for all kinds of claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from multical.claims.schema import (
    CONTRADICTED,
    CONTRADICTION,
    HOLDS,
    INCONCLUSIVE,
    NOT_TESTABLE,
    REPRODUCED,
    UNDECIDED,
    Claim,
    Part,
    dumped,
)
from multical.metrics.readouts import Floats
from multical.stats import comparisons


class NotTestableError(Exception):
    """A study lacks what a claim needs. The message is the reason, in one sentence."""


#: Chance that a test finds an effect of the smallest size that a study is said to be able to show
POWER = 0.8


@dataclass(frozen=True)
class Test:
    """One test, such as that of a model: its name, the statistic with its interval, and p-values.

    A small `p` speaks for the claim, a small `against` for the contrary: that the statistic lies
    on the other side of the threshold. A test alone finds an effect of the size `detectable` with
    the chance `POWER`.
    """

    __test__ = False  # tells pytest that this is no test class

    name: str
    value: float
    p: float
    against: float
    low: float | None = None
    high: float | None = None
    detectable: float | None = None


@dataclass(frozen=True)
class Variant:
    """What a part of a claim comes to by another choice, such as another number of bins."""

    name: str
    value: float
    tests: list[Test]
    share: float = 1.0


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
    variants: Sequence[Variant] = ()


def need(present: Any, reason: str) -> None:
    """Raise `NotTestableError` with the reason unless `present` is true."""
    if not present:
        raise NotTestableError(reason)


def mean_over(
    names: Sequence[str], values: Sequence[float], level: float
) -> tuple[float, float, float]:
    """Mean of `values`, and Student's interval over the models in `names`.

    Values of the same name are not independent: the models are the clusters. A bootstrap over 14
    models covers in 89 %.
    """
    table = pd.DataFrame({"name": names, "value": values})
    mean = float(table["value"].mean())
    residuals = (table["value"] - mean).groupby(table["name"]).sum()
    models = len(residuals)
    if models < 2:
        return mean, np.nan, np.nan
    se = float(np.sqrt((residuals**2).sum() * models / (models - 1))) / len(table)
    half = float(stats.t.ppf((1 + level) / 2, models - 1)) * se
    return mean, mean - half, mean + half


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


def detectable(threshold: float, direction: str, se: float, alpha: float) -> float:
    """The value that a one-sided test at `alpha` finds beyond the threshold with `POWER`."""
    distance = (stats.norm.ppf(1 - alpha) + stats.norm.ppf(POWER)) * se
    return float(threshold + distance if direction == "above" else threshold - distance)


def judged(claim: Claim, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """The verdict on a claim from the measurements of its parts, one for each.

    A claim is reproduced if all its parts hold, and contradicted if a part is. Otherwise the data
    do not decide. For a claim to hold, p-values are corrected as the claim says. For it to be
    contradicted one of its tests is enough, so those p-values always get Holm's correction for all
    tests of the claim.
    """
    tests = [test for measurement in measurements for test in measurement.tests]
    adjusted = iter(_adjusted(claim, tests))
    parts = [
        _part(part, measurement, claim, list(islice(adjusted, len(measurement.tests))))
        for part, measurement in zip(claim.parts, measurements, strict=True)
    ]
    statuses = {part["status"] for part in parts}
    verdict = (
        REPRODUCED if statuses == {HOLDS}
        else CONTRADICTED if CONTRADICTION in statuses
        else INCONCLUSIVE
    )  # fmt: skip
    return {"verdict": verdict, "reason": "", "parts": parts}


def _adjusted(claim: Claim, tests: Sequence[Test]) -> list[tuple[float, float]]:
    """The corrected p-values of tests, for and against."""
    p, against = [test.p for test in tests], [test.against for test in tests]
    if claim.correction == "holm":
        p = comparisons.adjusted(p, "holm").tolist()
    return list(zip(p, comparisons.adjusted(against, "holm").tolist(), strict=True))


def not_testable(reason: str) -> dict[str, Any]:
    """The verdict on a claim that a study cannot test."""
    return {"verdict": NOT_TESTABLE, "reason": reason, "parts": []}


def _part(
    part: Part, measurement: Measurement, claim: Claim, adjusted: list[tuple[float, float]]
) -> dict[str, Any]:
    alpha = claim.alpha
    tests = [
        {
            "of": test.name,
            "value": test.value,
            "low": _finite(test.low),
            "high": _finite(test.high),
            "p": test.p,
            "p_adjusted": p,
            "p_against": test.against,
            "p_against_adjusted": against,
            "detectable": _finite(test.detectable),
        }
        for test, (p, against) in zip(measurement.tests, adjusted, strict=True)
    ]
    return {
        **dumped(part),
        "said": measurement.description,
        "value": measurement.value,
        "low": _finite(measurement.low),
        "high": _finite(measurement.high),
        "detail": measurement.detail,
        "tests": tests,
        "passed": sum(p < alpha for p, _ in adjusted),
        "detectable": _weakest(part.direction, measurement.tests),
        "status": _status(adjusted, part.share, alpha),
        "variants": [
            {
                "of": variant.name,
                "value": variant.value,
                "p": max(test.p for test in variant.tests),
                "status": _status(_adjusted(claim, variant.tests), variant.share, alpha),
            }
            for variant in measurement.variants
        ],
    }


def _status(adjusted: Sequence[tuple[float, float]], share: float, alpha: float) -> str:
    """What tests with the p-values (for, against) say of a part of which a share must pass."""
    needed = share * len(adjusted) - 1e-9  # rounding of the product must not decide
    if sum(p < alpha for p, _ in adjusted) >= needed:
        return HOLDS
    contrary = sum(against < alpha for _, against in adjusted)
    return CONTRADICTION if len(adjusted) - contrary < needed else UNDECIDED


def _weakest(direction: str, tests: Sequence[Test]) -> float | None:
    """The size of effect that all tests would find."""
    known = [test.detectable for test in tests if test.detectable is not None]
    if len(known) < len(tests):
        return None
    return _finite(min(known) if direction == "below" else max(known))


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
