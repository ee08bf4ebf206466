"""Claims about what SFT and smoothing change: one run against another, question by question.

The values are those of the study's summary. The replicates of the tests draw the same questions
for both runs and all languages, like those of the study's intervals. A change of calibration is
also measured by other metrics and in other numbers of bins, since a verdict should not depend on
such a choice. A binned ECE is biased, and the more so the less sharp the confidences are, so that
its change may be one of sharpness alone; `debiased_ece2` and the proper scores are not. If a run
has several seeds, its tests cover other trainings too (`stats.effects.spread`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from multical.claims.judge import (
    Measurement,
    NotTestableError,
    Test,
    Variant,
    detectable,
    least_tail,
    need,
    tail,
)
from multical.claims.schema import Change, Claim
from multical.errors import InputError
from multical.figures import tables
from multical.labels import KNOWN_LEVELS, languages_of
from multical.metrics.bootstrap import recentred
from multical.metrics.definitions import WITHOUT_INTERVAL
from multical.metrics.params import Metric
from multical.metrics.readouts import NotRecordedError
from multical.names import metric_name, readout_name
from multical.stats import comparisons
from multical.stats.blocks import Block
from multical.stats.effects import average, described, effect_of, effect_test, spread
from multical.stats.estimates import Estimate, Estimates, bootstrap, estimate, mean
from multical.stats.params import MetricsJob
from multical.stats.record_files import each, survey

#: Metrics of calibration in bins, and the numbers of bins to try; and proper scores
BINNED: tuple[Metric, ...] = ("debiased_ece2", "ece", "ece_equal_mass", "rmsce")
BINS = (10, 15, 20, 30)
PROPER: tuple[Metric, ...] = ("brier", "nll")
#: How far values of the summary may be from those computed from the records
ROUNDING = 1e-9


@dataclass(frozen=True)
class Scored:
    """A run on a benchmark: its values of `blocks.RUN`, its languages, its estimates by bins.

    `groups` has the languages by group.
    """

    keys: dict[str, Any]
    groups: dict[str, list[str]]
    estimates: dict[int, Estimates]

    def is_condition(self, condition: float | str) -> bool:
        if condition == "base":
            return self.keys["sft"] is None
        smoothing = self.keys["smoothing"]
        return self.keys["sft"] is not None and bool(np.isclose(smoothing, float(condition)))


def read(
    paths: Iterable[str], claims: Iterable[Claim], params: MetricsJob, processes: int
) -> list[Scored]:
    """The estimates of all runs, for the readouts and metrics that the claims use."""
    changes = [part for claim in claims for part in claim.parts if isinstance(part, Change)]
    used = {part.metric for part in changes} & set(params.metrics)
    if used & set(BINNED):
        used |= {*BINNED, *PROPER}
    readouts = sorted({part.readout for part in changes} & set(params.readouts))
    files, questions = survey(paths)
    params = params.model_copy(update={"readouts": readouts, "metrics": sorted(used)})
    return each(files, _scored, questions, params, processes=processes)


def _scored(block: Block, questions: dict[str, list[str]], params: MetricsJob) -> Scored:
    draws = bootstrap(block, questions, params)
    swept = sorted(set(BINNED) & set(params.metrics))
    estimates: dict[int, Estimates] = {}
    for bins in dict.fromkeys([params.bins, *(BINS if swept else ())]):
        metrics = params.metrics if bins == params.bins else swept
        estimates[bins] = {}
        for readout in params.readouts:
            job = params.model_copy(
                update={"readouts": [readout], "metrics": metrics, "bins": bins}
            )
            try:
                estimates[bins] |= estimate(block, draws, job)
            except NotRecordedError:
                continue  # the claim that needs it is not testable
    groups = block.groups(params.resource_levels, params.least_questions)
    return Scored(block.keys, groups, estimates)


def change(
    part: Change,
    scored: list[Scored],
    summary: pd.DataFrame,
    path: str,
    params: MetricsJob,
    alpha: float,
) -> Measurement:
    """The change of every model, SFT data set and benchmark, and the mean of all.

    `path` is the file of the `summary`, for errors.
    """
    metric, readout = metric_name(part.metric), readout_name(part.readout)
    need(part.readout in params.readouts, f"the study does not read confidence by {readout}")
    need(part.metric in params.metrics, f"the study does not measure {metric}")
    need(part.metric not in WITHOUT_INTERVAL, f"{metric} has no interval that can be trusted")
    need(params.bootstrap.replicates, "the study has no bootstrap (its replicates are 0)")
    made = [_Comparison(part, pairs, params) for pairs in _by_training(part, scored)]
    for one in made:
        one.agrees(summary, path)
    seeds = min(len(one.effect.by_seed) for one in made)
    overall = average([replace(one.effect, by_seed=one.effect.by_seed[:seeds]) for one in made])
    interval = described(overall, params.bootstrap.level)
    description = (
        f"change of {metric} from {_named(part.before)} to {_named(part.after)}, "
        f"{_GROUPS[part.group]}, by {readout}"
    )
    return Measurement(
        description,
        overall.value,
        interval["ci_low"],
        interval["ci_high"],
        [one.test(alpha) for one in made],
        _counted(made, alpha),
        least_tail(params.bootstrap.replicates) if seeds == 1 else 0.0,
        list(_variants(part, scored, params, alpha)),
    )


def _variants(
    part: Change, scored: list[Scored], params: MetricsJob, alpha: float
) -> Iterator[Variant]:
    """The same change by other metrics of calibration, and in other numbers of bins."""
    if part.metric not in BINNED:
        return
    choices = [(metric, bins) for metric in BINNED for bins in dict.fromkeys([params.bins, *BINS])]
    for metric, bins in [*choices, *((metric, params.bins) for metric in PROPER)]:
        if (metric, bins) == (part.metric, params.bins):
            continue
        other = part.model_copy(update={"metric": metric})
        try:
            made = [_Comparison(other, pairs, params, bins) for pairs in _by_training(part, scored)]
        except NotTestableError:
            continue  # the readout has no distribution over the options
        name = metric_name(metric) + ("" if metric in PROPER else f", {bins} bins")
        value = float(np.mean([one.effect.value for one in made]))
        yield Variant(name, value, [one.test(alpha) for one in made], part.share)


_GROUPS = {
    "non-english": "languages other than English",
    "all": "all languages",
    **{level: languages_of(level) for level in KNOWN_LEVELS},
}


def _counted(made: Sequence[_Comparison], alpha: float) -> str:
    """How often the metric rises and falls, over the languages of all trainings; how significantly.

    A training is that of a model on SFT data, on one benchmark, with all its seeds.
    """
    effects = [effect for one in made for effect in one.by_language]
    significant = [
        effect.value
        for one in made
        for effect, p in zip(
            one.by_language,
            comparisons.adjusted([effect_test(effect)["p"] for effect in one.by_language], "holm"),
            strict=True,
        )
        if p < alpha
    ]
    values = [effect.value for effect in effects]
    (rises, falls), (rose, fell) = (
        (sum(value > 0 for value in some), sum(value < 0 for value in some))
        for some in (values, significant)
    )
    of = f"{len(values)} " + ("languages" if len(made) == 1 else "pairs of language and training")
    return f"rises in {rises} and falls in {falls} of {of}, significantly in {rose} and {fell}"


def _named(condition: float | str) -> str:
    return "base" if condition == "base" else tables.label(float(condition))


Pairs = list[tuple[Scored, Scored]]


def _by_training(part: Change, scored: list[Scored]) -> list[Pairs]:
    """The pairs of runs to compare, before and after: a list for each training, by its seeds."""
    by_training: dict[tuple[str, ...], Pairs] = {}
    for before, after in _pairs(part, scored):
        tuned = after if after.keys["sft"] is not None else before
        by_training.setdefault(
            tuple(tuned.keys[key] for key in ("model", "sft", "benchmark")), []
        ).append((before, after))
    return list(by_training.values())


def _pairs(part: Change, scored: list[Scored]) -> Pairs:
    """The pairs of runs to compare, each before and after the change."""
    pairs = []
    for after in scored:
        if not after.is_condition(part.after):
            continue
        same = ["model", "benchmark"]
        same += ["sft", "seed"] if "base" not in (part.before, part.after) else []
        befores = [
            before
            for before in scored
            if before.is_condition(part.before)
            and all(before.keys[key] == after.keys[key] for key in same)
        ]
        run = f"{after.keys['run']} on {after.keys['benchmark']}"
        need(befores, f"there is no {_named(part.before)} to compare {run} with")
        pairs += [(before, after) for before in befores]
    need(pairs, f"there is no run of the condition {_named(part.after)}")
    return pairs


class _Comparison:
    """Runs before and after on a benchmark, a pair for each seed: the change in some languages."""

    def __init__(
        self, part: Change, pairs: Pairs, params: MetricsJob, bins: int | None = None
    ) -> None:
        self.part, self.pairs, self.level = part, pairs, params.bootstrap.level
        self.cells = [
            [_cells(part, run, params, bins or params.bins) for run in pair] for pair in pairs
        ]
        questions = [
            {language: cell.n for language, cell in side.items()}
            for sides in self.cells
            for side in sides
        ]
        if unequal := [place for place, each in enumerate(questions) if each != questions[0]]:
            runs = [run.keys for pair in pairs for run in pair]
            raise NotTestableError(
                f"{runs[0]['run']} and {runs[unequal[0]]['run']} have different questions of "
                f"{runs[0]['benchmark']}"
            )
        self.by_language = [
            effect_of([(before[language], after[language]) for before, after in self.cells])
            for language in self.cells[0][0]
        ]
        self.effect = average(self.by_language)

    def test(self, alpha: float) -> Test:
        """The one-sided test: the bootstrap's for one seed, Student's for several."""
        effect, (threshold, direction) = self.effect, (self.part.threshold, self.part.direction)
        contrary = "below" if direction == "above" else "above"
        se, df = spread(effect)
        if len(effect.by_seed) == 1:
            drawn = recentred(effect.replicates, effect.value, effect.n)
            p, against = (tail(drawn, threshold, side) for side in (direction, contrary))
        else:
            beyond = (effect.value - threshold) * (1 if direction == "above" else -1)
            t = beyond / se if se else np.copysign(np.inf, beyond) if beyond else 0.0
            p, against = float(stats.t.sf(t, df)), float(stats.t.cdf(t, df))
        interval = described(effect, self.level)
        least = detectable(threshold, direction, se, alpha)
        return Test(
            self.name, effect.value, p, against, interval["ci_low"], interval["ci_high"], least
        )

    @property
    def name(self) -> str:
        before, after = self.pairs[0]
        keys = after.keys if after.keys["sft"] is not None else before.keys
        seeds = f"seed {keys['seed']}" if len(self.pairs) == 1 else f"{len(self.pairs)} seeds"
        return f"{keys['model']}, SFT on {keys['sft']}, {keys['benchmark']}, {seeds}"

    def agrees(self, summary: pd.DataFrame, path: str) -> None:
        for pair, sides in zip(self.pairs, self.cells, strict=True):
            for run, side in zip(pair, sides, strict=True):
                value = float(mean(np.array([cell.value for cell in side.values()])))
                _agree(self.part, run, value, summary, path)


def _cells(part: Change, run: Scored, params: MetricsJob, bins: int) -> dict[str, Estimate]:
    """The estimates in the languages of the group."""
    benchmark = run.keys["benchmark"]
    chosen = run.groups.get(part.group, [])
    need(chosen, f"{benchmark} has no {_GROUPS[part.group]}")
    known = run.estimates[bins].get((part.readout, part.metric), {})
    cells = {language: known[language] for language in chosen if language in known}
    need(
        cells,
        f"the records of {run.keys['run']} on {benchmark} have no {metric_name(part.metric)} by "
        f"{readout_name(part.readout)}",
    )
    return cells


def _agree(part: Change, run: Scored, value: float, summary: pd.DataFrame, path: str) -> None:
    """Raise `InputError` unless the summary has the value computed from the records."""
    wanted = {
        "run": run.keys["run"],
        "benchmark": run.keys["benchmark"],
        "group": part.group,
        "readout": part.readout,
        "metric": part.metric,
    }
    rows = summary[(summary[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    found = rows["value"].to_list()
    if len(found) != 1 or not abs(found[0] - value) <= ROUNDING:
        raise InputError(
            f"{path}: {', '.join(wanted.values())}: found {found}, expected [{value}] as in the "
            "records"
        )
