"""Simulate what verdicts and tables rest on besides the intervals of simulate_coverage.py.

Each procedure is simulated in the situation in which it is used, and with a true hypothesis: runs
of several seeds that share languages and questions, answers that repeat a question, confidences
that say nothing of the answer, few models. A row has the share of simulations in which an interval
held the truth, or a test rejected a true hypothesis, at the same level for all, with the 95 %
Wilson interval of that share. The programs that use the procedures import them from the same
modules as this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats
from statsmodels.stats.proportion import proportion_confint
from tqdm import tqdm

from multical.claims import judge, msp
from multical.claims.schema import Correlation
from multical.errors import program
from multical.files import atomic
from multical.metrics import abstention, correctness, lines
from multical.metrics.bands import band
from multical.metrics.bootstrap import Bootstrap, around, interval
from multical.metrics.definitions import METRICS
from multical.metrics.params import Procedures
from multical.metrics.readouts import Floats, Readout
from multical.metrics.recalibration import Answers
from multical.metrics.temperatures import fit_temperatures
from multical.params import command_line
from multical.stats.effects import (
    Contrast,
    Effect,
    crossed_test,
    described,
    effect_test,
    over_models,
)

COLUMNS = ["kind", "procedure", "scenario", "share", "low", "high", "simulations"]
#: Whether an interval ("interval") held the truth or a test ("test") rejected it: kind, procedure
Outcomes = Iterator[tuple[str, str, bool]]
#: A procedure in a scenario: from a generator, the parameters and the scenario's own settings
Simulation = Callable[..., Outcomes]
LEAST = 0.25  # chance of four options
LANGUAGES, QUESTIONS = 9, 104
MODELS = 14


def main() -> None:
    arguments = command_line(__doc__, Procedures, output="the table, .csv").parse_args()
    table = simulate(arguments.params)
    with atomic(arguments.output) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def simulate(params: Procedures) -> pd.DataFrame:
    """A row for each kind, procedure and scenario."""
    rows = []
    for place, (scenario, run, settings) in enumerate(tqdm(SCENARIOS, unit="scenario")):
        generator = np.random.default_rng([params.seed, place])
        counts: Counter[tuple[str, str]] = Counter()
        for _ in range(params.simulations):
            for kind, procedure, outcome in run(generator, params, **settings):
                counts[kind, procedure] += bool(outcome)
        for (kind, procedure), count in counts.items():
            low, high = proportion_confint(count, params.simulations, method="wilson")
            share = count / params.simulations
            rows.append([kind, procedure, scenario, share, low, high, params.simulations])
    return pd.DataFrame(rows, columns=COLUMNS)


def trainings(
    generator: np.random.Generator, params: Procedures, seeds: int, between: float
) -> Outcomes:
    """A change that differs between trainings by chance, alike in all languages, and is 0 in truth.

    Its standard error over questions alone is some .01.
    """
    counts = generator.multinomial(QUESTIONS, np.full(QUESTIONS, 1 / QUESTIONS), params.replicates)
    table = generator.normal(0, 0.3, (seeds, LANGUAGES, QUESTIONS))
    table += generator.normal(0, 0.1, QUESTIONS) + generator.normal(0, between, (seeds, 1, 1))
    effects = [
        Effect(
            float(changes.mean()),
            counts @ changes.mean(axis=0) / QUESTIONS,
            QUESTIONS,
            (-np.inf, np.inf),
            changes.mean(axis=1),
        )
        for changes in table.transpose(1, 0, 2)
    ]
    contrast = Contrast([(1.0, effects)])
    found = described(contrast.effect, params.level)
    yield "interval", "change, mean of languages", found["ci_low"] <= 0 <= found["ci_high"]
    yield "test", "change, p", effect_test(contrast.effect)["p"] < 1 - params.level
    yield "test", "change, p_all", crossed_test(contrast, params.level)["p_all"] < 1 - params.level


def calibration_error(
    generator: np.random.Generator, params: Procedures, repeats: int, alike: float, error: float
) -> Outcomes:
    """P1: a model that is overconfident by `error`, with repeated answers that are correlated."""
    shape = (QUESTIONS, repeats)
    shared, own = generator.normal(size=(2, QUESTIONS, 1)), generator.normal(size=(2, *shape))
    uniform = special.ndtr(alike**0.5 * shared + (1 - alike) ** 0.5 * own)
    chance = LEAST + (0.9 - LEAST) * uniform[0]
    correct = (uniform[1] < chance).ravel()
    question = np.repeat(np.arange(QUESTIONS).astype(str), repeats)
    found, by_chance, drawn = msp.errors(
        (chance + error).ravel(), correct, question, params.bins, params.replicates, generator
    )
    test = msp.error_test("", found, by_chance, drawn, error, 1 - params.level)
    yield "test", "P1, error above the threshold", test.p < 1 - params.level


def mann_whitney(generator: np.random.Generator, params: Procedures, questions: int) -> Outcomes:
    """P2: confidences that say nothing of the answer, many of them equal."""
    confidence = generator.uniform(LEAST, 1, questions).round(2)
    readout = Readout(confidence, generator.random(questions) < 0.4, None, None, True)
    _, p = correctness.mann_whitney(readout)
    above = METRICS["auroc"](readout, None, 1)[0] > 0.5
    yield "test", "P2, AUROC above .5", above and p / 2 < 1 - params.level


def correlation(
    generator: np.random.Generator, params: Procedures, truth: float, direction: str
) -> Outcomes:
    """P3: a true correlation over the models that equals the threshold."""
    x, noise = generator.normal(size=(2, MODELS))
    line = lines.least_squares(x, truth * x + (1 - truth**2) ** 0.5 * noise)
    part = PART.model_copy(update={"direction": direction, "threshold": truth})
    found = msp.correlation_test(part, line.r, line.n, params.level, 1 - params.level)
    (test,) = found.tests
    yield "test", f"P3, r {direction} {truth:g}", test.p < 1 - params.level
    yield "interval", f"P3, r of {truth:g}", found.low <= truth <= found.high


def no_correlation(generator: np.random.Generator, params: Procedures) -> Outcomes:
    line = lines.least_squares(*generator.normal(size=(2, MODELS)))
    yield "test", "correlations, p", line.p < 1 - params.level


def gain(
    generator: np.random.Generator, params: Procedures, accuracy: float, noise: bool = True
) -> Outcomes:
    """P4: 14 models on 500 shared questions, a threshold chosen on 20 others.

    Confidences are noise, so that no threshold gains in truth.
    """
    gains = []
    easy = generator.normal(size=520)
    for _ in range(MODELS):
        ability = 0.5**0.5 * (easy + generator.normal(size=520))
        correct = ability < stats.norm.ppf(accuracy)
        confidence = generator.uniform(LEAST, 1, 520)
        train, test = (
            abstention.Ranked(confidence[rows], correct[rows])
            for rows in (slice(20), slice(20, None))
        )
        points = abstention.grid([train], "min")
        threshold = abstention.choose(train.counts(points)[None], points, 1.0)
        none, some = abstention.scores(test.counts(np.array([-np.inf, threshold])), 1.0)
        gains.append(some - max(none, 0.0))
    p, _ = msp.gain_test(np.array(gains))
    yield "test", "P4, gain above 0", p < 1 - params.level


def mean_over_models(generator: np.random.Generator, params: Procedures, models: int) -> Outcomes:
    """The interval of a verdict's mean over models."""
    values = generator.normal(size=(models, 1)) + generator.normal(size=(models, 3))
    names = np.repeat([f"m{number}" for number in range(models)], 3)
    _, low, high = judge.mean_over(names.tolist(), values.ravel().tolist(), params.level)
    yield "interval", "mean over models", low <= 0 <= high


def change_over_models(
    generator: np.random.Generator, params: Procedures, alike: float
) -> Outcomes:
    """The mean change of accuracy over ten models, from zero-shot to one-shot, which is 0 in truth.

    All answer the same 500 questions. Each model has a change of its own (.02), and what the change
    does to a question is `alike` between models.
    """
    models, questions = 10, 500
    ease, moved = generator.normal(size=(2, questions))
    before, after, own = generator.normal(size=(3, models, questions))
    own = alike**0.5 * moved + (1 - alike) ** 0.5 * own
    first = 0.3**0.5 * ease + 0.7**0.5 * before < 0.3
    second = 0.3**0.5 * ease + 0.4**0.5 * after + 0.3**0.5 * own < 0.3
    changes = second.mean(axis=1) - first.mean(axis=1) + generator.normal(0, 0.02, models)
    found = over_models(changes, params.level)
    yield "interval", "change, mean over models", found["ci_low"] <= 0 <= found["ci_high"]
    yield "test", "change over models, p", found["p"] < 1 - params.level


def answers(generator: np.random.Generator, params: Procedures, questions: int) -> Outcomes:
    """Paper 2's intervals: the mean of two phrasings, whose answers are correlated."""
    ids = [f"q{number:05d}" for number in range(questions)]
    counts = Bootstrap(ids, params.replicates, int(generator.integers(2**32))).counts(ids)
    shared, own = generator.normal(size=(2, 1, questions)), generator.normal(size=(2, 2, questions))
    uniform = special.ndtr(0.9**0.5 * shared + 0.1**0.5 * own)
    chance = LEAST + (1 - LEAST) * uniform[0]
    correct = uniform[1] < chance
    for name, truth in (("accuracy", 0.625), ("auroc", 0.7666667)):
        drawn: Floats = np.mean(
            [METRICS[name](Readout(*rows, None, None, True), counts, 1)
             for rows in zip(chance, correct, strict=True)], axis=0,
        )  # fmt: skip
        low, high = interval(drawn, params.level)
        yield "interval", f"paper 2, {name}", bool(low <= truth <= high)


def reliability_band(
    generator: np.random.Generator, params: Procedures, questions: int, languages: int
) -> Outcomes:
    """A point of a reliability diagram. Languages answer its questions alike (correlation .3)."""
    shared, own = (
        generator.normal(size=(1, questions)),
        generator.normal(size=(languages, questions)),
    )
    chance = generator.uniform(0.2, 0.9)
    right = 0.3**0.5 * shared + 0.7**0.5 * own < stats.norm.ppf(chance)
    low, high = band(right.astype(float).ravel(), np.tile(np.arange(questions), languages))
    yield "interval", "band of a reliability diagram", low <= chance <= high


def temperature(generator: np.random.Generator, params: Procedures, questions: int) -> Outcomes:
    """Temperature scaling of four options whose true temperature is 2."""
    scores = generator.normal(0, 1.5, (questions, 4))
    chances = special.softmax(scores, axis=1)
    gold = (chances.cumsum(axis=1) < generator.random((questions, 1))).sum(axis=1)
    ids = [f"q{number:05d}" for number in range(questions)]
    draws = Bootstrap(ids, params.replicates, int(generator.integers(2**32)))
    answers = Answers(2 * scores, np.minimum(gold, 3))
    drawn = fit_temperatures([answers], [draws.sample(pd.Series(ids))])
    low, high = interval(drawn[:-1], params.level)
    yield "interval", "temperature", bool(low <= 2 <= high)


def culture(generator: np.random.Generator, params: Procedures) -> Outcomes:
    """The difference of accuracy between two sets of questions, in 4 languages that share them."""
    questions, first = 100, np.arange(100) < 40
    ids = [f"q{number:03d}" for number in range(questions)]
    counts = Bootstrap(ids, params.replicates, int(generator.integers(2**32))).counts(ids)
    shared, own = generator.normal(size=(1, questions)), generator.normal(size=(4, questions))
    right = (0.3**0.5 * shared + 0.7**0.5 * own < 0.3).mean(axis=0)
    drawn = [
        counts[:, some] @ right[some] / counts[:, some].sum(axis=1) for some in (first, ~first)
    ]
    value = float(right[first].mean() - right[~first].mean())
    low, high = around(value, drawn[0] - drawn[1], 40, params.level)
    yield "interval", "culture, difference of accuracy", low <= 0 <= high


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count > 1)}"


PART = Correlation(
    statistic="correlation", x="accuracy", y="msp_auroc", direction="above", threshold=0.7,
    test="fisher_z", evidence="tables/correlations.csv",
)  # fmt: skip
#: Each scenario: its name in the table, the simulation and its settings
SCENARIOS: list[tuple[str, Simulation, dict[str, Any]]] = [
    *((f"{_number(seeds, 'seed')}, spread {between:g}", trainings,
       {"seeds": seeds, "between": between})
      for seeds in (1, 2, 3, 5) for between in ((0.0,) if seeds == 1 else (0.0, 0.01, 0.05))),
    *((f"{_number(repeats, 'answer')} a question, alike {alike:g}, threshold {error:g}",
       calibration_error, {"repeats": repeats, "alike": alike, "error": error})
      for repeats, alike in ((1, 0.0), (2, 0.5), (12, 0.5), (12, 0.9)) for error in (0.0, 0.05)),
    *((f"noise, {n} questions", mann_whitney, {"questions": n}) for n in (20, 100, 1000)),
    ("14 models", correlation, {"truth": 0.7, "direction": "above"}),
    ("14 models", correlation, {"truth": 0.5, "direction": "absent"}),
    ("14 models, none", no_correlation, {}),
    *((f"noise, accuracy {accuracy:g}", gain, {"accuracy": accuracy})
      for accuracy in (0.25, 0.45, 0.7)),
    *((f"{models} models", mean_over_models, {"models": models}) for models in (7, 14)),
    *((f"2 phrasings, {n} questions", answers, {"questions": n}) for n in (20, 100, 1000)),
    *((f"{n} questions, {_number(languages, 'language')}", reliability_band,
       {"questions": n, "languages": languages}) for n in (10, 30, 100) for languages in (1, 20)),
    *((f"{n} questions", temperature, {"questions": n}) for n in (20, 100, 1000)),
    ("40 and 60 questions", culture, {}),
    *((f"10 models, alike {alike:g}", change_over_models, {"alike": alike})
      for alike in (0.0, 0.2, 1.0)),
]  # fmt: skip


if __name__ == "__main__":
    program(main)
