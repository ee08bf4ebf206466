"""Records, the files between scoring and analysis.

They have one row for each (run, benchmark, prompt, language, question), with the raw scores from
which every confidence can be computed, and nothing computed from them. Programs that need a model
write records. All other programs read only records. This module has their schema, writes
them, and checks them on reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from multical import parquet
from multical.errors import InputError

MAX_OPTIONS = 10


def _column(name: str, kind: pa.DataType, doc: str, required: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"doc": doc})


TEXT = pa.dictionary(pa.int32(), pa.string())
LOGITS = pa.list_(pa.float32())

#: Every column with its type. The metadata of its field hold its meaning and unit.
SCHEMA = pa.schema(
    [
        _column("run", TEXT, "run id, model.sft.smoothing.seed, or the model for a base", True),
        _column("model", TEXT, "name of the base model in the config", True),
        _column("sft", TEXT, "name of the SFT data set; null for a base model"),
        _column("smoothing", pa.float64(), "label smoothing b of the SFT; null for a base model"),
        _column("seed", pa.int64(), "seed of the SFT; null for a base model"),
        _column("benchmark", TEXT, "name of the benchmark in the config", True),
        _column("prompt", TEXT, "name of the prompt, or of the phrasing of a released run", True),
        _column("language", TEXT, "BCP 47 tag of the question's language", True),
        _column("question_id", pa.string(), "the same in all languages if parallel", True),
        _column("subject", TEXT, "subject or question kind; null where the source has none"),
        _column("culture", TEXT, "CS: culturally sensitive, CA: agnostic; null where not said"),
        _column("n_options", pa.int8(), "number of options, 2 to 10"),
        _column("gold", pa.int8(), "index of the right option, from 0"),
        _column(
            "letter_logits",
            LOGITS,
            "per option: logsumexp (nats) of the logits of all token ids that decode to its "
            "letter, at the answer position of the multiple-choice prompt; with the option_order "
            "cyclic, log of the mean over rotations of its letter's probability",
        ),
        _column(
            "letter_bounds",
            pa.list_(pa.bool_()),
            "API models only, per option: true where no token that the API listed decodes to the "
            "letter, so that `letter_logits` is but an upper bound (multical.scoring.api)",
        ),
        _column(
            "logsumexp",
            pa.float32(),
            "logsumexp (nats) over the full vocabulary at that same position; 0 where "
            "`letter_logits` are log-probabilities",
        ),
        _column(
            "prompt_tokens", pa.int32(), "tokens of the multiple-choice prompt, options as given"
        ),
        _column(
            "text_logliks",
            LOGITS,
            "per option: summed log-likelihood (nats) of the option's text after the cloze prompt",
        ),
        _column("text_tokens", pa.list_(pa.int32()), "per option: number of tokens of its text"),
        _column("text_bytes", pa.list_(pa.int32()), "per option: bytes of its text in UTF-8"),
        _column(
            "text_logliks_alone",
            LOGITS,
            "per option: summed log-likelihood (nats) of its text after the prompt's "
            "`unconditional` text, without question and examples; null without that text",
        ),
        _column("correct", pa.bool_(), "released outputs only: was the answer right"),
        _column("msp", pa.float64(), "released outputs only: maximum softmax probability"),
        _column("max_logit", pa.float64(), "released outputs only: maximum logit"),
    ],
    metadata={"multical": "records 3"},
)

#: Per-option columns: their lists are as long as `n_options`.
PER_OPTION = (
    "letter_logits",
    "letter_bounds",
    "text_logliks",
    "text_tokens",
    "text_bytes",
    "text_logliks_alone",
)
KEY = ["run", "benchmark", "prompt", "language", "question_id"]


def write(path: str | Path, frame: pd.DataFrame) -> None:
    """Write records as Parquet, sorted by key. Columns that `frame` lacks are null.

    The same rows give the same bytes. Raises `InputError` for an unknown column, or as `check`.
    """
    unknown = sorted(set(frame.columns) - set(SCHEMA.names))
    if unknown:
        raise InputError(f"{path}: unknown record columns {unknown}, expected {SCHEMA.names}")
    frame = frame.reindex(columns=SCHEMA.names)
    # The bytes must not depend on the order of rows or of a column's categories.
    texts = {f.name: _categories(frame[f.name]) for f in SCHEMA if f.type == TEXT}
    lists = {name: frame[name].astype(object) for name in PER_OPTION}  # float if all are null
    frame = frame.assign(**texts, **lists)
    frame = frame.sort_values(KEY, kind="stable", ignore_index=True)
    check(frame, path)
    table = pa.Table.from_pandas(frame, schema=SCHEMA, preserve_index=False)
    # pandas' own metadata hold its version and types, which depend on the source of the rows
    table = table.replace_schema_metadata(SCHEMA.metadata)
    parquet.write(path, table)


def _categories(values: pd.Series) -> pd.Series:
    """A text column as categories, sorted and without unused ones."""
    names = pd.Index(sorted(values.dropna().unique()), dtype=object)
    return values.astype(pd.CategoricalDtype(names))


def read(paths: str | Path | Iterable[str | Path], compact: bool = False) -> pd.DataFrame:
    """Read and check one or more record files. Text columns become categories.

    With `compact`, per-option columns stay Arrow's instead of an array for each row, and question
    ids become categories too. That takes a tenth of the memory.

    Raises `InputError` for a file that is missing, unreadable or of another schema, for rows
    that break a rule of `check`, and for a key that occurs in two files.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    tables = [_table(path) for path in paths]
    if not tables:
        raise InputError("records: no files, expected at least one")
    merged, types = pa.concat_tables(tables), None
    if compact:
        merged, types = _encoded(merged), _arrow_list
    frame = merged.unify_dictionaries().to_pandas(types_mapper=types)
    end = 0
    for path, table in zip(paths, tables, strict=True):
        start, end = end, end + len(table)
        check(frame.iloc[start:end], path)
    if len(paths) > 1:
        _check_unique(frame, ", ".join(map(str, paths)))
    return frame


def _encoded(table: pa.Table) -> pa.Table:
    """The table with question ids as a dictionary."""
    ids = table["question_id"].combine_chunks().dictionary_encode()
    return table.set_column(table.schema.get_field_index("question_id"), "question_id", ids)


def _arrow_list(kind: pa.DataType) -> pd.ArrowDtype | None:
    return pd.ArrowDtype(kind) if pa.types.is_list(kind) else None


def flat(lists: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """All values of a per-option column, row after row, and the rows' lengths.

    The column must have no nulls.
    """
    if isinstance(lists.dtype, pd.ArrowDtype):
        array = pa.chunked_array(lists.array.__arrow_array__()).combine_chunks()
        values = array.flatten().to_numpy(zero_copy_only=False)
        return values, array.value_lengths().to_numpy(zero_copy_only=False)
    lengths = np.array([len(values) for values in lists])
    return np.concatenate(lists.to_list()), lengths


@dataclass(frozen=True)
class Contents:
    """Runs, benchmarks, languages and questions of a file, before its rows are checked."""

    #: (run, benchmark)
    pairs: set[tuple[str, str]]
    languages: set[str]
    #: question ids by benchmark
    questions: dict[str, set[str]]
    rows: int


def contents(path: str | Path, cultures: Sequence[str] | None = None) -> Contents:
    """The contents of a file, from its key columns.

    With `cultures`, only rows with one of these labels count. Raises `InputError` for a file that
    is missing, unreadable or of another schema.
    """
    table = _table(path, ["run", "benchmark", "language", "question_id", "culture"])
    if cultures is not None:
        table = table.filter(pc.is_in(table["culture"].cast(pa.string()), pa.array(cultures)))
    frame = _encoded(table).unify_dictionaries().combine_chunks().to_pandas()
    pairs = frame[["run", "benchmark"]].drop_duplicates().dropna()
    questions: dict[str, set[str]] = {}
    ids = frame[["benchmark", "question_id"]].drop_duplicates().dropna()
    for benchmark, rows in ids.groupby("benchmark", observed=True):
        questions[str(benchmark)] = set(rows["question_id"])
    languages = set(map(str, frame["language"].dropna().unique()))
    return Contents(set(pairs.itertuples(index=False, name=None)), languages, questions, len(frame))


def _table(path: str | Path, columns: list[str] | None = None) -> pa.Table:
    if not (schema := parquet.schema(path)).equals(SCHEMA):
        types = {f.name: str(f.type) for f in schema}
        expected = {f.name: str(f.type) for f in SCHEMA}
        unequal = sorted(n for n in types.keys() | expected if types.get(n) != expected.get(n))
        raise InputError(f"{path}: not a records file; columns {unequal} differ from the schema")
    return parquet.read(path, columns)


def check(frame: pd.DataFrame, path: str | Path) -> None:
    """Raise `InputError` naming the first row that breaks a rule.

    The rules: keys are complete and unique, lists are as long as `n_options`, `gold` is below
    `n_options`, numbers are finite, log-likelihoods are at most 0, probabilities are in [0, 1].
    """
    for field in SCHEMA:
        if not field.nullable:
            _first(frame[field.name].isna().to_numpy(), path, field.name, "a value")
    _check_unique(frame, path)
    _check_options(frame, path)
    for name, low, high, expected in (
        ("logsumexp", -np.inf, np.inf, "a finite number"),
        ("msp", 0.0, 1.0, "a probability in [0, 1]"),
        ("max_logit", -np.inf, np.inf, "a finite number"),
    ):
        values = frame[name].to_numpy(float, na_value=np.nan)
        bad = np.isinf(values) | (values < low) | (values > high)  # NaN is null
        _first(bad, path, name, expected)


def _check_unique(frame: pd.DataFrame, path: str | Path) -> None:
    twice = frame.duplicated(KEY)
    if twice.any():
        key = frame.loc[twice, KEY].iloc[0].to_dict()
        raise InputError(f"{path}: two rows for {key}, expected one")


def _check_options(frame: pd.DataFrame, path: str | Path) -> None:
    known = frame["n_options"].notna().to_numpy()
    count = frame["n_options"].fillna(0).to_numpy(int)
    gold = frame["gold"].fillna(-1).to_numpy(int)
    _first(known & ((count < 2) | (count > MAX_OPTIONS)), path, "n_options", "2 to 10")
    _first(known & ((gold < 0) | (gold >= count)), path, "gold", "an index below n_options")
    for name in PER_OPTION:
        filled = np.flatnonzero(frame[name].notna())
        if not len(filled):
            continue
        values, lengths = flat(frame[name].iloc[filled])
        wrong = np.isin(np.arange(len(frame)), filled[lengths != count[filled]])
        _first(wrong, path, name, "one value per option")
        values = values.astype(float)
        bad = ~np.isfinite(values)
        if name in ("text_logliks", "text_logliks_alone"):
            bad |= values > 0
        if name in ("text_tokens", "text_bytes"):
            bad |= values < 1
        rows = np.repeat(filled, lengths)
        _first(np.isin(np.arange(len(frame)), rows[bad]), path, name, "finite values in range")


def _first(bad: np.ndarray, path: str | Path, column: str, expected: str) -> None:
    if bad.any():
        raise InputError(
            f"{path}: row {int(np.flatnonzero(bad)[0])}: {column}: expected {expected}"
        )
