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
    """The change of a metric, after minus before: a mean over S seeds, on n questions.

    `replicates` (B,) are those of the mean. Each draws the same questions before and after.
    `by_seed` (S,) are the changes of the single seeds.
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
        float(mean(np.array([effect.value for effect in effects]))),
        mean(np.array([effect.replicates for effect in effects])),
        max(effect.n for effect in effects),
        effects[0].bounds,
        mean(np.array([effect.by_seed for effect in effects])),
    )


def described(effect: Effect, level: float) -> dict[str, float]:
    """Value, interval, and standard deviation over seeds (NaN for one seed)."""
    low, high = around(effect.value, effect.replicates, level, effect.bounds)
    seeds = effect.by_seed
    spread = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else np.nan
    return {"value": effect.value, "ci_low": low, "ci_high": high, "seed_sd": spread}


def question_test(effect: Effect) -> dict[str, float]:
    """Two-sided t-test of whether the effect exceeds what the choice of questions explains.

    The standard error is the standard deviation of the replicates times sqrt(n / (n - 1)). The
    reference is Student's t with n - 1 degrees of freedom. For a mean over questions this is the
    paired t-test, up to the noise of B draws. A p from the replicates alone cannot be below
    1 / (B + 1), which is too coarse for a correction for forty languages. `d_z` is Cohen's d of
    paired differences, effect / (se sqrt(n)).
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
    """Sign test and signed-rank test of whether (L,) effects of languages lie on one side of zero.

    Both are two-sided. The languages are the sample, the questions are taken as fixed. Languages
    without a change count in neither test. `w` is the smaller sum of ranks of scipy's
    `wilcoxon`. Its p is exact for up to 50 languages without ties or 13 with them, and else a
    normal approximation. `rank_biserial` is Kerby's (2014): the rises' share of the ranks minus
    the falls', from -1 to 1.
    """
    values = values.round(12)  # rounding errors of differences would hide ties
    moved = values[~np.isnan(values) & (values != 0)]
    rises, falls = int((moved > 0).sum()), int((moved < 0).sum())
    result = {"rises": rises, "falls": falls, "p_sign": np.nan}
    result |= {"w": np.nan, "rank_biserial": np.nan, "p_wilcoxon": np.nan}
    if not len(moved):
        return result
    ranks = stats.rankdata(np.abs(moved))
    w, p = stats.wilcoxon(moved)
    return result | {
        "p_sign": float(stats.binomtest(rises, len(moved)).pvalue),
        "w": float(w),
        "rank_biserial": float((ranks * np.sign(moved)).sum() / ranks.sum()),
        "p_wilcoxon": float(p),
    }
