"""Simulate benchmarks of known calibration: do intervals hold the truth, do tests keep their level?

The probability of a right answer is uniform between 0.25 and 1. The stated confidence is that
probability to the power 1 / s: calibrated for s = 1, overconfident for s > 1; the other three
options share the rest. For each question, the probabilities and answers of the languages and of two
runs are correlated (Gaussian copulas). Every simulated benchmark goes through the study's own
bootstrap, metrics, intervals and tests. An interval should hold the metric of infinitely many
questions, which is computed by numerical integration.

Scenarios vary the numbers of languages and questions and s, with a correlation as in the demo; the
correlation; the sharpness of the second of two calibrated runs, whose probabilities are drawn
towards their mean; and confidences that say nothing of the answer (noise).

Intervals are of one language, of the mean over the languages, and of the change of that mean from
the first run to the second, which is 0 in truth. The tests ask whether that mean changes (the
t-test over questions, and that over questions and languages), whether it rises, and whether it
falls (the one-sided bootstrap tests of the claims), and whether the metric changes in any language,
with Holm's correction. A row has the share of simulations in which an interval held the truth, or
a test rejected it at 1 - level, with the 95 % Wilson interval of that share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import astuple, dataclass, fields, replace
from functools import cache, partial
from itertools import product

import numpy as np
import pandas as pd
from scipy import special
from statsmodels.stats.proportion import proportion_confint
from tqdm import tqdm

from multical.claims.judge import tail
from multical.errors import program
from multical.files import atomic
from multical.metrics import declared
from multical.metrics.bootstrap import Bootstrap, recentred
from multical.metrics.definitions import BIASED, CELLS, METRICS, equal_width, smoothed
from multical.metrics.params import Coverage
from multical.metrics.readouts import Floats, Readout
from multical.metrics.resampling import replicates
from multical.params import command_line
from multical.stats import comparisons
from multical.stats.effects import Contrast, crossed_test, described, effect_of, effect_test
from multical.stats.estimates import Estimate, average, interval

#: Metrics that have intervals in tables and figures
NAMES = ["accuracy", "confidence", "gap", "ece", "ece_equal_mass", "rmsce", "debiased_ece2",
         "resolution", "smece", "brier", "nll", "entropy", "auroc", "aurc", "augrc"]  # fmt: skip
#: Metrics whose change is tested, and those whose change the verdicts show beside it
CHANGED = [*declared.TESTED, "ece", "ece_equal_mass", "rmsce", "nll"]
LEAST, OPTIONS = 0.25, 4
MIDDLE = (1 + LEAST) / 2
#: The correlation of the normal variables behind two languages that the demo's answers have
AS_DEMO = 0.06
#: How sharp the second of two calibrated runs is, where sharpness is at issue
BLUNT = 0.2
#: Correlation of the normal variables behind two runs
RUNS = 0.5
GRID = 1_200_000  # points of the integration


@dataclass(frozen=True)
class Scenario:
    """How benchmarks are simulated: the columns of the table."""

    languages: int
    questions: int
    shared: float = AS_DEMO
    power: float = 1.0
    sharpness: float = 1.0
    noise: bool = False


COLUMNS = ["kind", "of", "metric", *(field.name for field in fields(Scenario))]
COLUMNS += ["truth", "share", "low", "high", "simulations", "replicates"]


def main() -> None:
    parser = command_line(__doc__, Coverage, output="the table, .csv")
    parser.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    arguments = parser.parse_args()
    table = simulate(arguments.params, arguments.processes)
    with atomic(arguments.output) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def scenarios(params: Coverage) -> list[Scenario]:
    sizes = [Scenario(*size) for size in product(params.languages, params.questions)]
    middle = Scenario(params.languages[-1], params.questions[len(params.questions) // 2])
    power = params.powers[len(params.powers) // 2]
    return [
        *(replace(size, power=power) for size, power in product(sizes, params.powers)),
        *(replace(middle, power=power, shared=shared) for shared in params.shared),
        *(replace(size, sharpness=BLUNT) for size in sizes),
        replace(middle, noise=True),
    ]


def simulate(params: Coverage, processes: int = 1) -> pd.DataFrame:
    """A row for each kind, place, metric and scenario."""
    rows, chosen = [], scenarios(params)
    with ProcessPoolExecutor(processes) if processes > 1 else nullcontext() as pool:
        results = (pool.map if pool else map)(partial(counted, params=params), chosen)
        counts = list(tqdm(results, total=len(chosen), unit="scenario"))
    for scenario, of_scenario in zip(chosen, counts, strict=True):
        for (kind, of, metric, truth), count in of_scenario.items():
            low, high = proportion_confint(count, params.simulations, method="wilson")
            row = [kind, of, metric, *astuple(scenario), truth, count / params.simulations]
            rows.append([*row, low, high, params.simulations, params.replicates])
    return pd.DataFrame(rows, columns=COLUMNS)


def counted(scenario: Scenario, params: Coverage) -> Counter[tuple[str, str, str, float]]:
    """How many intervals held the truth, and how many tests rejected it, in all simulations."""
    counts: Counter[tuple[str, str, str, float]] = Counter()
    truth = truths(scenario.power, params.bins, scenario.noise)
    ids = pd.Series([f"q{number:05d}" for number in range(scenario.questions)])
    generator = np.random.default_rng([params.seed, *(int(1000 * x) for x in astuple(scenario))])
    for number in range(params.simulations):
        sample = Bootstrap(ids.to_list(), params.replicates, number).sample(ids)
        runs = [
            [replicates(readout, sample, names, params.bins) for readout in run]
            for names, run in zip((NAMES, CHANGED), readouts(generator, scenario), strict=True)
        ]
        for metric in NAMES:
            before = [estimate(metric, values, scenario) for values in runs[0]]
            if scenario.sharpness == 1:
                for of, held in levels(before, truth[metric], params.level):
                    counts["interval", of, metric, truth[metric]] += held
            if metric in CHANGED and not moves(metric, scenario):
                after = [estimate(metric, values, scenario) for values in runs[1]]
                for kind, of, held in changes(before, after, params.level):
                    counts[kind, of, metric, 0.0] += held
    return counts


def moves(metric: str, scenario: Scenario) -> bool:
    """Whether the true metric is not the same in the two runs of a scenario."""
    return scenario.sharpness < 1 and metric in ("brier", "nll", "entropy")


def estimate(metric: str, values: dict[str, Floats], scenario: Scenario) -> Estimate:
    debiased = values["debiased_ece2"] if metric in BIASED else None
    drawn = values[metric]
    return Estimate(
        float(drawn[-1]), drawn[:-1], scenario.questions, METRICS[metric].bounds, debiased
    )


@cache
def truths(power: float, bins: int, noise: bool = False) -> dict[str, float]:
    """The metrics of infinitely many questions, with confidences that may be noise."""
    stated = (LEAST + (1 - LEAST) * (np.arange(GRID) + 0.5) / GRID) ** (1 / power)
    chance = np.full(GRID, MIDDLE) if noise else stated**power
    rest = (1 - stated) / (OPTIONS - 1)
    index = equal_width(stated, bins)
    mass = np.bincount(index, minlength=bins) / GRID
    gap = np.bincount(index, stated - chance, bins) / GRID
    filled = np.where(mass > 0, mass, 1)
    square = float((gap**2 / filled).sum())
    right = np.bincount(index, chance, bins) / GRID
    cells = np.bincount(equal_width(stated, CELLS), stated - chance, CELLS) / GRID
    below = np.cumsum(1 - chance) - (1 - chance) / 2  # less confident wrong answers
    auroc = float((chance * below).sum() / (chance.sum() * (1 - chance).sum()))
    accuracy = float(chance.mean())
    others = (OPTIONS - 1) * rest**2
    spread = -stated * np.log(stated) - special.xlogy((OPTIONS - 1) * rest, rest)
    wrong = (1 - chance)[::-1]
    return {
        "accuracy": accuracy,
        "confidence": float(stated.mean()),
        "gap": float((stated - chance).mean()),
        "ece": float(np.abs(gap).sum()),
        "ece_equal_mass": float(np.abs((stated - chance).reshape(bins, -1).mean(axis=1)).mean()),
        "rmsce": square**0.5,
        "debiased_ece2": square,
        "resolution": float((mass * (right / filled - chance.mean()) ** 2).sum()),
        "smece": float(smoothed(cells[None])[0]),
        "brier": float(
            (chance * ((1 - stated) ** 2 + others)).mean()
            + ((1 - chance) * (stated**2 + others + 1 - 2 * rest)).mean()
        ),
        "nll": float(-(chance * np.log(stated) + special.xlogy(1 - chance, rest)).mean()),
        "entropy": float(spread.mean()),
        "auroc": auroc,
        "aurc": float((np.cumsum(wrong) / np.arange(1, GRID + 1)).mean()),
        "augrc": (1 - auroc) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2,
    }


def readouts(generator: np.random.Generator, scenario: Scenario) -> Iterator[list[Readout]]:
    """Two runs on the same questions, each in all languages."""
    languages, questions, shared = scenario.languages, scenario.questions, scenario.shared
    between = max(RUNS, shared)  # all that two languages share, two runs do
    of_question = generator.normal(size=(2, 1, 1, questions))
    of_language = generator.normal(size=(2, 1, languages, questions))
    of_run = generator.normal(size=(2, 2, languages, questions))
    normal = shared**0.5 * of_question + (between - shared) ** 0.5 * of_language
    uniform = special.ndtr(normal + (1 - between) ** 0.5 * of_run)
    chance = LEAST + (1 - LEAST) * uniform[0]
    chance[1] = MIDDLE + scenario.sharpness * (chance[1] - MIDDLE)
    limit = np.full_like(chance, MIDDLE) if scenario.noise else chance
    gold = generator.integers(1, OPTIONS, chance.shape)
    for run in range(2):
        stated, right = chance[run] ** (1 / scenario.power), uniform[1, run] < limit[run]
        yield [readout(*rows) for rows in zip(stated, right, gold[run], strict=True)]


def readout(stated: Floats, right: Floats, gold: Floats) -> Readout:
    """The answer is option 0. `gold` is the right option where that is wrong."""
    rest = (1 - stated) / (OPTIONS - 1)
    probabilities = np.column_stack([stated, *[rest] * (OPTIONS - 1)])
    return Readout(stated, right.astype(bool), probabilities, np.where(right, 0, gold), True)


def levels(estimates: Sequence[Estimate], truth: float, level: float) -> Iterator[tuple[str, bool]]:
    """Of what an interval is, and whether it held the truth."""
    places = {"one language": estimates[0]}
    if len(estimates) > 1:
        places["mean over languages"] = average(estimates)
    for of, cell in places.items():
        low, high = interval(cell, level)
        yield of, low - 1e-12 <= truth <= high + 1e-12


def changes(
    before: Sequence[Estimate], after: Sequence[Estimate], level: float
) -> Iterator[tuple[str, str, bool]]:
    """(kind, of), and whether the interval held 0 or the test rejected it."""
    contrast = Contrast([(1.0, [effect_of([pair]) for pair in zip(before, after, strict=True)])])
    effect, alpha = contrast.effect, 1 - level
    found = described(effect, level)
    yield "interval", "change of the mean", found["ci_low"] <= 0 <= found["ci_high"]
    yield "test", "mean changes", effect_test(effect)["p"] < alpha
    if len(before) > 1:
        found = crossed_test(contrast, level)
        yield (
            "interval",
            "change in other languages too",
            found["low_all"] <= 0 <= found["high_all"],
        )
        yield "test", "mean changes in other languages too", found["p_all"] < alpha
    moved = recentred(effect.replicates, effect.value, effect.n)
    for direction, name in (("above", "rises"), ("below", "falls")):
        yield "test", f"mean {name}", tail(moved, 0.0, direction) < alpha
    ((_, by_language),) = contrast.groups
    p = comparisons.adjusted([effect_test(one)["p"] for one in by_language], "holm")
    yield "test", "any language changes", bool((p < alpha).any())


if __name__ == "__main__":
    program(main)
