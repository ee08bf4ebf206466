"""Claims about what SFT and smoothing change: one run against another, question by question.

The values are those of the study's summary. The replicates of the tests draw the same questions
for both runs and all languages, like those of the study's intervals. A change of calibration is
also measured by other metrics and in other numbers of bins, since a verdict should not depend on
such a choice. A binned ECE is biased, and the more so the less sharp the confidences are, so that
its change may be one of sharpness alone; `debiased_ece2` and the proper scores are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

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
from multical.metrics.bootstrap import around, recentred
from multical.metrics.params import Metric
from multical.metrics.readouts import Floats, NotRecordedError
from multical.stats import comparisons
from multical.stats.blocks import Block, groups
from multical.stats.effects import Effect, question_test
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
    """A run on a benchmark: its values of `blocks.RUN`, its languages, its estimates by bins."""

    keys: dict[str, Any]
    languages: list[str]
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
    files, questions = survey(paths, params.resource_levels)
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
    return Scored(block.keys, list(block.languages), estimates)


def change(
    part: Change,
    scored: list[Scored],
    summary: pd.DataFrame,
    path: str,
    params: MetricsJob,
    alpha: float,
) -> Measurement:
    """The change of every model, SFT data set, seed and benchmark, and the mean of all.

    `path` is the file of the `summary`, for errors.
    """
    for key, name in (("readouts", part.readout), ("metrics", part.metric)):
        need(name in getattr(params, key), f"metrics.{key} of the study has no {name}")
    need(params.bootstrap.replicates, "metrics.bootstrap.replicates of the study is 0")
    pairs = [_Pair(part, *pair, params) for pair in _pairs(part, scored)]
    for pair in pairs:
        pair.agrees(summary, path)
    tests = [pair.test(alpha) for pair in pairs]
    value = float(np.mean([pair.value for pair in pairs]))
    drawn = np.mean([pair.replicates for pair in pairs], axis=0)
    low, high = around(value, drawn, params.bootstrap.level)
    description = (
        f"change of {part.metric} from {_named(part.before)} to {_named(part.after)}, "
        f"{part.readout}, {_GROUPS[part.group]}"
    )
    least = least_tail(params.bootstrap.replicates)
    variants = list(_variants(part, scored, params, alpha))
    detail = _counted(pairs, alpha)
    return Measurement(description, value, low, high, tests, detail, least, variants)


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
            pairs = [_Pair(other, *pair, params, bins) for pair in _pairs(part, scored)]
        except NotTestableError:
            continue  # the readout has no distribution over the options
        name = metric if metric in PROPER else f"{metric}, {bins} bins"
        value = float(np.mean([pair.value for pair in pairs]))
        yield Variant(name, value, [pair.test(alpha) for pair in pairs], part.share)


_GROUPS = {
    "non-english": "languages other than English",
    "all": "all languages",
    **{level: f"{level}-resource languages" for level in ("high", "mid", "low")},
}


def _counted(pairs: Sequence[_Pair], alpha: float) -> str:
    """In how many languages the metric rises and falls, and in how many of them significantly."""
    effects = [effect for pair in pairs for effect in pair.by_language]
    significant = [
        effect.value
        for pair in pairs
        for effect, p in zip(
            pair.by_language,
            comparisons.adjusted([question_test(one)["p"] for one in pair.by_language], "holm"),
            strict=True,
        )
        if p < alpha
    ]
    values = [effect.value for effect in effects]
    (rises, falls), (rose, fell) = (
        (sum(value > 0 for value in some), sum(value < 0 for value in some))
        for some in (values, significant)
    )
    counts = f"rises in {rises} and falls in {falls} of {len(values)} languages"
    counts += f", significantly in {rose} and {fell}"
    return counts + (f", those of {len(pairs)} pairs of runs together" if len(pairs) > 1 else "")


def _named(condition: float | str) -> str:
    return "base" if condition == "base" else tables.label(float(condition))


def _pairs(part: Change, scored: list[Scored]) -> list[tuple[Scored, Scored]]:
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


class _Pair:
    """Two runs on a benchmark: their means over a group of languages, and the replicates."""

    def __init__(
        self,
        part: Change,
        before: Scored,
        after: Scored,
        params: MetricsJob,
        bins: int | None = None,
    ) -> None:
        self.part, self.sides, self.level = part, (before, after), params.bootstrap.level
        self.keys = after.keys if after.keys["sft"] is not None else before.keys
        cells = [_cells(part, run, params, bins or params.bins) for run in self.sides]
        questions = [{language: cell.n for language, cell in side.items()} for side in cells]
        if questions[0] != questions[1]:
            raise NotTestableError(
                f"{before.keys['run']} and {after.keys['run']} have different questions of "
                f"{self.keys['benchmark']}"
            )
        self.means = [float(mean(np.array([x.value for x in side.values()]))) for side in cells]
        old, new = (mean(np.array([cell.replicates for cell in side.values()])) for side in cells)
        self.value = self.means[1] - self.means[0]
        self.replicates: Floats = recentred(new - old, self.value)
        self.by_language = [
            _effect(cells[0][language], cells[1][language]) for language in cells[0]
        ]

    def test(self, alpha: float) -> Test:
        name = "{model}, {sft}, {benchmark}, seed {seed}".format(**self.keys)
        low, high = around(self.value, self.replicates, self.level)
        threshold, direction = self.part.threshold, self.part.direction
        contrary = "below" if direction == "above" else "above"
        p, against = (tail(self.replicates, threshold, side) for side in (direction, contrary))
        known = self.replicates[np.isfinite(self.replicates)]
        se = float(np.std(known, ddof=1)) if len(known) > 1 else np.nan
        least = detectable(threshold, direction, se, alpha)
        return Test(name, self.value, p, against, low, high, least)

    def agrees(self, summary: pd.DataFrame, path: str) -> None:
        for run, value in zip(self.sides, self.means, strict=True):
            _agree(self.part, run, value, summary, path)


def _effect(before: Estimate, after: Estimate) -> Effect:
    """The change in one language."""
    value = after.value - before.value
    low, high = before.bounds
    return Effect(
        value, after.replicates - before.replicates, before.n, (low - high, high - low),
        np.array([value]),
    )  # fmt: skip


def _cells(part: Change, run: Scored, params: MetricsJob, bins: int) -> dict[str, Estimate]:
    """The estimates in the languages of the group."""
    benchmark = run.keys["benchmark"]
    chosen = groups(dict.fromkeys(run.languages), params.resource_levels).get(part.group, [])
    need(chosen, f"{benchmark} has no {_GROUPS[part.group]}")
    known = run.estimates[bins].get((part.readout, part.metric), {})
    cells = {language: known[language] for language in chosen if language in known}
    need(
        cells,
        f"the records of {run.keys['run']} on {benchmark} have no {part.metric} of the readout "
        f"{part.readout}",
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
