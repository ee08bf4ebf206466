"""A study's records and metrics, chosen to be written in forms that other tools read.

The forms are `multical.bundle.every_eval_ever` and `multical.bundle.harness_samples`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from multical import paths, records
from multical.bundle import contents
from multical.config import files
from multical.config.schema import Config
from multical.dag import dryrun, lineage
from multical.data import questions
from multical.errors import InputError
from multical.figures import tables
from multical.stats.blocks import Block, blocks
from multical.stats.params import MetricsJob
from multical.workflow import job_params

LETTERS = [*"ABCDEFGHIJ"]


@dataclass(frozen=True)
class Texts:
    """What a question and its options are called: their texts, or an id and letters."""

    question: str
    options: list[str]
    known: bool


@dataclass(frozen=True)
class RecordFile:
    """The records of one run on one benchmark: their path, and the end of the job that made them.

    `asked` is the file of the benchmark, or None if it is missing or only its owner may hand it on.
    """

    benchmark: str
    path: str
    made: int
    asked: str | None


@dataclass(frozen=True)
class Part:
    """The records of one run on one benchmark, by language."""

    file: RecordFile
    block: Block

    def texts(self, language: str) -> dict[str, Texts]:
        """The questions of a language by id."""
        known = _known(self.file.asked) if self.file.asked else {}
        texts = {}
        for name, row in self.rows(language):
            count = 0 if pd.isna(row.n_options) else int(row.n_options)
            unknown = Texts(f"{self.file.benchmark}, {language}: {name}", LETTERS[:count], False)
            texts[name] = known.get((language, name), unknown)
        return texts

    def rows(self, language: str) -> Iterator[tuple[str, Any]]:
        """The rows of a language, each with the id of its question."""
        for row in self.block.languages[language].itertuples():
            yield str(row.question_id), row


@lru_cache(maxsize=1)
def _known(path: str) -> dict[tuple[str, str], Texts]:
    return {
        (row["language"], row["question_id"]): Texts(row["question"], row["options"], True)
        for row in questions.read(path).to_dict("records")
    }


@dataclass(frozen=True)
class Export:
    """A study that may be exported. Times are seconds from 1970."""

    study: str
    config: Config
    params: MetricsJob
    metrics: pd.DataFrame
    commit: str | None
    made: int
    files: list[RecordFile]

    def parts(self) -> Iterator[Part]:
        """All records, one file after the other. Raises `InputError` as `records.read`."""
        for file in self.files:
            (block,) = blocks(records.read(file.path))
            yield Part(file, block)


def collect(study: str, shared: Collection[str] = ()) -> Export:
    """A study that is made and up to date.

    The texts of questions of others and of the user are left out, but for benchmarks with their
    name in `shared`. Run it in the folder that holds the Snakefile. Raises `InputError` for an
    unknown study, one of a kind without metrics, one that is not up to date, and a result that was
    changed by hand.
    """
    config = files.load()
    if study not in config.studies:
        known = sorted(config.studies)
        raise InputError(f"{study}: no study of config.yaml, expected one of {known}")
    params = job_params.metrics(config, study)
    target = paths.METRICS.format(root=study)
    with dryrun.opened(target, None) as (workflow, _):
        contents.check_current(workflow, study)
        traced = lineage.recorded(workflow, [target])
    contents.check_unchanged(traced)
    contents.check_shared(traced, shared)
    ended = {name: int(step.ended or 0) for step in traced.steps for name in step.outputs}
    withheld = traced.withheld(shared)
    inputs = []
    for name in sorted(traced.steps[-1].inputs):
        benchmark = Path(name).stem
        asked = paths.BENCHMARK.format(benchmark=benchmark)
        is_shown = asked not in withheld and Path(asked).is_file()
        inputs.append(RecordFile(benchmark, name, ended.get(name, 0), asked if is_shown else None))
    return Export(
        study=study,
        config=config,
        params=params,
        metrics=tables.read(target, "metrics"),
        commit=contents.commit()[0],
        made=ended[target],
        files=inputs,
    )


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write JSON Lines into a new file, and return the number of lines.

    In ASCII, since some programs take other separators of Unicode for the end of a line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with open(path, "x", encoding="ascii") as stream:
        for row in rows:
            stream.write(json.dumps(row, allow_nan=False) + "\n")
            count += 1
    return count


def text_or_none(value: Any) -> str | None:
    """A text column's value, with None for a null."""
    return None if pd.isna(value) else str(value)
