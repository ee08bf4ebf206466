"""Whether confidence tells right answers from wrong ones: the statistics of paper 2.

The definitions are those of Plaut, Nguyen and Trinh (arXiv 2402.13213) and their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from multical.errors import InputError
from multical.metrics.readouts import Floats, Readout


def mann_whitney(readout: Readout) -> tuple[float, float]:
    """U and two-sided p of the confidences of right answers against those of wrong ones.

    U counts the pairs in which the right answer is more confident, and ties as half a pair:
    U = AUROC x pairs. Both are NaN if all answers are right or all are wrong.
    """
    right = readout.confidence[readout.correct]
    wrong = readout.confidence[~readout.correct]
    if not len(right) or not len(wrong):
        return np.nan, np.nan
    test = stats.mannwhitneyu(right, wrong)
    return float(test.statistic), float(test.pvalue)


@dataclass(frozen=True)
class OneSample:
    """A one-sample test, `test` being "t" or "wilcoxon"."""

    test: str
    statistic: float
    p: float
    normality_p: float


def one_sample(values: Sequence[float], centre: float = 0.5, level: float = 0.05) -> OneSample:
    """Test whether `values` lie above `centre`: Student's t if they look normal, else Wilcoxon.

    As in the authors' code, a Kolmogorov-Smirnov test against the *standard* normal
    distribution decides. Several AUROCs in [0, 1] fail it, so the test is nearly always
    Wilcoxon's, whose smallest p for 5 values is 1/32.
    """
    sample = np.asarray(values, float)
    if len(sample) < 2 or np.isnan(sample).any():
        return OneSample("", np.nan, np.nan, np.nan)
    normality = float(stats.kstest(sample, "norm").pvalue)
    if normality > level:
        result, name = stats.ttest_1samp(sample, centre, alternative="greater"), "t"
    else:
        result, name = stats.wilcoxon(sample - centre, alternative="greater"), "wilcoxon"
    return OneSample(name, float(result.statistic), float(result.pvalue), normality)


@dataclass(frozen=True)
class Platt:
    """Platt scaling: the probability sigmoid(a s + b) of being right at score s."""

    a: float
    b: float

    def __call__(self, scores: Floats) -> Floats:
        return np.asarray(special.expit(self.a * scores + self.b))


def fit_platt(scores: Floats, correct: np.ndarray) -> Platt:
    """Fit Platt scaling (Platt 1999) by maximum likelihood on regularised targets.

    With r right and w wrong answers, the target of a right answer is (r + 1) / (r + 2), that
    of a wrong one 1 / (w + 2). An optimum therefore exists for any data. If all answers are
    right, all are wrong or all scores are equal, several curves are optimal, and the flat one
    is taken: a = 0.
    """
    correct = np.asarray(correct, bool)
    if not len(correct) or len(scores) != len(correct):
        raise InputError(f"Platt scaling: {len(scores)} scores, {len(correct)} answers")
    right, wrong = int(correct.sum()), int((~correct).sum())
    target = np.where(correct, (right + 1) / (right + 2), 1 / (wrong + 2))
    level = float(special.logit(target.mean()))
    spread = float(np.std(scores))
    if right == 0 or wrong == 0 or spread == 0:
        return Platt(0.0, level)
    centre = float(np.mean(scores))
    z = (scores - centre) / spread

    def loss(at: Floats) -> tuple[float, Floats]:
        line = at[0] * z + at[1]
        error = special.expit(line) - target
        return (
            float(np.sum(np.logaddexp(0, line) - target * line)),
            np.array([error @ z, error.sum()]),
        )

    a, b = optimize.minimize(loss, [0.0, level], jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return Platt(float(a / spread), float(b - a * centre / spread))
