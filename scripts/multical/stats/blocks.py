"""Cutting records into the rows of result tables: runs, languages, groups of languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from multical.errors import InputError
from multical.labels import LEVELS, level_of
from multical.metrics.readouts import READOUTS, NotRecordedError, Readout
from multical.records import KEY

Value = TypeVar("Value")

#: Columns that all records of a run on a benchmark share. Every result table starts with them.
RUN = ["run", "model", "sft", "smoothing", "seed", "benchmark"]


@dataclass(frozen=True)
class Block:
    """One run on one benchmark: its values of `RUN`, and its records by language, sorted."""

    keys: dict[str, Any]
    languages: dict[str, pd.DataFrame]


def blocks(frame: pd.DataFrame) -> Iterator[Block]:
    """Cut records in any order into blocks, sorted by run and benchmark.

    Raises `InputError` if the rows of a block differ in a column of `RUN`, or if a block has
    more than one prompt (its questions would count twice).
    """
    order = {
        name: frame[name].cat.reorder_categories(sorted(frame[name].cat.categories))
        for name in KEY
        if isinstance(frame[name].dtype, pd.CategoricalDtype)
    }
    frame = frame.assign(**order).sort_values(KEY, kind="stable", ignore_index=True)
    for (run, benchmark), rows in frame.groupby(["run", "benchmark"], observed=True):
        for name in [*RUN, "prompt"]:
            if rows[name].nunique(dropna=False) != 1:
                values = rows[name].drop_duplicates().to_list()
                raise InputError(
                    f"records: run {run} on {benchmark}: {name} is {values}, expected one value"
                )
        first = rows[RUN].iloc[0]
        keys = {name: None if pd.isna(first[name]) else first[name] for name in RUN}
        by_language = rows.groupby("language", observed=True)
        yield Block(keys, {str(language): records for language, records in by_language})


def readings(block: Block, readout: str) -> dict[str, Readout]:
    """A readout in each language whose records have the columns it needs."""
    return recorded(block, READOUTS[readout])


def recorded(block: Block, read: Callable[[pd.DataFrame], Value]) -> dict[str, Value]:
    """The result of `read` for each language whose records have the columns it needs.

    A language may lack a prompt, and then the columns. Raises `InputError` if all languages lack
    them, or if only some questions of a language have them.
    """
    values, error = {}, None
    for language, rows in block.languages.items():
        try:
            values[language] = read(rows)
        except NotRecordedError as absent:
            error = absent
    if error and not values:
        raise error
    return values


def groups(languages: Mapping[str, Any], levels: Mapping[str, str]) -> dict[str, list[str]]:
    """The languages of each group that is not empty: non-english, high, mid, low, unknown, all.

    English belongs to its level and to all.
    """
    members = {"non-english": [x for x in languages if x.split("-")[0].lower() != "en"]}
    members |= {level: [x for x in languages if level_of(x, levels) == level] for level in LEVELS}
    members["all"] = list(languages)
    return {group: chosen for group, chosen in members.items() if chosen}
