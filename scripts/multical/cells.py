"""How records are cut into the rows of result tables: runs, languages, groups of languages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from multical.errors import InputError
from multical.readouts import READOUTS
from multical.records import KEY

#: What a run's rows share, and every result table starts with.
RUN = ["run", "model", "sft", "smoothing", "seed", "benchmark"]
LEVELS = ("high", "mid", "low")


@dataclass(frozen=True)
class Block:
    """One run on one benchmark: its values of `RUN`, and its rows by language, sorted."""

    keys: dict[str, Any]
    languages: dict[str, pd.DataFrame]


def blocks(frame: pd.DataFrame) -> Iterator[Block]:
    """Cut records into blocks, sorted by run and benchmark whatever the order of rows.

    Raises `InputError` where the rows of a run disagree on what a run shares, or a
    block has more than one prompt (its questions would count twice).
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
                found = rows[name].drop_duplicates().to_list()
                raise InputError(
                    f"records: run {run} on {benchmark}: {name} is {found}, expected one value"
                )
        first = rows[RUN].iloc[0]
        keys = {name: None if pd.isna(first[name]) else first[name] for name in RUN}
        languages = rows.groupby("language", observed=True)
        yield Block(keys, {str(language): part for language, part in languages})


def groups(languages: Mapping[str, Any], levels: Mapping[str, str]) -> dict[str, list[str]]:
    """The languages of each group that has any: non-english, high, mid, low, all.

    English stays in its level and in all.
    """
    members = {"non-english": [x for x in languages if x.split("-")[0].lower() != "en"]}
    members |= {level: [x for x in languages if levels[x] == level] for level in LEVELS}
    members["all"] = list(languages)
    return {name: chosen for name, chosen in members.items() if chosen}


def parameters(text: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Parse `--params`: a JSON object of exactly the keys of `kinds`, checked.

    Readouts must be known, `bins` at least 1, resource levels one of `LEVELS`.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--params: {text!r}, expected a JSON object ({error})") from error
    if not isinstance(found, dict) or set(found) != set(kinds):
        have = sorted(found) if isinstance(found, dict) else found
        raise InputError(f"--params: found {have}, expected the keys {sorted(kinds)}")
    for key, kind in kinds.items():
        if type(found[key]) is not kind:
            raise InputError(f"--params: {key}: {found[key]!r}, expected a {kind.__name__}")
    known("readouts", found["readouts"], READOUTS)
    known("resource_levels", list(found["resource_levels"].values()), LEVELS, distinct=False)
    if found["bins"] < 1:
        raise InputError(f"--params: bins: {found['bins']}, expected at least 1")
    return found


def known(key: str, found: list[Any], names: Any, distinct: bool = True) -> None:
    """Raise `InputError` unless `found` is a list of some of `names`, and of each once."""
    odd = [name for name in found if name not in names]
    if odd or not found or (distinct and len(set(found)) != len(found)):
        raise InputError(f"--params: {key}: {found}, expected distinct ones of {list(names)}")


def check_levels(frame: pd.DataFrame, levels: Mapping[str, str]) -> None:
    """Raise `InputError` naming the languages of the records that have no resource level."""
    missing = sorted(set(map(str, frame["language"].unique())) - set(levels))
    if missing:
        raise InputError(f"--params: resource_levels: no {missing}, which the records hold")
