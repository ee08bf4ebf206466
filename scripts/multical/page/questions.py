"""The questions of a study of paper 1 for the explorer: texts, and the answers of each run.

Lists of a language are as long as its questions. Answers and right options are digits in a text,
`-` for none. Confidences have three digits behind the point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from multical import paths, records
from multical.config.schema import Config
from multical.errors import InputError
from multical.metrics.readouts import READOUTS, SCORES
from multical.page import sources
from multical.stats.blocks import Block, blocks, recorded

#: A page with more records than that has no questions
MOST_RECORDS = 100_000
#: A benchmark with more characters than that is shown without texts
MOST_CHARACTERS = 3_000_000
KEY = ["language", "question_id"]


def described(config: Config, root: str) -> dict[str, Any]:
    """How many records there are, the most that a page holds, and where questions can be read."""
    rows = sum(pq.read_metadata(path).num_rows for path in sources.records(config, root))
    return {
        "count": rows,
        "most": MOST_RECORDS,
        "files": paths.RECORDS.format(root=root, run="{run}", benchmark="{benchmark}"),
        "questions": sources.benchmarks(config, root),
    }


def data(config: Config, root: str) -> dict[str, Any] | None:
    """Questions and answers by benchmark; None if there are too many records."""
    if described(config, root)["count"] > MOST_RECORDS:
        return None
    frame = records.read(sources.records(config, root))
    files, readouts = sources.benchmarks(config, root), config.measured(root).metrics.readouts
    return {
        str(name): {"about": sources.about(config, str(name))}
        | _benchmark(rows, files.get(str(name)), readouts)
        for name, rows in frame.groupby("benchmark", observed=True)
    }


def _benchmark(rows: pd.DataFrame, file: str | None, readouts: Sequence[str]) -> dict[str, Any]:
    asked = rows.drop_duplicates(KEY).sort_values(KEY).astype({"language": str})
    ids = sorted(asked["question_id"].unique())
    places = {name: place for place, name in enumerate(ids)}
    by_language = {str(name): part for name, part in asked.groupby("language")}
    return {
        "ids": ids,
        "subjects": _labels(asked, "subject"),
        "cultures": _labels(asked, "culture"),
        "asked": {
            language: [places[name] for name in part["question_id"]]
            for language, part in by_language.items()
        },
        "gold": {
            language: digits(part["gold"].to_numpy(float, na_value=np.nan))
            for language, part in by_language.items()
        },
        "texts": _texts(by_language, file) if file else None,
        "answers": [
            {"run": block.keys["run"], "readout": readout}
            | {"languages": dict(_answers(block, readout, by_language))}
            for block in blocks(rows)
            for readout in readouts
        ],
    }


def _labels(asked: pd.DataFrame, column: str) -> list[str | None] | None:
    """The subject or culture of each question, in the order of ids; None if no question has one."""
    values = asked.drop_duplicates("question_id").sort_values("question_id")[column]
    if values.isna().all():
        return None
    return [None if pd.isna(value) else str(value) for value in values]


def _texts(by_language: dict[str, pd.DataFrame], file: str) -> dict[str, list[Any]] | None:
    """The question and the options of each language's questions; None if they are too long.

    Raises `InputError` for a question of the records that the file has not, or with another right
    option.
    """
    ids = sorted({name for part in by_language.values() for name in part["question_id"]})
    columns = [*KEY, "question", "options", "answer"]
    kept = pq.read_table(file, columns=columns, filters=[("question_id", "in", ids)]).to_pylist()
    found = {(row["language"], row["question_id"]): row for row in kept}
    texts: dict[str, list[Any]] = {}
    characters = 0
    for language, part in by_language.items():
        lines = texts.setdefault(language, [])
        for name, gold in zip(part["question_id"], part["gold"], strict=True):
            row = found.get((language, name))
            if row is None or row["answer"] != gold:
                raise InputError(
                    f"{Path(file)}: question {name!r} in {language!r}: found "
                    f"{'none' if row is None else row['answer']} as right option, expected {gold} "
                    "as in the records"
                )
            lines.append([row["question"], row["options"]])
            characters += len(row["question"]) + sum(map(len, row["options"]))
    return texts if characters <= MOST_CHARACTERS else None


def _answers(
    block: Block, readout: str, by_language: dict[str, pd.DataFrame]
) -> Iterator[tuple[str, list[Any]]]:
    """Each language with the answers of a run, and the confidences in them."""
    for language, answered in recorded(block, partial(_answered, readout)).items():
        answered = answered.reindex(by_language[language]["question_id"])
        sure = [None if pd.isna(x) else round(float(x), 3) for x in answered["confidence"]]
        yield language, [digits(answered["answer"].to_numpy(float)), sure]


def _answered(readout: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The chosen option and the confidence in it, by question."""
    found = READOUTS[readout](rows)
    scores = SCORES.get(readout, SCORES["letter"])(rows)
    return pd.DataFrame(
        {"answer": np.nanargmax(scores, axis=1), "confidence": found.confidence},
        index=pd.Index(rows["question_id"].astype(str)),
    )


def digits(options: Any) -> str:
    """The numbers of options, at most 9, in one text."""
    return "".join("-" if np.isnan(option) else f"{option:.0f}" for option in options)
