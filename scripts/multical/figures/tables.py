"""The result tables of a study: reading, checking, and choosing rows by condition.

A *condition* is the label smoothing b of a fine-tuned run, or None for the base
model. Tables are read whole or refused: a figure never leaves a run out silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multical.errors import InputError
from multical.figures.params import Conditions, Panel
from multical.labels import LEVELS, label

RUN = {"run": "text", "model": "text", "sft": "text", "smoothing": "number", "seed": "number"}
READING = {"benchmark": "text", "readout": "text"}
INTERVAL = {"value": "number", "ci_low": "number", "ci_high": "number"}
BINS = {
    "bin": "number",
    "low": "number",
    "high": "number",
    "n": "number",
    "confidence": "number",
    "accuracy": "number",
}
#: Of two runs, or means over several seeds of them
COMPARED = {
    "model": "text",
    "sft": "text",
    "benchmark": "text",
    "before": "text",
    "after": "text",
    "seeds": "number",
    "readout": "text",
}
CORRECTED = {"p": "number", "p_holm": "number", "p_bh": "number"}
GROUPED = {"group": "text", "languages": "number", "metric": "text"}
COVERAGE = {"kind": "text", "of": "text", "metric": "text", "power": "number"}
COVERAGE |= dict.fromkeys(("questions", "truth", "share", "low", "high", "simulations"), "number")
#: Columns of each table, as text or number; all are required.
COLUMNS = {
    "metrics": RUN
    | READING
    | {"language": "text", "resource_level": "text", "metric": "text", "n": "number"}
    | INTERVAL,
    "summary": RUN | READING | GROUPED | INTERVAL,
    "recalibration": RUN | {"method": "text", "fit": "text"} | READING | GROUPED | INTERVAL,
    "culture": RUN | READING | {"culture": "text"} | GROUPED | INTERVAL,
    "coverage": COVERAGE,
    "effects": COMPARED
    | {"language": "text", "resource_level": "text", "metric": "text", "n": "number"}
    | INTERVAL
    | {"seed_sd": "number"}
    | CORRECTED,
    "effects_over_languages": COMPARED
    | GROUPED
    | INTERVAL
    | {"seed_sd": "number", "rises": "number", "falls": "number", "rank_biserial": "number"}
    | CORRECTED
    | {f"p_{test}_{end}": "number" for test in ("sign", "wilcoxon") for end in ("holm", "bh")},
    "mixed_effects": COMPARED
    | {"level": "text", "languages": "number", "metric": "text"}
    | INTERVAL
    | CORRECTED,
    "reliability": RUN | READING | {"group": "text"} | BINS,
    "reliability_by_lang": RUN | READING | {"language": "text", "resource_level": "text"} | BINS,
}
#: Methods of recalibration in their order, as figures and tables name them
METHODS = {"none": "none", "temperature": "temperature", "platt": "Platt", "isotonic": "isotonic"}
#: Metrics whose changes are tested, by their names in figures and tables
CHANGED = {"accuracy": "accuracy", "confidence": "confidence", "ece": "ECE", "entropy": "entropy"}
#: Groups of languages in the tables for print, by the names of their rows
GROUPS = {"non-english": "all but English", "high": "high", "mid": "mid", "low": "low"}
#: A p-value below it is called significant
ALPHA = 0.05


def read(path: str | Path, kind: str) -> pd.DataFrame:
    """Read a table of `kind` (a key of `COLUMNS`), numbers as float64, the rest as text.

    Raises `InputError` for a missing or unreadable file, a missing column, a table
    without rows, a cell that is no number, an empty name, or an unknown resource level.
    """
    columns = COLUMNS[kind]
    try:
        # Only an empty cell is missing: `nan` and `NA` may be names.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable {kind} table ({error})") from error
    missing = [name for name in columns if name not in frame]
    if missing:
        raise InputError(f"{path}: no column {missing}, expected {list(columns)}")
    if frame.empty:
        raise InputError(f"{path}: no rows, expected a {kind} table")
    for name, content in columns.items():
        if content == "number":
            number = pd.to_numeric(frame[name], errors="coerce").astype(float)
            _first(number.isna() & frame[name].notna(), frame, path, name, "a number")
            frame[name] = number
        elif name == "resource_level":
            _first(~frame[name].isin(LEVELS), frame, path, name, f"one of {LEVELS}")
        elif name != "sft":  # empty for a base model
            _first(frame[name].isna(), frame, path, name, "a name")
    return frame[list(columns)]


def _first(bad: pd.Series, frame: pd.DataFrame, path: str | Path, name: str, wanted: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: line {row + 2}: {name}: found {frame[name].iloc[row]!r}, expected {wanted}"
        )


def select(frame: pd.DataFrame, path: str | Path, **wanted: Sequence[str] | str) -> pd.DataFrame:
    """Rows whose columns hold one of the `wanted` values; each value must occur."""
    for column, values in wanted.items():
        values = [values] if isinstance(values, str) else list(values)
        found = list(frame[column].dropna().unique())
        absent = [value for value in values if value not in found]
        if absent:
            raise InputError(f"{path}: no rows with {column} {absent}, found {found}")
        frame = frame[frame[column].isin(values)]
    return frame


def chosen(
    path: str | Path,
    kind: str,
    params: Panel,
    conditions: Sequence[float | None] | None = None,
    **wanted: Sequence[str] | str,
) -> pd.DataFrame:
    """The rows of a table that a figure shows: one benchmark, readout, SFT set and seed.

    `conditions` defaults to the base and every smoothing of the table; `wanted`
    chooses by further columns. There is a column `condition`, as `runs` adds it.
    """
    frame = select(
        read(path, kind), path, benchmark=params.benchmark, readout=params.readout, **wanted
    )
    if conditions is None:
        conditions = [None, *smoothings(frame, params)]
    return runs(frame, path, params, conditions)


def compared(
    path: str | Path, kind: str, params: Conditions, **wanted: Sequence[str] | str
) -> pd.DataFrame:
    """The rows of a table of changes: of one benchmark, readout and SFT set, over all its seeds.

    `condition` is what each changes to, an ordered category: SFT from the base, or SFT with
    the chosen smoothing from SFT. Raises `InputError` unless every model has both.
    """
    need_tuned(params)
    assert params.sft is not None
    frame = select(
        read(path, kind), path, benchmark=params.benchmark, readout=params.readout,
        sft=params.sft, **wanted,
    )  # fmt: skip
    labels = [label(condition) for condition in conditions(params)[1:]]
    frame = frame[frame["after"].isin(labels)]
    frame = frame.assign(condition=pd.Categorical(frame["after"], labels, ordered=True))
    _complete(frame, path, models(frame), labels, params)
    return frame


def conditions(params: Conditions) -> list[float | None]:
    """What a figure compares: the base, SFT, and SFT with the chosen smoothing.

    The base alone where a study has no SFT runs.
    """
    return [None] if params.smoothing is None else [None, 0.0, params.smoothing]


def need_tuned(params: Panel) -> None:
    """Raise `InputError` where a study has no SFT runs, which not every figure can do without."""
    if params.sft is None:
        raise InputError(
            f"--params: {params.study} shows base models alone (figures.sft is null), expected SFT "
            "runs to compare with them"
        )


def smoothings(frame: pd.DataFrame, params: Panel) -> list[float]:
    """Smoothing values of the runs of the chosen SFT set and seed, ascending."""
    chosen = (frame["sft"] == params.sft) & (frame["seed"] == params.seed)
    return sorted(frame.loc[chosen, "smoothing"].dropna().unique().tolist())


def runs(
    frame: pd.DataFrame,
    path: str | Path,
    params: Panel,
    conditions: Sequence[float | None],
) -> pd.DataFrame:
    """Rows of the chosen SFT set and seed in `conditions`, with a column `condition`.

    `condition` is an ordered category of labels. Raises `InputError` unless every
    model has every condition, each with the same rows (languages, groups, bins).
    """
    labels = [label(condition) for condition in conditions]
    tuned = (frame["sft"] == params.sft) & (frame["seed"] == params.seed)
    parts = []
    for condition, name in zip(conditions, labels, strict=True):
        rows = (
            frame["sft"].isna()
            if condition is None
            else tuned & np.isclose(frame["smoothing"], condition)
        )
        parts.append(frame[rows].assign(condition=name))
    chosen = pd.concat(parts, ignore_index=True)
    chosen["condition"] = pd.Categorical(chosen["condition"], labels, ordered=True)
    _complete(chosen, path, models(frame), labels, params)
    return chosen


def by_metric(
    rows: pd.DataFrame, orders: dict[str, list[str]], metrics: Sequence[str]
) -> pd.DataFrame:
    """A row per model, group, condition and key of `orders`; three columns per metric.

    These are its value and the ends of its interval. `orders` has the values of further keys
    in their order.
    """
    ends = {"value": "", "ci_low": "_low", "ci_high": "_high"}
    keys = ["model", "group", "condition", *orders]
    orders = {"model": models(rows), "group": list(GROUPS), **orders}
    rows = rows.assign(**{key: pd.Categorical(rows[key], order) for key, order in orders.items()})
    extra = rows.groupby(keys, observed=True)[["smoothing", "languages"]].first()
    extra["languages"] = extra["languages"].astype(int)
    table = rows.pivot(index=keys, columns="metric", values=list(ends))
    table.columns = [pair[1] + ends[pair[0]] for pair in table.columns]
    return extra.join(table[[name + end for name in metrics for end in ends.values()]]).sort_index()


def models(frame: pd.DataFrame) -> list[str]:
    """Models in the order of the table."""
    return list(frame["model"].unique())


def languages(rows: pd.DataFrame) -> pd.DataFrame:
    """Languages by resource level, then by name; their `place` leaves 1 free between levels."""
    found = rows[["resource_level", "language"]].drop_duplicates()
    rank = found["resource_level"].map(levels(found, "resource_level").index)
    found = found.assign(rank=rank).sort_values(["rank", "language"])
    return found.assign(place=np.arange(len(found)) + found["rank"])


def levels(frame: pd.DataFrame, column: str) -> list[str]:
    """The resource levels that `column` holds, high to low."""
    return [level for level in LEVELS if (frame[column] == level).any()]


def _complete(
    chosen: pd.DataFrame,
    path: str | Path,
    models: list[str],
    labels: list[str],
    params: Panel,
) -> None:
    names = ("culture", "method", "fit", "language", "group", "level", "bin", "metric")
    unit = [name for name in names if name in chosen]
    everything = set(map(tuple, chosen[unit].to_numpy()))
    for model in models:
        for name in labels:
            rows = chosen[(chosen["model"] == model) & (chosen["condition"] == name)]
            run = f"{model}, {name}"
            if params.sft is not None:
                run += f" (SFT set {params.sft}, seed {params.seed})"
            if rows.empty:
                raise InputError(f"{path}: no rows for {run}, expected every model to have them")
            twice = rows[rows.duplicated(unit)]
            if len(twice):
                raise InputError(f"{path}: two rows for {run}, {tuple(twice[unit].iloc[0])}")
            absent = everything - set(map(tuple, rows[unit].to_numpy()))
            if absent:
                raise InputError(f"{path}: no row for {run}, {min(absent)}, which another run has")
