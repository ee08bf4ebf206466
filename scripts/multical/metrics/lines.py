"""Least squares lines, apart from other statistics, so that figures start without scipy.stats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from multical.metrics.readouts import Floats

#: A line is fitted to this many different x, or more
LEAST = 3


@dataclass(frozen=True)
class Line:
    """Ordinary least squares of y on x."""

    slope: float
    intercept: float
    r: float  # Pearson's
    p: float  # two-sided, of slope 0
    n: int


def least_squares(x: Floats, y: Floats) -> Line:
    """The line through the points without NaN.

    With fewer than three different x everything but n is NaN: through two, a line shows no more
    than two means do. The same numbers as those of scipy.stats.linregress.
    """
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    n = len(x)
    if len(np.unique(x)) < LEAST:
        return Line(np.nan, np.nan, np.nan, np.nan, n)
    xx, xy, _, yy = np.cov(x, y, bias=True).flat
    r = float(np.clip(xy / np.sqrt(xx * yy), -1, 1)) if yy else (0.0 if xy else np.nan)
    slope = xy / xx
    t = r * np.sqrt((n - 2) / ((1 - r + 1e-20) * (1 + r + 1e-20)))
    p = 2 * stdtr(n - 2, -abs(t))
    return Line(float(slope), float(y.mean() - slope * x.mean()), r, float(p), n)
