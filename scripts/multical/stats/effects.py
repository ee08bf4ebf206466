"""How large a change is, and whether it is real: effects with intervals and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats.t takes far longer for them

from multical.metrics.bootstrap import around
from multical.metrics.readouts import Floats
from multical.stats.estimates import Estimate, mean


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


def effect_of(pairs: Sequence[tuple[Estimate, Estimate]]) -> Effect:
    """The change from estimates before to those after, a pair for each seed."""
    by_seed = np.array([after.value - before.value for before, after in pairs])
    drawn = [after.replicates - before.replicates for before, after in pairs]
    first, _ = pairs[0]
    low, high = first.bounds
    return Effect(
        float(by_seed.mean()), np.mean(drawn, axis=0), first.n, (low - high, high - low), by_seed
    )


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
    """Value, interval, and standard deviation over seeds (NaN for one seed).

    The interval of one training is the bootstrap's. That of several is Student's, so that it also
    covers other trainings (`spread`).
    """
    seeds = effect.by_seed
    if len(seeds) == 1:
        low, high = around(effect.value, effect.replicates, effect.n, level, effect.bounds)
        return {"value": effect.value, "ci_low": low, "ci_high": high, "seed_sd": np.nan}
    se, df = spread(effect)
    half = float(stdtrit(df, (1 + level) / 2)) * se
    low, high = np.clip([effect.value - half, effect.value + half], *effect.bounds).tolist()
    sd = float(np.std(seeds, ddof=1))
    return {"value": effect.value, "ci_low": low, "ci_high": high, "seed_sd": sd}


def spread(effect: Effect) -> tuple[float, float]:
    """Standard error of an effect, and its degrees of freedom.

    For one training, the standard error is the standard deviation of the replicates times
    sqrt(n / (n - 1)), with n - 1 degrees of freedom: it covers other questions. For S trainings,
    the variance of their changes over S is added, with S - 1 degrees of freedom, so that it covers
    other trainings too. The degrees of the sum are the harmonic mean of those of its parts,
    weighted by variance, since Satterthwaite's are too many for 2 or 3 trainings. NaN if the effect
    has fewer than two questions or replicates.
    """
    drawn = effect.replicates[~np.isnan(effect.replicates)]
    if effect.n < 2 or len(drawn) < 2:
        return np.nan, np.nan
    seeds, parts = len(effect.by_seed), [(np.var(drawn, ddof=1) / (1 - 1 / effect.n), effect.n - 1)]
    if seeds > 1:
        parts.append((np.var(effect.by_seed, ddof=1) / seeds, seeds - 1))
    variance = float(sum(part for part, _ in parts))
    inverse = float(sum(part / df for part, df in parts))
    return variance**0.5, variance / inverse if inverse else float(effect.n - 1)


def effect_test(effect: Effect) -> dict[str, float]:
    """Two-sided t-test of whether an effect exceeds what the choice of questions explains.

    With several seeds it also has to exceed what the choice of trainings explains (`spread`). For
    a mean over questions and one training this is the paired t-test, up to the noise of B draws. A
    p from the replicates alone cannot be below 1 / (B + 1), which is too coarse for a correction
    for forty languages. `d_z` is Cohen's d of paired differences, effect / (se sqrt(n)).
    """
    se, df = spread(effect)
    if np.isnan(se):
        return {"se": np.nan, "d_z": np.nan, "p": np.nan}
    if effect.value == 0:
        return {"se": se, "d_z": 0.0, "p": 1.0}
    with np.errstate(divide="ignore"):
        t = np.float64(effect.value) / se
    p = 2 * float(stdtr(df, -abs(t)))
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
CROSSED = ("se_all", "low_all", "high_all", "p_all")


def crossed_test(contrast: Contrast, level: float) -> dict[str, float]:
    """Two-sided t-test of whether an effect holds for other questions *and* other languages.

    Both are random and crossed: effect of language l on question q = mean + a_l + b_q + e_lq. The
    variance of the mean has two parts. `spread` gives that of b and e, and that of trainings if
    there are several. That of a, by moments, is the variance between languages less what e adds to
    it, which is the noise of single languages less the noise that they share, b. Degrees of freedom
    are Satterthwaite's. The ends are those of the interval of the same level. NaN with fewer than
    two languages in a group.
    """
    effect = contrast.effect
    se, df = spread(effect)
    variance, uncertainty = se**2, se**4 / df
    for _, effects in contrast.groups:
        defined = [one for one in effects if not np.isnan(one.value)]
        if len(defined) < 2:
            return dict.fromkeys(CROSSED, np.nan)
        languages = len(defined)
        noise = float(np.mean([_question_variance(one) for one in defined]))
        of_mean = _question_variance(average(defined))
        shared = np.clip((of_mean - noise / languages) / (1 - 1 / languages), 0, noise)
        between = float(np.var([one.value for one in defined], ddof=1))
        variance += max(0.0, between - (noise - shared)) / languages
        uncertainty += (between / languages) ** 2 / (languages - 1)
    se = float(np.sqrt(variance))
    if np.isnan(se):
        return dict.fromkeys(CROSSED, np.nan)
    if se == 0:
        value = effect.value
        return dict(zip(CROSSED, (0.0, value, value, float(value == 0)), strict=True))
    df = variance**2 / uncertainty
    half = float(stdtrit(df, (1 + level) / 2)) * se
    return {
        "se_all": se,
        "low_all": effect.value - half,
        "high_all": effect.value + half,
        "p_all": 2 * float(stdtr(df, -abs(effect.value) / se)),
    }


def _question_variance(effect: Effect) -> float:
    """The part of an effect's variance that is due to questions."""
    return spread(replace(effect, by_seed=effect.by_seed[:1]))[0] ** 2


def over_models(changes: Floats, level: float) -> dict[str, float]:
    """Student's interval and test of the mean of (k,) changes, of which each belongs to a model.

    The models are the sample, on the questions as they are. NaN if no two changes differ.
    """
    if len(changes) < 2 or not changes.std() > 0:
        return {"ci_low": np.nan, "ci_high": np.nan, "p": np.nan}
    test = stats.ttest_1samp(changes, 0)
    low, high = test.confidence_interval(level)
    return {"ci_low": float(low), "ci_high": float(high), "p": float(test.pvalue)}


def directions(values: Floats) -> dict[str, int]:
    """In how many of (L,) languages a metric rises and falls."""
    moved = values.round(12)  # rounding errors of differences are no change
    return {"rises": int((moved > 0).sum()), "falls": int((moved < 0).sum())}
