"""How large a change is, and whether it is real: effects with intervals and tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from multical.metrics.bootstrap import around
from multical.metrics.readouts import Floats
from multical.stats.estimates import mean


@dataclass(frozen=True)
class Effect:
    """A metric after less the same before: a mean over S seeds, by n questions.

    `replicates` (B,) are those of the mean, each from the same questions before and after;
    `by_seed` (S,) are the values of which it is the mean.
    """

    value: float
    replicates: Floats
    n: int
    bounds: tuple[float, float]
    by_seed: Floats


def average(effects: list[Effect]) -> Effect:
    """The mean effect over languages that share their questions.

    A language in which the metric is not defined does not count.
    """
    return Effect(
        float(mean(np.array([one.value for one in effects]))),
        mean(np.array([one.replicates for one in effects])),
        max(one.n for one in effects),
        effects[0].bounds,
        mean(np.array([one.by_seed for one in effects])),
    )


def described(effect: Effect, level: float) -> dict[str, float]:
    """Value, interval, and the standard deviation over seeds where there are several."""
    low, high = around(effect.value, effect.replicates, level, effect.bounds)
    seeds = effect.by_seed
    spread = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else np.nan
    return {"value": effect.value, "ci_low": low, "ci_high": high, "seed_sd": spread}


def question_test(effect: Effect) -> dict[str, float]:
    """Two-sided t-test of whether the effect exceeds what the choice of questions explains.

    The standard error is that of the replicates, times sqrt(n / (n - 1)), against Student's t
    with n - 1 degrees of freedom: for a mean of questions this is the paired t-test, up to the
    noise of B draws. Replicates alone give no p below 1 / (B + 1), too coarse to be corrected
    for forty languages. `d_z` is Cohen's d of paired differences, effect / (se sqrt(n)).
    """
    drawn = effect.replicates[~np.isnan(effect.replicates)]
    if effect.n < 2 or len(drawn) < 2:
        return {"se": np.nan, "d_z": np.nan, "p": np.nan}
    se = float(np.std(drawn, ddof=1)) * np.sqrt(effect.n / (effect.n - 1))
    if effect.value == 0:
        return {"se": se, "d_z": 0.0, "p": 1.0}
    with np.errstate(divide="ignore"):
        t = np.float64(effect.value) / se
    p = 2 * float(stats.t.sf(abs(t), effect.n - 1))
    return {"se": se, "d_z": float(t) / np.sqrt(effect.n), "p": p}


def language_tests(values: Floats) -> dict[str, float]:
    """Sign and signed-rank test of whether (L,) effects of languages lie on one side of zero.

    Both are two-sided. The languages are the sample; the questions are taken as fixed.
    Languages without a change count in neither. `w` is the smaller sum of ranks of scipy's
    `wilcoxon`, whose p is exact up to 50 languages without ties, or 13 with them, else a normal
    approximation. `rank_biserial` is Kerby's (2014): the share of ranks of rises less that of
    falls, from -1 to 1.
    """
    values = values.round(12)  # a difference of shares is off by rounding, and ties with none
    moved = values[~np.isnan(values) & (values != 0)]
    rises, falls = int((moved > 0).sum()), int((moved < 0).sum())
    found = {"rises": rises, "falls": falls, "p_sign": np.nan}
    found |= {"w": np.nan, "rank_biserial": np.nan, "p_wilcoxon": np.nan}
    if not len(moved):
        return found
    ranks = stats.rankdata(np.abs(moved))
    w, p = stats.wilcoxon(moved)
    return found | {
        "p_sign": float(stats.binomtest(rises, len(moved)).pvalue),
        "w": float(w),
        "rank_biserial": float((ranks * np.sign(moved)).sum() / ranks.sum()),
        "p_wilcoxon": float(p),
    }
