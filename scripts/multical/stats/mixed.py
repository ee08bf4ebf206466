"""A linear mixed model of a change by resource level, with languages as its random sample."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from multical.labels import LEVELS
from multical.metrics.definitions import METRICS as DEFINITIONS
from multical.metrics.definitions import edges
from multical.metrics.readouts import Floats, Readout, entropies

#: Blocks that the questions of a language are cut into: enough to tell noise from languages
BLOCKS = 10
#: One after the other, until one converges; the second needs no gradient, which is flat where
#: languages hardly differ
OPTIMISERS = ["lbfgs", "powell"]


class NotFittedError(Exception):
    """A model cannot be fitted; the reason, in one sentence."""


@dataclass(frozen=True)
class Cell:
    """A metric of a run in a language, and its (k,) means in blocks of questions."""

    value: float
    blocks: Floats


@dataclass(frozen=True)
class Fit:
    """The effect at each level and its differences to the first, and what says if they hold."""

    terms: list[dict[str, Any]]
    about: dict[str, Any]


def per_question(readout: Readout, metric: str, bins: int) -> Floats:
    """(n,) values whose mean is the metric, one of those that are tested.

    The ECE is the mean of confidence less correctness, with the sign that it has in the
    question's bin: its first-order expansion, the signs taken as given.
    """
    if metric == "ece":
        index = np.searchsorted(edges(bins), readout.confidence, side="right") - 1
        index = np.minimum(index, bins - 1)
        gap = readout.confidence - readout.correct
        return np.asarray(gap * np.sign(np.bincount(index, gap, bins))[index])
    if metric == "entropy" and readout.probabilities is not None:
        return entropies(readout.probabilities)
    return {"accuracy": readout.correct.astype(float), "confidence": readout.confidence}[metric]


def applies(readout: Readout, metric: str) -> bool:
    """Does a readout have the metric?"""
    return DEFINITIONS[metric].applies(readout)


def over_seeds(cells: list[Cell]) -> Cell:
    """The mean over seeds, of the same questions."""
    blocks = np.mean([one.blocks for one in cells], axis=0)
    return Cell(float(np.mean([one.value for one in cells])), blocks)


def cell(values: Floats, order: NDArray[np.integer[Any]]) -> Cell:
    """Means of (n,) values, in blocks that differ by at most one question, in some order."""
    parts = np.array_split(values[np.argsort(order)], min(BLOCKS, len(values)))
    return Cell(float(values.mean()), np.array([part.mean() for part in parts]))


def paired(before: list[Cell], after: list[Cell]) -> Floats:
    """(L, k, 2) values to fit: of L languages, each in k blocks of the same questions.

    What a block shares before and after, such as hard questions, is taken out as in a
    within-subject design (Morey 2008): deviations from the cell's value keep half of the
    difference of before and after, times sqrt(2). The residual variance is then that of the
    paired difference, as with a random intercept for each block of a language.
    """
    k = min(len(one.blocks) for one in [*before, *after])
    if k < 2:
        raise NotFittedError("a language has one question, expected at least two")
    whole = np.array([[one.value for one in side] for side in (before, after)]).T  # (L, 2)
    parts = [[resized(one.blocks, k) for one in side] for side in (before, after)]
    deviations = np.moveaxis(np.array(parts), 0, 2)  # (L, k, 2)
    deviations = deviations - deviations.mean(axis=1, keepdims=True)
    shared = deviations.mean(axis=2, keepdims=True)
    return np.asarray(whole[:, None] + (deviations - shared) * np.sqrt(2))


def resized(blocks: Floats, k: int) -> Floats:
    """Fewer blocks, where another language has not as many questions."""
    return np.array([part.mean() for part in np.array_split(blocks, k)])


def fit(values: Floats, levels: Sequence[str]) -> Fit:
    """Fit (L, k, 2) values of L languages of known `levels` by REML.

    Fixed effects: condition x level, as an intercept and an effect for each level; random:
    intercept and effect of each language. Tests are t-tests with as many degrees of freedom
    as there are more languages than levels. `d_av` is the effect over the standard deviation
    of languages within a level, that of before and after averaged. Raises `NotFittedError`
    where nothing can be fitted; a fit that did not converge has no p.
    """
    known = [level for level in LEVELS if level in levels]
    df = len(levels) - len(known)
    if df < 1:
        raise NotFittedError(
            f"{len(levels)} languages of {len(known)} resource levels, expected more languages"
        )
    place = np.array([known.index(level) for level in levels])
    # What a residual of zero, or of rounding, leaves to be fitted is no model.
    noise = _noise(values)
    if not noise > 1e-12 * np.var(values):
        raise NotFittedError("no block of questions differs from another: nothing is random")
    scale = float(np.std(values))
    result, said = _fitted(values / scale, place, noise / scale**2)
    count = len(known)
    estimate = np.asarray(result.fe_params)[count:] * scale
    covariance = np.asarray(result.cov_params())[count : 2 * count, count : 2 * count] * scale**2
    intercept, shared, slope = np.asarray(result.cov_re)[[0, 0, 1], [0, 1, 1]] * scale**2
    usual = np.sqrt(max(intercept + shared + slope / 2, 0))  # before and after
    bad = _unusable(result, covariance)
    terms = [
        _term(name, weights, estimate, covariance, usual, df, not bad)
        for name, weights in _contrasts(known).items()
    ]
    of = counted(levels)
    for term in terms:
        term["languages"] = of[term["level"]]
    about = {
        "converged": not bad,
        "problem": "; ".join([*bad, *said]),
        "languages": len(levels),
        "blocks": values.shape[1],
        "df": df,
        "log_likelihood": float(result.llf),
        "sd_intercept": float(np.sqrt(intercept)),
        "sd_effect": float(np.sqrt(slope)),
        "correlation": _ratio(shared, np.sqrt(intercept * slope)),
        "sd_residual": float(np.sqrt(result.scale)) * scale,
    }
    return Fit(terms, about | diagnostics(values, place))


def counted(levels: Sequence[str]) -> dict[str, int]:
    """How many languages each effect rests on, by the names of a fit's terms."""
    known = [level for level in LEVELS if level in levels]
    return {
        name: sum(level in name.split("-") for level in levels) for name in _contrasts(known)
    }  # fmt: skip


def _noise(values: Floats) -> float:
    """The variance of blocks about their language and condition: (L, k, 2) less 2 L means."""
    deviations = values - values.mean(axis=1, keepdims=True)
    return float((deviations**2).sum() / (values.size - 2 * len(values)))


def _fitted(values: Floats, place: NDArray[Any], noise: float) -> tuple[Any, list[str]]:
    """The model's result, and what statsmodels warned of."""
    languages, blocks, _ = values.shape
    language = np.repeat(np.arange(languages), 2 * blocks)
    after = np.tile([0.0, 1.0], languages * blocks)
    level = (place[language][:, None] == np.arange(place.max() + 1)).astype(float)
    fixed = np.hstack([level, level * after[:, None]])
    random = np.column_stack([np.ones_like(after), after])
    start = MixedLMParams.from_components(
        np.zeros(fixed.shape[1]), cov_re=_start(values, place, noise)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = MixedLM(values.ravel(), fixed, language, random)
            result = model.fit(reml=True, method=OPTIMISERS, start_params=start)
        except (np.linalg.LinAlgError, ValueError, FloatingPointError) as error:
            raise NotFittedError(f"statsmodels: {' '.join(str(error).split())}") from error
    said = [" ".join(str(one.message).split()) for one in caught]
    return result, list(dict.fromkeys(said))


def _start(values: Floats, place: NDArray[Any], noise: float) -> Floats:
    """Covariance of intercept and effect over the residual's, by moments.

    As many questions in each language: these are the REML estimates, where they are
    inside of the parameter space.
    """
    means = values.mean(axis=1)
    own = np.column_stack([means[:, 0], means[:, 1] - means[:, 0]])
    apart = (
        own - np.array([own[place == one].mean(axis=0) for one in range(place.max() + 1)])[place]
    )
    found = apart.T @ apart / (len(own) - place.max() - 1)
    found -= noise / values.shape[1] * np.array([[1, -1], [-1, 2]])
    roots, axes = np.linalg.eigh(found / noise)
    return np.asarray(axes * np.maximum(roots, 1e-3) @ axes.T)


def _unusable(result: Any, covariance: Floats) -> list[str]:
    """Why the effects cannot be tested; None if they can.

    As many blocks in each language and condition: the covariance of effects is free of that of
    variances, which statsmodels may warn of where a variance is zero.
    """
    if not result.converged:
        return ["did not converge"]
    if not (np.isfinite(covariance).all() and (np.diag(covariance) > 0).all()):
        return ["no standard errors"]
    return []


def _contrasts(known: list[str]) -> dict[str, Floats]:
    """By name: the effect at each level, and its differences to the first level."""
    each = np.eye(len(known))
    found = dict(zip(known, each, strict=True))
    return found | {
        f"{level}-{known[0]}": each[place] - each[0]
        for place, level in enumerate(known)
        if place
    }  # fmt: skip


def _term(
    level: str, weights: Floats, estimate: Floats, covariance: Floats, usual: float, df: int,
    usable: bool,
) -> dict[str, Any]:  # fmt: skip
    value = float(weights @ estimate)
    variance = float(weights @ covariance @ weights)
    se = float(np.sqrt(variance)) if usable and variance > 0 else np.nan
    p = 2 * float(stats.t.sf(abs(_ratio(value, se)), df))
    return {
        "level": level,
        "value": value,
        "se": se,
        "df": df,
        "d_av": _ratio(value, usual),
        "p": p,
    }


def _ratio(one: float, other: float) -> float:
    return float(one / other) if other > 0 else np.nan


def diagnostics(values: Floats, place: NDArray[Any]) -> dict[str, Any]:
    """Tests of the assumptions of the model, as p-values; low ones speak against it.

    Shapiro and Wilk's test that the effects of languages about their level's mean, and that
    those of blocks about their language's, are normal; Brown and Forsythe's that the effects
    of languages spread alike in all levels.
    `outlier` is the (index of the) language furthest from its level's mean, `outlier_sd` by
    how many standard deviations of languages.
    """
    blocks = values[:, :, 1] - values[:, :, 0]
    effect = blocks.mean(axis=1)
    groups = [effect[place == one] for one in range(place.max() + 1)]
    apart = effect - np.array([group.mean() for group in groups])[place]
    spread = float(np.sqrt((apart**2).sum() / max(len(apart) - len(groups), 1)))
    furthest = int(np.argmax(np.abs(apart)))
    several = [group for group in groups if len(group) > 2]
    return {
        "p_normal_languages": _shapiro(apart),
        "p_normal_blocks": _shapiro((blocks - effect[:, None]).ravel()),
        "p_equal_spread": _levene(several),
        "outlier": furthest,
        "outlier_sd": _ratio(float(apart[furthest]), spread),
    }


def _shapiro(values: Floats) -> float:
    if len(values) < 3 or not np.ptp(values) > 0:
        return np.nan
    return float(stats.shapiro(values).pvalue)


def _levene(groups: list[Floats]) -> float:
    if len(groups) < 2 or not any(np.ptp(group) > 0 for group in groups):
        return np.nan
    return float(stats.levene(*groups, center="median").pvalue)
