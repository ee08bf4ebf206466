"""What the programs of paper 2 share: confidences, cells of answers, and tables.

They serve both kinds of it, `released` and `chat_confidence`, our own runs: a released answer
has a confidence, an own one the logits of its letters.

A table has a column `dataset`, `all` or a data set's id, and a column `model`, its name.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from multical.errors import InputError
from multical.figures import latex
from multical.figures.params import Answers
from multical.files import atomic
from multical.metrics.abstention import file_order
from multical.metrics.params import Split
from multical.metrics.readouts import READOUTS, Readout

#: Methods: name in the tables, readout of the records, name in the files.
METHODS: dict[str, tuple[str, str]] = {
    "msp": ("msp", "norm_logits"),
    "maxlogit": ("max_logit", "raw_logits"),
    "margin": ("margin", "margin"),
    "entropy": ("entropy", "entropy"),
}
METHOD_NAMES = {
    "msp": "MSP",
    "maxlogit": "Max Logit",
    "margin": "Margin",
    "entropy": "Entropy",
    "none": "No abstention",
}
ALL = "all"


def is_released(frame: pd.DataFrame) -> bool:
    """Are records those of released outputs, or of our own runs."""
    return bool(frame["correct"].notna().any())


def answers(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of records that have the confidence of `method`, or the letters for it."""
    column = METHODS[method][0]
    if column not in frame or not is_released(frame):
        column = "letter_logits"
    return frame[frame[column].notna()]


def questions(rows: pd.DataFrame) -> pd.Series:
    """The question of each row; a released one may have a second answer, `{id}.raw`."""
    return rows["question_id"].str.removesuffix(".raw")


def readout(rows: pd.DataFrame, method: str) -> Readout:
    """The readout of `method` of rows that have it."""
    return READOUTS[METHODS[method][0]](rows)


def parts(
    frame: pd.DataFrame, params: Answers, method: str, by_prompt: bool
) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Rows of each (data set, model) or (data set, model, phrasing), in the config's order.

    Models without the confidence of `method` are left out. Raises `InputError` for a
    model or data set of the config that the records lack.
    """
    rows = answers(frame, method)
    by = ["benchmark", "language", "run"] + ["prompt"] * by_prompt
    groups = dict(iter(rows.groupby(by, observed=True)))
    prompts = [str(name) for name in sorted(frame["prompt"].unique())] if by_prompt else [""]
    for item in params.datasets:
        for model in params.models:
            if method == "maxlogit" and not model.max_logit:
                continue
            for prompt in prompts:
                key: tuple[str, ...] = (item.benchmark, item.language, model.file)
                key += (prompt,) if by_prompt else ()
                if key not in groups:
                    raise InputError(f"records: no {method} of {key}, which the config names")
                keys = {"dataset": item.id, "model": model.name, "file": model.file}
                yield keys | ({"prompt": prompt} if by_prompt else {}), groups[key]


def in_split_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one (data set, model) in the order that its seeded split starts from.

    That of the authors' files where the answers are theirs; for own runs by phrasing and
    question, which is our own design.
    """
    prompts = rows["prompt"].astype(str).to_list()
    if is_released(rows):
        return rows.iloc[file_order(questions(rows).to_numpy(np.int64), prompts)]
    return rows.iloc[np.lexsort((rows["question_id"].to_numpy(str), np.asarray(prompts)))]


def check_main_k(split: Split, sizes: Mapping[str, int]) -> None:
    """Raise `InputError` unless `main_k` answers of each data set leave some to test."""
    for dataset, size in sizes.items():
        if split.main_k >= size:
            raise InputError(
                f"abstention.main_k: found {split.main_k}, expected fewer than the {size} "
                f"answers of a model to {dataset}, all phrasings together"
            )


def scopes(params: Answers) -> list[tuple[str, list[str]]]:
    """`all` with all data sets, and each data set with itself."""
    ids = [item.id for item in params.datasets]
    return [(ALL, ids), *((name, [name]) for name in ids)]


def in_order(table: pd.DataFrame, params: Answers) -> pd.DataFrame:
    """Sort by data set, `all` first, then by model, as in the config; ties keep their order."""
    ranks = {
        "dataset": list(params.dataset_names),
        "model": list(params.names.values()),
    }
    return table.sort_values(
        [name for name in ranks if name in table],
        key=lambda column: column.map(ranks[str(column.name)].index),
        kind="stable",
        ignore_index=True,
    )


def read_table(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """A table of the study; raise `InputError` when it is unreadable or lacks a column."""
    try:
        # Only an empty cell is missing: a model may be called `nan`.
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
    missing = [name for name in columns if name not in table]
    if missing or table.empty:
        raise InputError(f"{path}: no column {missing} or no rows, expected {columns}")
    return table


def write_table(
    args: argparse.Namespace,
    name: str,
    table: pd.DataFrame,
    printed: pd.DataFrame,
    seed: int | None = None,
) -> None:
    """Write a table of the program, its LaTeX that of `printed`."""
    tex = latex.tabular(printed, args.params.dataset_names)
    latex.write(args, table, tex, name=name, seed=seed)


def write_data(path: str | Path, table: pd.DataFrame) -> None:
    """Write what a figure draws, CSV in full precision."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
