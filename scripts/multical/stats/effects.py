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


@dataclass(frozen=True)
class Contrast:
    """A mean effect over languages, or its difference between two groups of them.

    `groups` has the effects of each group, by language, and the weight of their mean: 1 or -1.
    """

    groups: list[tuple[float, list[Effect]]]

    @property
    def effect(self) -> Effect:
        """The effect, and its replicates, in which only the questions vary."""
        means = [(weight, average(effects)) for weight, effects in self.groups]
        bounds = [sorted(weight * end for end in mean.bounds) for weight, mean in means]
        return Effect(
            sum(weight * mean.value for weight, mean in means),
            np.sum([weight * mean.replicates for weight, mean in means], axis=0),
            max(mean.n for _, mean in means),
            (sum(low for low, _ in bounds), sum(high for _, high in bounds)),
            np.sum([weight * mean.by_seed for weight, mean in means], axis=0),
        )


#: What `crossed_test` gives
CROSSED = ("se_both", "low_both", "high_both", "p_both")


def crossed_test(contrast: Contrast, level: float) -> dict[str, float]:
    """Two-sided t-test of whether an effect holds for other questions *and* other languages.

    Both are random and crossed: effect of language l on question q = mean + a_l + b_q + e_lq. The
    variance of the mean has two parts. The bootstrap over questions gives that of b and e. That of
    a, by moments, is the variance between languages less what e adds to it, which is the noise of
    single languages less the noise that they share, b. Degrees of freedom are Satterthwaite's. The
    ends are those of the interval of the same level. NaN with fewer than two languages in a group.
    """
    effect = contrast.effect
    over_questions = question_test(effect)["se"] ** 2
    variance, uncertainty = over_questions, over_questions**2 / max(effect.n - 1, 1)
    for _, effects in contrast.groups:
        defined = [one for one in effects if not np.isnan(one.value)]
        if len(defined) < 2:
            return dict.fromkeys(CROSSED, np.nan)
        languages = len(defined)
        noise = float(np.mean([question_test(one)["se"] ** 2 for one in defined]))
        of_mean = question_test(average(defined))["se"] ** 2
        shared = np.clip((of_mean - noise / languages) / (1 - 1 / languages), 0, noise)
        spread = float(np.var([one.value for one in defined], ddof=1))
        variance += max(0.0, spread - (noise - shared)) / languages
        uncertainty += (spread / languages) ** 2 / (languages - 1)
    se = float(np.sqrt(variance))
    if np.isnan(se):
        return dict.fromkeys(CROSSED, np.nan)
    if se == 0:
        value = effect.value
        return dict(zip(CROSSED, (0.0, value, value, float(value == 0)), strict=True))
    df = variance**2 / uncertainty
    half = float(stats.t.ppf((1 + level) / 2, df)) * se
    return {
        "se_both": se,
        "low_both": effect.value - half,
        "high_both": effect.value + half,
        "p_both": 2 * float(stats.t.sf(abs(effect.value) / se, df)),
    }


def directions(values: Floats) -> dict[str, int]:
    """In how many of (L,) languages a metric rises and falls."""
    moved = values.round(12)  # rounding errors of differences are no change
    return {"rises": int((moved > 0).sum()), "falls": int((moved < 0).sum())}
