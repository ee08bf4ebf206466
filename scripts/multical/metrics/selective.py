"""Selective prediction without a useful confidence, and with the best possible one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from multical.metrics.readouts import Floats


def baselines(questions: ArrayLike, wrong: ArrayLike) -> dict[str, Floats]:
    """AURC and AUGRC of trivial orders of (m,) numbers of questions and of wrong answers.

    `random` is a confidence that says nothing: with ties, or on average over all orders. `oracle`
    puts all right answers before all wrong ones, and no confidence has a lower area. They are
    exact, as `definitions.aurc` and `definitions.augrc` define the areas. For very many questions
    and a share of errors e, the AURC of the oracle is e + (1 - e) log(1 - e) (Geifman et al. 2019).
    """
    questions, wrong = np.asarray(questions, float), np.asarray(wrong, float)
    right, share = questions - wrong, wrong / questions
    steps = special.digamma(questions + 1) - special.digamma(right + 1)  # 1/(r + 1) + ... + 1/n
    return {
        "aurc_random": share,
        "aurc_oracle": (wrong - right * steps) / questions,
        "augrc_random": share / 2,
        "augrc_oracle": share**2 / 2,
    }
