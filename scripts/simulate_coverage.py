"""Simulate benchmarks of known calibration: do intervals hold the truth, do tests keep their level?

The probability of a right answer is uniform between 0.25 and 1. The stated confidence is that
probability to the power 1 / s: calibrated for s = 1, overconfident for s > 1. For each question,
the probabilities and answers of the languages and of two runs are correlated (Gaussian copulas).
Every simulated benchmark goes through the study's own bootstrap and metrics. An interval should
hold the metric of infinitely many questions, which is computed by numerical integration. In one
kind of benchmark both runs are calibrated, and the second is less sharp: its probabilities are
drawn towards their mean.

The intervals are for one language, for the mean over the languages, and for the change of that
mean from the first run to the second, which is 0 in truth. The tests ask whether that mean rises,
and whether it falls, by the one-sided bootstrap p of the claims, and whether the metric of any
language rises, with Holm's correction. For runs of different sharpness they ask whether an error
falls, which it does not in truth. A row has the share of simulations in which an interval
held the truth, or a test rejected it at 1 - level, with the 95 % Wilson interval of that share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
from scipy import special
from statsmodels.stats.proportion import proportion_confint
from tqdm import tqdm

from multical.claims.judge import tail
from multical.errors import program
from multical.files import atomic
from multical.metrics.bootstrap import Bootstrap, interval, recentred
from multical.metrics.definitions import METRICS, edges
from multical.metrics.params import Coverage
from multical.metrics.readouts import Floats, Readout
from multical.metrics.resampling import replicates
from multical.params import command_line
from multical.stats import comparisons

NAMES = ["accuracy", "confidence", "ece", "rmsce", "debiased_ece2", "auroc"]
COLUMNS = ["kind", "of", "metric", "power", "questions", "truth", "share", "low", "high"]
COLUMNS += ["simulations", "replicates"]
LEAST = 0.25  # chance of four options
MIDDLE = (1 + LEAST) / 2
#: How sharp the second of two calibrated runs is, and the errors whose change is then tested
SHARPNESS, ERRORS = 0.2, ("ece", "rmsce", "debiased_ece2")
SHARED = 0.5  # correlation of the normal variables behind two languages, or runs
GRID = 1_000_000  # points of the integration


def main() -> None:
    arguments = command_line(__doc__, Coverage, output="the table, .csv").parse_args()
    table = simulate(arguments.params)
    with atomic(arguments.output) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def simulate(params: Coverage) -> pd.DataFrame:
    """A row for each kind, place, metric, power and number of questions."""
    rows, simulations = [], params.simulations
    scenarios = [(power, 1.0) for power in params.powers] + [(1.0, SHARPNESS)]
    for questions, (power, sharpness) in product(params.questions, scenarios):
        truth = truths(power, params.bins)
        counts = counted(questions, power, sharpness, truth, params)
        if sharpness < 1:
            tests = {metric: counts["test", "mean falls", metric] for metric in ERRORS}
            counts = Counter({("sharpness", "mean falls", name): n for name, n in tests.items()})
        for (kind, of, metric), count in counts.items():
            level = kind == "interval" and not of.startswith("change")
            low, high = proportion_confint(count, simulations, method="wilson")
            row = [kind, of, metric, power, questions, truth[metric] if level else 0.0]
            row += [count / simulations, low, high, simulations, params.replicates]
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def truths(power: float, bins: int) -> dict[str, float]:
    """The metrics of infinitely many questions."""
    chance = LEAST + (1 - LEAST) * (np.arange(GRID) + 0.5) / GRID
    stated = chance ** (1 / power)
    index = np.minimum(np.searchsorted(edges(bins), stated, side="right") - 1, bins - 1)
    mass = np.bincount(index, minlength=bins) / GRID
    gap = np.bincount(index, stated - chance, bins) / GRID
    square = float((gap**2 / np.where(mass > 0, mass, 1)).sum())
    # Confidence rises with the chance, so the less confident wrong answers come before.
    below = np.cumsum(1 - chance) - (1 - chance) / 2
    return {
        "accuracy": float(chance.mean()),
        "confidence": float(stated.mean()),
        "ece": float(np.abs(gap).sum()),
        "rmsce": square**0.5,
        "debiased_ece2": square,
        "auroc": float((chance * below).sum() / (chance.sum() * (1 - chance).sum())),
    }


def counted(
    questions: int, power: float, sharpness: float, truth: dict[str, float], params: Coverage
) -> Counter[tuple[str, str, str]]:
    """How many intervals held the truth, and how many tests rejected it, in all simulations."""
    counts: Counter[tuple[str, str, str]] = Counter()
    ids = pd.Series([f"q{number:05d}" for number in range(questions)])
    seed = [params.seed, questions, int(1000 * power)]
    generator = np.random.default_rng([*seed, 1] if sharpness < 1 else seed)
    for number in tqdm(range(params.simulations), desc=f"{questions} questions, power {power}"):
        sample = Bootstrap(ids.to_list(), params.replicates, number).sample(ids)
        runs = [
            [replicates(readout, sample, NAMES, params.bins) for readout in run]
            for run in readouts(generator, questions, power, params.languages, sharpness)
        ]
        for metric in NAMES:
            before, after = (np.array([values[metric] for values in run]) for run in runs)
            for key, held in outcomes(metric, before, after, truth[metric], params.level):
                counts[*key, metric] += held
    return counts


def readouts(
    generator: np.random.Generator, questions: int, power: float, languages: int,
    sharpness: float = 1.0,
) -> Iterator[list[Readout]]:  # fmt: skip
    """Two runs on the same questions, each in all languages, the second of less sharpness."""
    shape = (2, 2, languages, questions)  # of chances and of answers, by run
    single, shared = generator.normal(size=shape), generator.normal(size=(2, 1, 1, questions))
    uniform = special.ndtr(SHARED**0.5 * shared + (1 - SHARED) ** 0.5 * single)
    chance = LEAST + (1 - LEAST) * uniform[0]
    chance[1] = MIDDLE + sharpness * (chance[1] - MIDDLE)
    for chances, draws in zip(chance, uniform[1], strict=True):
        yield [
            Readout(right ** (1 / power), draw < right, None, None, True)
            for right, draw in zip(chances, draws, strict=True)
        ]


def outcomes(
    metric: str, before: Floats, after: Floats, truth: float, level: float
) -> Iterator[tuple[tuple[str, str], bool]]:
    """(kind, of), and whether the interval held the truth or the test rejected it.

    `before` and `after` are (languages, B + 1), with the estimate last.
    """
    change = (after - before).mean(axis=0)
    bounds, any_change = METRICS[metric].bounds, (-np.inf, np.inf)
    for of, values, target, ends in (
        ("one language", before[0], truth, bounds),
        ("mean over languages", before.mean(axis=0), truth, bounds),
        ("change of the mean", change, 0.0, any_change),
    ):
        low, high = interval(recentred(values[:-1], values[-1], ends), level)
        yield ("interval", of), bool(low <= target <= high)
    moved = recentred(change[:-1], change[-1])
    for direction, name in (("above", "rises"), ("below", "falls")):
        yield ("test", f"mean {name}"), tail(moved, 0.0, direction) <= 1 - level
    p = [tail(recentred(values[:-1], values[-1]), 0.0, "above") for values in after - before]
    yield ("test", "any language rises"), bool((comparisons.adjusted(p, "holm") <= 1 - level).any())


if __name__ == "__main__":
    program(main)
