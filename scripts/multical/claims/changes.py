"""Claims on what SFT and smoothing change: a run against another, question by question.

Values are those of the study's summary; the tests' replicates draw the same questions for
both runs and all languages, as those of the study's intervals do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multical.claims.judge import Found, NotTestableError, Test, least_tail, need, tail
from multical.claims.schema import Change, Claim
from multical.errors import InputError
from multical.figures import tables
from multical.metrics.bootstrap import around, recentred
from multical.metrics.readouts import Floats, NotRecordedError
from multical.stats.blocks import Block, groups
from multical.stats.estimates import Estimate, Estimates, bootstrap, estimate, mean
from multical.stats.params import MetricsJob
from multical.stats.record_files import each, survey

#: How far the summary may be from the records that it was made of
ROUNDING = 1e-9


@dataclass(frozen=True)
class Scored:
    """A run on a benchmark: what identifies it, its languages and its estimates."""

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
    """Estimates of all runs, of the readouts and metrics that the claims use."""
    parts = [part for one in claims for part in one.parts if isinstance(part, Change)]
    wanted = {(part.readout, part.metric) for part in parts}
    used = {
        "readouts": sorted({readout for readout, _ in wanted} & set(params.readouts)),
        "metrics": sorted({metric for _, metric in wanted} & set(params.metrics)),
    }
    files, questions = survey(paths, params.resource_levels)
    own = params.model_copy(update=used)
    return each(files, _scored, questions, own, processes=processes)


def _scored(block: Block, questions: dict[str, list[str]], params: MetricsJob) -> Scored:
    drawn = bootstrap(block, questions, params)
    estimates: Estimates = {}
    for readout in params.readouts:
        try:
            estimates |= estimate(block, drawn, params.model_copy(update={"readouts": [readout]}))
        except NotRecordedError:
            continue  # the claim that needs it is not testable
    return Scored(block.keys, list(block.languages), estimates)


def change(
    part: Change, scored: list[Scored], summary: pd.DataFrame, path: str, params: MetricsJob
) -> Found:
    """The change of every model, SFT set, seed and benchmark, and the mean of all."""
    for key, name in (("readouts", part.readout), ("metrics", part.metric)):
        need(name in getattr(params, key), f"metrics.{key} of the study has no {name}")
    need(params.bootstrap.replicates, "metrics.bootstrap.replicates of the study is 0")
    tests, drawn, by_language = [], [], []
    for before, after in _pairs(part, scored):
        pair = _Pair(part, before, after, params)
        _agree(part, before, pair.before, summary, path)
        _agree(part, after, pair.after, summary, path)
        tests.append(pair.test(part, params))
        drawn.append(pair.replicates)
        by_language += pair.by_language
    value = float(np.mean([test.value for test in tests]))
    low, high = around(value, np.mean(drawn, axis=0), params.bootstrap.level)
    said = (
        f"change of {part.metric} from {_named(part.before)} to {_named(part.after)}, "
        f"{part.readout}, {_GROUPS[part.group]}"
    )
    detail = _counted(by_language, len(tests))
    least = least_tail(params.bootstrap.replicates)
    return Found(said, value, low, high, tests, detail, least)


_GROUPS = {
    "non-english": "languages other than English",
    "all": "all languages",
    **{level: f"{level}-resource languages" for level in ("high", "mid", "low")},
}


def _counted(changes: list[float], pairs: int) -> str:
    rises, falls = sum(one > 0 for one in changes), sum(one < 0 for one in changes)
    counted = f"rises in {rises} and falls in {falls} of {len(changes)} languages"
    return counted + (f", those of {pairs} pairs of runs together" if pairs > 1 else "")


def _named(condition: float | str) -> str:
    return "base" if condition == "base" else tables.label(float(condition))


def _pairs(part: Change, scored: list[Scored]) -> list[tuple[Scored, Scored]]:
    """The runs to compare: each after, with its before."""
    found = []
    for after in scored:
        if not after.is_condition(part.after):
            continue
        same = ["model", "benchmark"]
        same += ["sft", "seed"] if "base" not in (part.before, part.after) else []
        befores = [
            one
            for one in scored
            if one.is_condition(part.before) and all(one.keys[k] == after.keys[k] for k in same)
        ]
        run = f"{after.keys['run']} on {after.keys['benchmark']}"
        need(befores, f"there is no {_named(part.before)} to compare {run} with")
        found += [(before, after) for before in befores]
    need(found, f"there is no run of the condition {_named(part.after)}")
    return found


class _Pair:
    """Two runs on a benchmark: their means over a group of languages, and the replicates."""

    def __init__(self, part: Change, before: Scored, after: Scored, params: MetricsJob) -> None:
        self.keys = after.keys if after.keys["sft"] is not None else before.keys
        cells = [_cells(part, one, params) for one in (before, after)]
        if {x: cell.n for x, cell in cells[0].items()} != {
            x: cell.n for x, cell in cells[1].items()
        }:
            raise NotTestableError(
                f"{before.keys['run']} and {after.keys['run']} have other questions of "
                f"{self.keys['benchmark']}"
            )
        self.before, self.after = (
            float(mean(np.array([cell.value for cell in one.values()]))) for one in cells
        )
        old, new = (mean(np.array([cell.replicates for cell in one.values()])) for one in cells)
        self.value = self.after - self.before
        self.replicates: Floats = recentred(new - old, self.value)
        self.by_language = [cells[1][x].value - cells[0][x].value for x in cells[0]]

    def test(self, part: Change, params: MetricsJob) -> Test:
        name = "{model}, {sft}, {benchmark}, seed {seed}".format(**self.keys)
        low, high = around(self.value, self.replicates, params.bootstrap.level)
        p = tail(self.replicates, part.threshold, part.direction)
        return Test(name, self.value, p, low, high)


def _cells(part: Change, one: Scored, params: MetricsJob) -> dict[str, Estimate]:
    """The estimates in the languages of the group."""
    run = f"{one.keys['run']} on {one.keys['benchmark']}"
    chosen = groups(dict.fromkeys(one.languages), params.resource_levels).get(part.group, [])
    need(chosen, f"{one.keys['benchmark']} has no {_GROUPS[part.group]}")
    known = one.estimates.get((part.readout, part.metric), {})
    cells = {language: known[language] for language in chosen if language in known}
    need(cells, f"the records of {run} have no {part.metric} of the readout {part.readout}")
    return cells


def _agree(part: Change, one: Scored, value: float, summary: pd.DataFrame, path: str) -> None:
    """Raise `InputError` unless the summary is that of these records."""
    wanted = {
        "run": one.keys["run"],
        "benchmark": one.keys["benchmark"],
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
