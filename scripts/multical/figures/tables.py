"""The result tables of a study: reading, checking, and choosing rows by condition.

A *condition* is the label smoothing b of a fine-tuned run, or None for the base model. An
incomplete table is an error, so that no figure leaves a run out silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy

from multical.errors import InputError
from multical.figures.params import Conditions, Panel
from multical.labels import FEW, LEVELS, label
from multical.metrics import declared
from multical.names import metric_name

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
    "point": "number",
    "point_confidence": "number",
    "point_accuracy": "number",
    "point_low": "number",
    "point_high": "number",
}
#: A comparison of two runs, or of their means over several seeds
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
SHARE = dict.fromkeys(("share", "low", "high", "simulations"), "number")
SIMULATED = dict.fromkeys(("languages", "questions", "shared", "power", "sharpness"), "number")
#: The columns of each table, all required, and whether they hold text or numbers
COLUMNS = {
    "metrics": RUN
    | READING
    | {"language": "text", "resource_level": "text", "metric": "text", "n": "number"}
    | INTERVAL,
    "summary": RUN | READING | GROUPED | INTERVAL,
    "recalibration": RUN | {"method": "text", "fit": "text"} | READING | GROUPED | INTERVAL,
    "temperatures": RUN
    | {"fit": "text", "language": "text", "resource_level": "text"}
    | READING
    | INTERVAL,
    "culture": RUN | READING | {"culture": "text"} | GROUPED | INTERVAL,
    "coverage": {"kind": "text", "of": "text", "metric": "text"} | SIMULATED | SHARE,
    "procedures": {"kind": "text", "procedure": "text", "scenario": "text"} | SHARE,
    "fertility": RUN
    | {"benchmark": "text", "language": "text", "resource_level": "text"}
    | dict.fromkeys(("fertility", "tokens", "bytes", "n"), "number"),
    "effects": COMPARED
    | {"language": "text", "resource_level": "text", "metric": "text", "n": "number"}
    | INTERVAL
    | {"seed_sd": "number"}
    | CORRECTED,
    "effects_over_languages": COMPARED
    | GROUPED
    | INTERVAL
    | dict.fromkeys(("seed_sd", "rises", "falls", "low_all", "high_all"), "number")
    | CORRECTED
    | dict.fromkeys(("p_all", "p_all_holm", "p_all_bh"), "number"),
    "reliability": RUN | READING | {"group": "text"} | BINS,
    "reliability_by_lang": RUN | READING | {"language": "text", "resource_level": "text"} | BINS,
}
#: Methods of recalibration in their order, with their names in figures and tables
METHODS = {"none": "none", "temperature": "temperature", "platt": "Platt", "isotonic": "isotonic"}
_TESTED = [
    [x, "confidence_at_equal_accuracy"] if x == "confidence" else [x] for x in declared.TESTED
]
#: Metrics whose changes are tested, with their names in figures and tables
CHANGED = {x: metric_name(x) for part in _TESTED for x in part}
#: Groups of languages in printed tables, with their names there
GROUPS = {"non-english": "all but English"} | {level: level for level in LEVELS}
#: Smaller p-values are called significant
ALPHA = 0.05
#: Columns of numbers that tell rows apart
KEYS = ("smoothing", "bin", "low", "high")


def read(path: str | Path, kind: str) -> pd.DataFrame:
    """Read a table of `kind` (a key of `COLUMNS`), numbers as float64, the rest as text.

    Raises `InputError` for a missing or unreadable file, a missing column, a table without rows, a
    cell that is not a number, an empty name, or an unknown resource level.
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
            _refuse_first(number.isna() & frame[name].notna(), frame, path, name, "a number")
            frame[name] = number
        elif name == "resource_level":
            _refuse_first(~frame[name].isin(LEVELS), frame, path, name, f"one of {LEVELS}")
        elif name != "sft":  # empty for a base model
            _refuse_first(frame[name].isna(), frame, path, name, "a name")
    return frame[list(columns)]


def _refuse_first(
    bad: pd.Series, frame: pd.DataFrame, path: str | Path, name: str, expected: str
) -> None:
    """Raise `InputError` for the first bad cell of the column `name`, if there is one."""
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: line {row + 2}: {name}: found {frame[name].iloc[row]!r}, expected {expected}"
        )


def select(frame: pd.DataFrame, path: str | Path, **wanted: Sequence[str] | str) -> pd.DataFrame:
    """The rows whose columns hold one of the `wanted` values. Each value must occur."""
    for column, values in wanted.items():
        values = [values] if isinstance(values, str) else list(values)
        present = list(frame[column].dropna().unique())
        absent = [value for value in values if value not in present]
        if absent:
            raise InputError(f"{path}: no rows with {column} {absent}, found {present}")
        frame = frame[frame[column].isin(values)]
    return frame


def chosen(
    path: str | Path,
    kind: str,
    params: Panel,
    conditions: Sequence[float | None] | None = None,
    **wanted: Sequence[str] | str,
) -> pd.DataFrame:
    """The rows of a table that a figure shows: one benchmark, readout and SFT set.

    `conditions` defaults to the base model and every smoothing of the table. `wanted` are values of
    further columns. The result has a column `condition`, as `runs` adds it.
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
    """The rows of a table of changes, of one benchmark, readout and SFT set, over all its seeds.

    The added column `condition`, an ordered category, is the condition after the change: SFT
    (compared with the base model), or SFT with the chosen smoothing (compared with SFT). Raises
    `InputError` unless every model has both.
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
    _check_complete(frame, path, models(frame), labels, params)
    return frame


def conditions(params: Conditions) -> list[float | None]:
    """The conditions that a figure compares: base, SFT, and SFT with the chosen smoothing.

    The base alone if a study has no SFT runs.
    """
    return [None] if params.smoothing is None else [None, 0.0, params.smoothing]


def need_tuned(params: Panel) -> None:
    """Raise `InputError` if a study has no SFT runs. For figures that cannot do without them."""
    if params.sft is None:
        raise InputError(
            f"--params: {params.study} shows base models alone (figures.sft is null), expected SFT "
            "runs to compare with them"
        )


def smoothings(frame: pd.DataFrame, params: Panel) -> list[float]:
    """Smoothing values of the runs of the chosen SFT set and seed, ascending."""
    return sorted(frame.loc[tuned(frame, params), "smoothing"].dropna().unique().tolist())


def tuned(frame: pd.DataFrame, params: Panel) -> pd.Series:
    """Which rows are of the chosen SFT set, and of the chosen seed, if one is chosen."""
    chosen = frame["sft"] == params.sft
    return chosen if params.seed is None else chosen & (frame["seed"] == params.seed)


def runs(
    frame: pd.DataFrame,
    path: str | Path,
    params: Panel,
    conditions: Sequence[float | None],
) -> pd.DataFrame:
    """The rows of the base model and of the chosen SFT set and seed that are in `conditions`.

    Without a seed they are means over all seeds. The added column `condition` is an ordered
    category of labels. Raises `InputError` unless every model has every condition, each with the
    same rows (languages, groups, bins).
    """
    labels = [label(condition) for condition in conditions]
    own = tuned(frame, params)
    parts = []
    for condition, name in zip(conditions, labels, strict=True):
        rows = (
            frame["sft"].isna()
            if condition is None
            else own & np.isclose(frame["smoothing"], condition)
        )
        parts.append(frame[rows].assign(condition=name))
    chosen = pd.concat(parts, ignore_index=True)
    chosen["condition"] = pd.Categorical(chosen["condition"], labels, ordered=True)
    if "bin" in chosen:
        gap = (chosen["confidence"] - chosen["accuracy"]).abs()
        chosen = chosen.assign(distance=(chosen["n"] * gap).fillna(0.0))
    if params.seed is not None or params.sft is None:
        _check_complete(chosen, path, models(frame), labels, params)
        return chosen
    seeds = sorted(frame.loc[own, "seed"].unique().tolist())
    for seed in seeds or [None]:
        part = chosen[chosen["sft"].isna() | (chosen["seed"] == seed)]
        one = params.model_copy(update={"seed": seed and int(seed)})
        _check_complete(part, path, models(frame), labels, one)
    return mean_over_seeds(chosen) if len(seeds) > 1 else chosen


def mean_over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds: of values, of the ends of intervals, of numbers of questions.

    In reliability diagrams the answers of all seeds are pooled, and two bins are of one point if
    they are so for any seed.
    """
    if "bin" in rows:
        rows = _pooled(rows)
    columns = [name for name in rows if rows[name].dtype == float and name not in KEYS]
    keys = [name for name in rows if name not in (*columns, "run", "seed")]
    means = rows.groupby(keys, dropna=False, sort=False, observed=True)
    table = means[columns].mean().reset_index()
    return table.assign(run=table["model"], seed=np.nan)[list(rows)]


def _pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Reliability bins in which each seed has the confidence, accuracy and points of all seeds."""
    place = [name for name in ("group", "language", "resource_level") if name in rows]
    run = ["model", "sft", "smoothing", *place]
    rows = rows.sort_values([*run, "seed", "bin"], kind="stable", na_position="first")
    change = rows.groupby([*run, "seed"], dropna=False, sort=False)["point"].diff() != 0
    # a point starts where one does for all seeds
    starts = _by(change, rows, [*run, "bin"]).transform("all")
    rows = rows.assign(point=_by(starts, rows, [*run, "seed"]).cumsum() - 1.0)
    for end, key in (("", "bin"), ("point_", "point")):
        total = _by(rows["n"], rows, [*run, key]).transform("sum")
        for name in (
            ("confidence", "accuracy", "low", "high") if end else ("confidence", "accuracy")
        ):
            weighted = _by(rows["n"] * rows[end + name], rows, [*run, key]).transform("sum")
            rows[end + name] = weighted / total.where(total > 0)
    return rows.sort_index()


def _by(values: pd.Series, rows: pd.DataFrame, keys: Sequence[str]) -> SeriesGroupBy:
    """The values of `rows`, grouped by some of their columns."""
    return values.groupby([rows[key] for key in keys], dropna=False)


def by_metric(
    rows: pd.DataFrame, orders: dict[str, list[str]], metrics: Sequence[str]
) -> pd.DataFrame:
    """A row per model, group, condition and further key, with three columns per metric.

    The three columns are its value and the ends of its interval. `orders` are the further keys,
    each with its values in their order. It may have other groups than `GROUPS`.
    """
    ends = {"value": "", "ci_low": "_low", "ci_high": "_high"}
    keys = list(dict.fromkeys(["model", "group", "condition", *orders]))
    orders = {"model": models(rows), "group": list(GROUPS), **orders}
    rows = rows.assign(**{key: pd.Categorical(rows[key], order) for key, order in orders.items()})
    extra = rows.groupby(keys, observed=True)[["smoothing", "languages"]].first()
    extra["languages"] = extra["languages"].astype(int)
    table = rows.pivot(index=keys, columns="metric", values=list(ends))
    table.columns = [pair[1] + ends[pair[0]] for pair in table.columns]
    return extra.join(table[[name + end for name in metrics for end in ends.values()]]).sort_index()


def models(frame: pd.DataFrame) -> list[str]:
    """The models, in the order of the table."""
    return list(frame["model"].unique())


def points(bins: pd.DataFrame, keys: Sequence[str] = ()) -> pd.DataFrame:
    """The points of reliability diagrams from their bins, by confidence.

    `keys` are the columns that tell diagrams apart, and become levels of the index. Columns n,
    confidence, accuracy, and low and high, the ends of the interval of the accuracy.
    """
    names = ["confidence", "accuracy", "low", "high"]
    joined = bins.groupby([*keys, "point"], observed=True)[
        ["n", *(f"point_{name}" for name in names)]
    ]
    table = joined.agg({"n": "sum"} | {f"point_{name}": "first" for name in names})
    return table[table["n"] > 0].set_axis(["n", *names], axis=1)


def languages(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per language, by resource level, then by name.

    Its `place` on an axis leaves 1 free between levels.
    """
    table = rows[["resource_level", "language"]].drop_duplicates()
    rank = table["resource_level"].map(levels(table, "resource_level").index)
    table = table.assign(rank=rank).sort_values(["rank", "language"])
    return table.assign(place=np.arange(len(table)) + table["rank"])


def questions(rows: pd.DataFrame) -> dict[str, int]:
    """The number of questions of each language; in a table of bins, the sum over bins."""
    if "bin" in rows:
        keys = ["model", "condition", "language"]
        rows = rows.groupby(keys, observed=True)["n"].sum().reset_index()
    if "n" not in rows:
        return {}
    return {str(name): int(n) for name, n in rows.groupby("language")["n"].max().items()}


def few(rows: pd.DataFrame, least: int) -> dict[str, int]:
    """The numbers of questions of languages that have few.

    That is fewer than `least`, which do not count in means, or than `FEW` of the median.
    """
    numbers = questions(rows)
    enough = max(least, FEW * float(np.median(list(numbers.values() or [0]))))
    return {language: number for language, number in numbers.items() if number < enough}


def levels(frame: pd.DataFrame, column: str) -> list[str]:
    """The resource levels that `column` holds, high to low."""
    return [level for level in LEVELS if (frame[column] == level).any()]


def _check_complete(
    chosen: pd.DataFrame,
    path: str | Path,
    models: list[str],
    labels: list[str],
    params: Panel,
) -> None:
    """Raise `InputError` unless each model and condition has the same rows, each once."""
    names = ("culture", "method", "fit", "language", "group", "level", "bin", "metric")
    keys = [name for name in names if name in chosen]
    all_keys = set(map(tuple, chosen[keys].to_numpy()))
    for model in models:
        for name in labels:
            rows = chosen[(chosen["model"] == model) & (chosen["condition"] == name)]
            run = f"{model}, {name}"
            if params.sft is not None:
                run += f" (SFT set {params.sft}, seed {params.seed})"
            if rows.empty:
                raise InputError(f"{path}: no rows for {run}, expected every model to have them")
            twice = rows[rows.duplicated(keys)]
            if len(twice):
                raise InputError(f"{path}: two rows for {run}, {tuple(twice[keys].iloc[0])}")
            absent = all_keys - set(map(tuple, rows[keys].to_numpy()))
            if absent:
                raise InputError(f"{path}: no row for {run}, {min(absent)}, which another run has")
