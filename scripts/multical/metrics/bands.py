"""Intervals of accuracy for the points of reliability diagrams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit
from statsmodels.stats.proportion import proportion_confint

from multical.metrics.readouts import Floats


def band(right: Floats, question: NDArray[np.int64]) -> tuple[float, float]:
    """95 % Wilson interval of the share of right answers (n,) to some questions (n,).

    Answers to a question in several languages are alike. They count as n / d answers, where the
    design effect d, at least 1, is the variance of the share, with questions as clusters
    (linearised), divided by that of n independent answers (Kish 1965). This number is lowered by
    (z / t)^2, since the variance is estimated from few questions (Korn and Graubard 1998). If all
    answers are right or all wrong, they count as many as there are different questions.
    """
    n, share, different = len(right), right.mean(), len(np.unique(question))
    effective = float(different)
    if 0 < share < 1 and 1 < different < n:
        residuals = np.bincount(question, right - share)
        variance = (residuals**2).sum() / n**2 * different / (different - 1)
        effective = n / max(1.0, variance / (share * (1 - share) / n))
        effective *= (ndtri(0.975) / stdtrit(different - 1, 0.975)) ** 2
    low, high = proportion_confint(share * effective, effective, method="wilson")
    return float(low), float(high)
