"""A linear mixed model of a change by resource level, with languages as random sample."""

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

#: Blocks into which a language's questions are cut: enough to estimate the noise in a language
BLOCKS = 10
#: Tried in order until one converges. The second uses no gradient, which is flat if languages
#: hardly differ
OPTIMISERS = ["lbfgs", "powell"]


class NotFittedError(Exception):
    """A model cannot be fitted; the reason, in one sentence."""


@dataclass(frozen=True)
class Cell:
    """A metric of a run in a language, and its means in k blocks of questions, (k,)."""

    value: float
    blocks: Floats


@dataclass(frozen=True)
class Fit:
    """A fitted model: effects by level and their differences to the first, and diagnostics.

    `terms` has an entry for each row of the table of effects, `about` the row of the model.
    """

    terms: list[dict[str, Any]]
    about: dict[str, Any]


def per_question(readout: Readout, metric: str, bins: int) -> Floats:
    """(n,) values whose mean is the metric, one of `params.Tested`.

    For the ECE, a question's value is confidence - correct, times the sign of the gap in its
    bin. This is the first-order expansion of the ECE, with the signs taken as fixed.
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
    """Whether the metric is defined for the readout."""
    return DEFINITIONS[metric].applies(readout)


def over_seeds(cells: list[Cell]) -> Cell:
    """The mean over seeds, which share their questions."""
    blocks = np.mean([cell.blocks for cell in cells], axis=0)
    return Cell(float(np.mean([cell.value for cell in cells])), blocks)


def cell(values: Floats, order: NDArray[np.integer[Any]]) -> Cell:
    """The mean of (n,) values and their block means, with blocks cut in the given order.

    The sizes of blocks differ by at most one question.
    """
    blocks = np.array_split(values[np.argsort(order)], min(BLOCKS, len(values)))
    return Cell(float(values.mean()), np.array([block.mean() for block in blocks]))


def paired(before: list[Cell], after: list[Cell]) -> Floats:
    """(L, k, 2) values to fit: of L languages in k blocks of the same questions, before and after.

    What a block has in common before and after, such as hard questions, is removed as in a
    within-subject design (Morey 2008). The deviations from the cell's value keep half of the
    difference between before and after, times sqrt(2). The residual variance is then that of
    the paired difference, as with a random intercept for each block of a language.
    """
    k = min(len(cell.blocks) for cell in [*before, *after])
    if k < 2:
        raise NotFittedError("a language has one question, expected at least two")
    values = np.array([[cell.value for cell in side] for side in (before, after)]).T  # (L, 2)
    blocks = [[resized(cell.blocks, k) for cell in side] for side in (before, after)]
    deviations = np.moveaxis(np.array(blocks), 0, 2)  # (L, k, 2)
    deviations = deviations - deviations.mean(axis=1, keepdims=True)
    shared = deviations.mean(axis=2, keepdims=True)
    return np.asarray(values[:, None] + (deviations - shared) * np.sqrt(2))


def resized(blocks: Floats, k: int) -> Floats:
    """Means of k blocks, made from more, since another language has fewer questions."""
    return np.array([group.mean() for group in np.array_split(blocks, k)])


def fit(values: Floats, levels: Sequence[str]) -> Fit:
    """Fit (L, k, 2) values of L languages, whose resource levels are `levels`, by REML.

    Fixed effects are condition x level, as an intercept and an effect for each level. Random
    effects are the intercept and the effect of each language. The tests are t-tests, whose
    degrees of freedom are the number of languages minus the number of levels. `d_av` is the
    effect divided by the standard deviation of languages within a level, whose variance is
    averaged over before and after. Raises `NotFittedError` if nothing can be fitted. A fit that
    did not converge has no p.
    """
    known = [level for level in LEVELS if level in levels]
    df = len(levels) - len(known)
    if df < 1:
        raise NotFittedError(
            f"{len(levels)} languages of {len(known)} resource levels, expected more languages"
        )
    place = np.array([known.index(level) for level in levels])
    # Without a residual, or with rounding errors alone, there is no model to fit.
    noise = _noise(values)
    if not noise > 1e-12 * np.var(values):
        raise NotFittedError("no block of questions differs from another: nothing is random")
    scale = float(np.std(values))
    result, warned = _fitted(values / scale, place, noise / scale**2)
    count = len(known)
    estimate = np.asarray(result.fe_params)[count:] * scale
    covariance = np.asarray(result.cov_params())[count : 2 * count, count : 2 * count] * scale**2
    intercept, shared, slope = np.asarray(result.cov_re)[[0, 0, 1], [0, 1, 1]] * scale**2
    sd = np.sqrt(max(intercept + shared + slope / 2, 0))  # variance averaged over before and after
    problems = _problems(result, covariance)
    languages = counted(levels)
    terms = [
        _term(name, weights, estimate, covariance, sd, df, not problems)
        | {"languages": languages[name]}
        for name, weights in _contrasts(known).items()
    ]
    about = {
        "converged": not problems,
        "problem": "; ".join([*problems, *warned]),
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
    """Number of languages behind each term of a fit, by the term's name."""
    known = [level for level in LEVELS if level in levels]
    return {
        name: sum(level in name.split("-") for level in levels) for name in _contrasts(known)
    }  # fmt: skip


def _noise(values: Floats) -> float:
    """Variance of (L, k, 2) blocks around the 2 L means of languages and conditions."""
    deviations = values - values.mean(axis=1, keepdims=True)
    return float((deviations**2).sum() / (values.size - 2 * len(values)))


def _fitted(values: Floats, place: NDArray[Any], noise: float) -> tuple[Any, list[str]]:
    """The result of the model, and the warnings of statsmodels."""
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
    messages = [" ".join(str(warning.message).split()) for warning in caught]
    return result, list(dict.fromkeys(messages))


def _start(values: Floats, place: NDArray[Any], noise: float) -> Floats:
    """Covariance of intercept and effect, divided by the residual variance, by moments.

    With equally many blocks in each language, these are the REML estimates if they lie inside
    the parameter space.
    """
    means = values.mean(axis=1)
    effects = np.column_stack([means[:, 0], means[:, 1] - means[:, 0]])
    levels = np.array([effects[place == level].mean(axis=0) for level in range(place.max() + 1)])
    deviations = effects - levels[place]
    covariance = deviations.T @ deviations / (len(effects) - place.max() - 1)
    covariance -= noise / values.shape[1] * np.array([[1, -1], [-1, 2]])
    roots, axes = np.linalg.eigh(covariance / noise)
    return np.asarray(axes * np.maximum(roots, 1e-3) @ axes.T)


def _problems(result: Any, covariance: Floats) -> list[str]:
    """Why the effects cannot be tested; empty if they can.

    statsmodels may warn of the covariance of the variances if a variance is zero. That does not
    affect the covariance of effects, since all languages and conditions have equally many blocks.
    """
    if not result.converged:
        return ["did not converge"]
    if not (np.isfinite(covariance).all() and (np.diag(covariance) > 0).all()):
        return ["no standard errors"]
    return []


def _contrasts(known: list[str]) -> dict[str, Floats]:
    """Weights of the levels' effects, by name: each effect, and its difference to the first."""
    unit = np.eye(len(known))
    return dict(zip(known, unit, strict=True)) | {
        f"{level}-{known[0]}": unit[place] - unit[0]
        for place, level in enumerate(known)
        if place
    }  # fmt: skip


def _term(
    level: str, weights: Floats, estimate: Floats, covariance: Floats, sd: float, df: int,
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
        "d_av": _ratio(value, sd),
        "p": p,
    }


def _ratio(value: float, scale: float) -> float:
    return float(value / scale) if scale > 0 else np.nan


def diagnostics(values: Floats, place: NDArray[Any]) -> dict[str, Any]:
    """Tests of the model's assumptions, as p-values; low values speak against the model.

    Shapiro and Wilk's test asks whether the effects of languages are normal around the mean of
    their level, and whether those of blocks are normal around the mean of their language. Brown
    and Forsythe's test asks whether the effects of languages spread equally in all levels.
    `outlier` is the index of the language furthest from its level's mean, `outlier_sd` that
    distance in standard deviations of languages.
    """
    blocks = values[:, :, 1] - values[:, :, 0]
    effect = blocks.mean(axis=1)
    groups = [effect[place == level] for level in range(place.max() + 1)]
    deviations = effect - np.array([group.mean() for group in groups])[place]
    spread = float(np.sqrt((deviations**2).sum() / max(len(deviations) - len(groups), 1)))
    furthest = int(np.argmax(np.abs(deviations)))
    several = [group for group in groups if len(group) > 2]
    return {
        "p_normal_languages": _shapiro(deviations),
        "p_normal_blocks": _shapiro((blocks - effect[:, None]).ravel()),
        "p_equal_spread": _levene(several),
        "outlier": furthest,
        "outlier_sd": _ratio(float(deviations[furthest]), spread),
    }


def _shapiro(values: Floats) -> float:
    if len(values) < 3 or not np.ptp(values) > 0:
        return np.nan
    return float(stats.shapiro(values).pvalue)


def _levene(groups: list[Floats]) -> float:
    if len(groups) < 2 or not any(np.ptp(group) > 0 for group in groups):
        return np.nan
    return float(stats.levene(*groups, center="median").pvalue)
