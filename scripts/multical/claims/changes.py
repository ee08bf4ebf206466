"""Claims about what SFT and smoothing change: one run against another, question by question.

The values are those of the study's summary. The replicates of the tests draw the same questions
for both runs and all languages, like those of the study's intervals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multical.claims.judge import Measurement, NotTestableError, Test, least_tail, need, tail
from multical.claims.schema import Change, Claim
from multical.errors import InputError
from multical.figures import tables
from multical.metrics.bootstrap import around, recentred
from multical.metrics.readouts import Floats, NotRecordedError
from multical.stats.blocks import Block, groups
from multical.stats.estimates import Estimate, Estimates, bootstrap, estimate, mean
from multical.stats.params import MetricsJob
from multical.stats.record_files import each, survey

#: How far values of the summary may be from those computed from the records
ROUNDING = 1e-9


@dataclass(frozen=True)
class Scored:
    """A run on a benchmark: its values of `blocks.RUN`, its languages and its estimates."""

    keys: dict[str, Any]
    languages: list[str]
    estimates: Estimates

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
    used = {
        "readouts": sorted({part.readout for part in changes} & set(params.readouts)),
        "metrics": sorted({part.metric for part in changes} & set(params.metrics)),
    }
    files, questions = survey(paths, params.resource_levels)
    params = params.model_copy(update=used)
    return each(files, _scored, questions, params, processes=processes)


def _scored(block: Block, questions: dict[str, list[str]], params: MetricsJob) -> Scored:
    draws = bootstrap(block, questions, params)
    estimates: Estimates = {}
    for readout in params.readouts:
        try:
            estimates |= estimate(block, draws, params.model_copy(update={"readouts": [readout]}))
        except NotRecordedError:
            continue  # the claim that needs it is not testable
    return Scored(block.keys, list(block.languages), estimates)


def change(
    part: Change, scored: list[Scored], summary: pd.DataFrame, path: str, params: MetricsJob
) -> Measurement:
    """The change of every model, SFT data set, seed and benchmark, and the mean of all.

    `path` is the file of the `summary`, for errors.
    """
    for key, name in (("readouts", part.readout), ("metrics", part.metric)):
        need(name in getattr(params, key), f"metrics.{key} of the study has no {name}")
    need(params.bootstrap.replicates, "metrics.bootstrap.replicates of the study is 0")
    tests, replicates, by_language = [], [], []
    for before, after in _pairs(part, scored):
        pair = _Pair(part, before, after, params)
        _agree(part, before, pair.before, summary, path)
        _agree(part, after, pair.after, summary, path)
        tests.append(pair.test(part, params))
        replicates.append(pair.replicates)
        by_language += pair.by_language
    value = float(np.mean([test.value for test in tests]))
    low, high = around(value, np.mean(replicates, axis=0), params.bootstrap.level)
    description = (
        f"change of {part.metric} from {_named(part.before)} to {_named(part.after)}, "
        f"{part.readout}, {_GROUPS[part.group]}"
    )
    detail = _counted(by_language, len(tests))
    least = least_tail(params.bootstrap.replicates)
    return Measurement(description, value, low, high, tests, detail, least)


_GROUPS = {
    "non-english": "languages other than English",
    "all": "all languages",
    **{level: f"{level}-resource languages" for level in ("high", "mid", "low")},
}


def _counted(changes: list[float], pairs: int) -> str:
    rises, falls = sum(value > 0 for value in changes), sum(value < 0 for value in changes)
    counts = f"rises in {rises} and falls in {falls} of {len(changes)} languages"
    return counts + (f", those of {pairs} pairs of runs together" if pairs > 1 else "")


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

    def __init__(self, part: Change, before: Scored, after: Scored, params: MetricsJob) -> None:
        self.keys = after.keys if after.keys["sft"] is not None else before.keys
        sides = [_cells(part, run, params) for run in (before, after)]
        questions = [{language: cell.n for language, cell in side.items()} for side in sides]
        if questions[0] != questions[1]:
            raise NotTestableError(
                f"{before.keys['run']} and {after.keys['run']} have different questions of "
                f"{self.keys['benchmark']}"
            )
        self.before, self.after = (
            float(mean(np.array([cell.value for cell in side.values()]))) for side in sides
        )
        old, new = (mean(np.array([cell.replicates for cell in side.values()])) for side in sides)
        self.value = self.after - self.before
        self.replicates: Floats = recentred(new - old, self.value)
        self.by_language = [sides[1][x].value - sides[0][x].value for x in sides[0]]

    def test(self, part: Change, params: MetricsJob) -> Test:
        name = "{model}, {sft}, {benchmark}, seed {seed}".format(**self.keys)
        low, high = around(self.value, self.replicates, params.bootstrap.level)
        p = tail(self.replicates, part.threshold, part.direction)
        return Test(name, self.value, p, low, high)


def _cells(part: Change, run: Scored, params: MetricsJob) -> dict[str, Estimate]:
    """The estimates in the languages of the group."""
    benchmark = run.keys["benchmark"]
    chosen = groups(dict.fromkeys(run.languages), params.resource_levels).get(part.group, [])
    need(chosen, f"{benchmark} has no {_GROUPS[part.group]}")
    known = run.estimates.get((part.readout, part.metric), {})
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
