"""What the programs of paper 2 share: confidences, groups of answers, and tables.

The programs serve two kinds of studies: `released`, whose records hold the confidence of each
answer, and `chat_confidence` (our own runs), whose records hold the logits of the letters.

A table has a column `dataset` (`all` or the id of a data set) and a column `model` (its name).
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

#: Methods by their names in the tables: the readout, and the name in the authors' files
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
#: What is correlated, by its column
QUANTITIES = {
    "accuracy": "accuracy",
    "size": "size",
    **{f"{name}_auroc": f"{METHOD_NAMES[name]} AUROC" for name in METHODS},
    **{
        f"{name}{end}": f"{text}{after}"
        for end, after in (("", ""), ("_platt", ", Platt-scaled"))
        for name, text in {
            "calibration_error": "calibration error, answers pooled",
            "calibration_error_cells": "calibration error by data set",
            "calibration_error_width": "calibration error by data set, equal width",
        }.items()
    },
}
ALL = "all"


def is_released(frame: pd.DataFrame) -> bool:
    """Whether the records are of released outputs, not of our own runs."""
    return bool(frame["correct"].notna().any())


def answers(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """The records that have the confidence of `method`, or the letter logits to compute it."""
    column = METHODS[method][0]
    if column not in frame or not is_released(frame):
        column = "letter_logits"
    return frame[frame[column].notna()]


def questions(rows: pd.DataFrame) -> pd.Series:
    """The question id of each row. A released question may have a second answer, `{id}.raw`."""
    return rows["question_id"].str.removesuffix(".raw")


def readout(rows: pd.DataFrame, method: str) -> Readout:
    """The readout of `method`, from rows that `answers` gives."""
    return READOUTS[METHODS[method][0]](rows)


def answer_groups(
    frame: pd.DataFrame, params: Answers, method: str, by_prompt: bool
) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The keys and rows of each (data set, model), in the order of the config.

    With `by_prompt`, those of each (data set, model, phrasing). Models without the confidence of
    `method` are left out. Raises `InputError` if the records lack a model or data set of the
    config.
    """
    rows = answers(frame, method)
    by = ["benchmark", "language", "run"] + ["prompt"] * by_prompt
    rows_by_key = dict(iter(rows.groupby(by, observed=True)))
    prompts = [str(name) for name in sorted(frame["prompt"].unique())] if by_prompt else [""]
    for item in params.datasets:
        for model in params.models:
            if method == "maxlogit" and not model.max_logit:
                continue
            for prompt in prompts:
                key: tuple[str, ...] = (item.benchmark, item.language, model.file)
                key += (prompt,) if by_prompt else ()
                if key not in rows_by_key:
                    raise InputError(f"records: no {method} of {key}, which the config names")
                keys = {"dataset": item.id, "model": model.name, "file": model.file}
                yield keys | ({"prompt": prompt} if by_prompt else {}), rows_by_key[key]


def in_split_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one (data set, model) in the order that the seeded split starts from.

    For released answers this is the order of the authors' files. For our own runs it is by
    phrasing, then by question, which is our own design.
    """
    prompts = rows["prompt"].astype(str).to_list()
    if is_released(rows):
        return rows.iloc[file_order(questions(rows).to_numpy(np.int64), prompts)]
    return rows.iloc[np.lexsort((rows["question_id"].to_numpy(str), np.asarray(prompts)))]


def check_main_k(split: Split, sizes: Mapping[str, int]) -> None:
    """Raise `InputError` unless `main_k` training answers leave test answers in each data set.

    `sizes` is the number of answers of one model to each data set.
    """
    for dataset, size in sizes.items():
        if split.main_k >= size:
            raise InputError(
                f"abstention.main_k: found {split.main_k}, expected fewer than the {size} "
                f"answers of a model to {dataset}, all phrasings together"
            )


def scopes(params: Answers) -> list[tuple[str, list[str]]]:
    """`all` with the ids of all data sets, then each data set with its own id alone."""
    ids = [item.id for item in params.datasets]
    return [(ALL, ids), *((name, [name]) for name in ids)]


def in_order(table: pd.DataFrame, params: Answers) -> pd.DataFrame:
    """Sort by data set (`all` first), then by model, as in the config. Ties keep their order."""
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
    """Read a table of the study.

    Raises `InputError` if it is unreadable, lacks a column or has no rows.
    """
    try:
        # Only an empty cell is missing: a model may be called `nan`.
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
    missing = [name for name in columns if name not in table]
    if missing or table.empty:
        raise InputError(f"{path}: no column {missing} or no rows, expected {columns}")
    return table


def scores(table: pd.DataFrame, scheme: str, k: int | str) -> pd.DataFrame:
    """Mean scores over all data sets and splits: a row for each model, a column for each method."""
    rows = table[
        (table["dataset"] == ALL) & (table["scheme"] == scheme) & (table["k"].astype(str) == str(k))
    ]
    return rows.pivot(index="model", columns="method", values="mean")


def gains(scores: pd.DataFrame, method: str) -> pd.Series:
    """What each model gains by abstaining with a method, from `scores`.

    It is over the better of two scores that need no confidence: that without abstention, and 0,
    that of abstaining from everything.
    """
    return scores[method] - scores["none"].clip(lower=0)


def write_table(
    args: argparse.Namespace,
    name: str,
    table: pd.DataFrame,
    printed: pd.DataFrame,
    seed: int | None = None,
) -> None:
    """Write a table of the program, `table` as CSV and `printed` as LaTeX."""
    tex = latex.tabular(printed, args.params.dataset_names)
    latex.write(args, table, tex, name=name, seed=seed)


def write_data(path: str | Path, table: pd.DataFrame) -> None:
    """Write the data of a figure as CSV in full precision."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
