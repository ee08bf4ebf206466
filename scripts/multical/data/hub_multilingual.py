"""Multiple-choice data sets of the hub in many languages, in the schema of multical.data.questions.

The config says what the columns of a data set mean (`Columns` of multical.data.benchmark_params),
so that a data set needs an entry in the config, and no code.

A row is odd, and makes no valid question, if its passage, its question or an option is empty, if
two options are equal (as in some rows of MMLU), if no column names its right option, or if the
columns that name it disagree (question 3787 of MMLU-ProX at 8e6106a, in every language that we
looked at). Depending on the config, an odd row is an error, or it is left out and counted. Any
other deviation is an error: it is more likely to be a wrong entry than a wrong row.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from multical.data import hub_datasets
from multical.data.benchmark_params import AnswerForm, Columns, CultureColumn, HubBenchmark
from multical.data.odd_rows import OddRowError, OddRows, shown
from multical.data.questions import MAX_OPTIONS, bare, counted
from multical.errors import InputError

LETTERS = "ABCDEFGHIJ"
Row = dict[str, Any]


def benchmark(
    source: HubBenchmark, split: str
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Questions of a split, a report on their number, and the SHA-256 of their files.

    The report has a row per (language, kind of question) with the number of `questions`, and of
    rows `left_out`. Raises `InputError` for a data set that differs from its entry in the config.
    """
    rows: list[Row] = []
    odd = OddRows(source.odd_rows)
    files: dict[str, str] = {}
    for part, codes in _parts(source, split):
        files |= part.files
        rows += _questions(part, codes, source.columns, split, odd)
    odd.check()
    found = {row["language"] for row in rows}
    if missing := [name for name, code in source.codes.items() if code not in found]:
        sentence = f"found no questions of languages {missing}, expected some of each"
        raise InputError(f"{source.repo} {split}: {sentence}")
    count = Counter((row["language"], row.get("subject")) for row in rows)
    return pd.DataFrame(rows), counted(count, odd.by_group), files


def _parts(
    source: HubBenchmark, split: str
) -> Iterator[tuple[hub_datasets.Split, Mapping[str, str]]]:
    """The parts of the data set to read, with the codes of the languages by their names there."""
    if source.columns.language is not None:
        yield hub_datasets.split(source.repo, source.revision, source.config, split), source.codes
        return
    for name, code in source.codes.items():
        yield hub_datasets.split(source.repo, source.revision, name, split), {name: code}


def _questions(
    part: hub_datasets.Split,
    codes: Mapping[str, str],
    columns: Columns,
    split: str,
    odd: OddRows,
) -> Iterator[Row]:
    """The questions of a part, whose ids are checked; `odd` notes its odd rows."""

    only = next(iter(codes.values()))

    def language(row: Row) -> str | None:
        """The code of a row's language; None if nobody asked for it."""
        return codes.get(str(row[columns.language])) if columns.language else only

    def read(row: Row, place: str) -> Row | None:
        code = language(row)
        return {"language": code, **question_of(row, columns, place)} if code else None

    def group(row: Row) -> tuple[Any, Any]:
        return language(row), row[columns.subject] if columns.subject else None

    seen: dict[str, dict[str, str]] = defaultdict(dict)
    questions = rows_of(part, _names(columns), read, odd, group)
    for number, (place, question) in enumerate(questions):
        if question is not None:
            code = question["language"]
            # such an id names no question of another language, and no few-shot example
            question.setdefault("question_id", f"{split}.{code}.{number:06d}")
            check_new(seen[code], question["question_id"], place)
            yield question


def _names(columns: Columns) -> list[str]:
    """The columns that a data set must have."""
    others = [columns.language, columns.subject, columns.passage, columns.question]
    culture = columns.culture.column if columns.culture else None
    names = [*columns.id, *others, *columns.options, *columns.answer, culture]
    return list(dict.fromkeys(name for name in names if name is not None))


def question_of(row: Row, columns: Columns, place: str) -> Row:
    """A row as a question, without its language. Raises `OddRowError`."""
    options, names = _options(row, columns, place)
    question = texts(row[columns.question], names, options, place, columns.question)
    if len(options) > MAX_OPTIONS:
        message = f"{columns.options[0]}: found {len(options)}, expected at most {MAX_OPTIONS}"
        raise OddRowError("too many options", message)
    question["answer"] = _answer(row, columns.answer, options, place)
    if columns.passage:
        passage = row[columns.passage]
        check_text(columns.passage, passage, place)
        question["question"] = f"{passage}\n\n{question['question']}"
    if columns.id:
        question["question_id"] = "#".join(id_of(row, name, place) for name in columns.id)
    if columns.subject:
        question["subject"] = row[columns.subject]
    if columns.culture:
        question["culture"] = _culture(row, columns.culture, place)
    return question


def _options(row: Row, columns: Columns, place: str) -> tuple[list[Any], list[str]]:
    """The options of a row, and what to call them; there may be one name more."""
    first, *others = columns.options
    if others:
        options = [row[name] for name in columns.options]
        while columns.fewer_options and options and options[-1] is None:
            options.pop()
        return options, columns.options
    if not isinstance(row[first], list):
        raise InputError(f"{place}: {first}: found {shown(row[first])}, expected a list")
    return row[first], [f"{first}[{i}]" for i in range(len(row[first]) + 1)]


def _answer(row: Row, forms: Mapping[str, AnswerForm], options: list[str], place: str) -> int:
    """The index of the right option, on which all columns agree. Raises `OddRowError`."""
    given = {name: row[name] for name in forms if row[name] not in (None, "")}
    if not given:
        raise OddRowError("no right option", f"{' and '.join(forms)}: found nothing")
    first, *others = given
    found = _index(given[first], forms[first], options)
    if found is None:
        last = len(options) - 1
        expected = {
            "letter": f"a letter from A to {LETTERS[last]}",
            "index": f"an index from 0 to {last}",
            "number": f"a number from 1 to {len(options)}",
            "text": "the text of an option",
        }[forms[first]]
        raise InputError(f"{place}: {first}: found {shown(given[first])}, expected {expected}")
    for name in others:
        if _index(given[name], forms[name], options) != found:
            raise OddRowError(
                "answers that contradict each other",
                f"{name}: found {given[name]!r}, which contradicts {first} {given[first]!r}",
            )
    return found


def _index(value: Any, form: AnswerForm, options: Sequence[str]) -> int | None:
    """The index of the option that a value names; None if it names none."""
    names: Sequence[str]
    match form:
        case "letter":
            names = LETTERS
        case "text":
            names, value = [*map(bare, options)], bare(str(value))
        case _:
            first = 0 if form == "index" else 1
            names = [str(first + i) for i in range(len(options))]
    value = None if isinstance(value, bool) else str(value)
    return next((i for i, name in enumerate(names[: len(options)]) if name == value), None)


def _culture(row: Row, culture: CultureColumn, place: str) -> str | None:
    """The value of the column `culture`."""
    label = row[culture.column]
    if label is None or label == "":
        return None
    if str(label) not in culture.values:
        raise InputError(
            f"{place}: {culture.column}: found {shown(label)}, expected one of {[*culture.values]}"
        )
    return culture.values[str(label)]


def rows_of(
    part: hub_datasets.Split,
    columns: Sequence[str],
    read: Callable[[Row, str], Row | None],
    odd: OddRows,
    group: Callable[[Row], Any],
) -> Iterator[tuple[str, Row | None]]:
    """Yield the place and the question of each row; None for an odd one, which `odd` notes.

    `read` may return None for a row that nobody asked for. `group` tells what a row belongs to, for
    the counts of odd rows.
    """
    part.needs(columns)
    for number, row in enumerate(part.rows.to_list()):
        place = f"row {number}"
        where = f"{part.place}: {place}"
        try:
            yield where, read(row, where)
        except OddRowError as error:
            odd.add(part.place, place, error, group(row))
            yield where, None


def check_new(seen: dict[str, str], name: str, place: str) -> None:
    """Add an id and its place to `seen`; raises `InputError` if the id is already there."""
    if (first := seen.setdefault(name, place)) != place:
        raise InputError(f"{place}: id {name!r} was already in {first}")


def texts(
    question: Any,
    names: Sequence[str],
    options: Sequence[Any],
    place: str,
    column: str = "question",
) -> Row:
    """The question and its options, which are in the columns `names`. Raises `OddRowError`."""
    if len(options) < 2:
        message = f"{names[len(options)]}: found nothing, which leaves under 2 options"
        raise OddRowError("too few options", message)
    for name, value in [(column, question), *zip(names, options, strict=False)]:
        check_text(name, value, place)
    seen = [*map(bare, options)]
    if equal := [name for name, text in zip(names, seen, strict=False) if seen.count(text) > 1]:
        raise OddRowError("two options alike", f"{' and '.join(equal)}: found two alike")
    return {"question": question, "options": list(options)}


def check_text(name: str, value: Any, place: str) -> None:
    """Check the value of a column of texts; raises `OddRowError` if it is empty."""
    if value is not None and not isinstance(value, str):
        raise InputError(f"{place}: {name}: found {value!r}, expected a text")
    if not (value or "").strip():
        raise OddRowError("an empty text", f"{name}: found {value!r}, which is empty")


def id_of(row: Row, name: str, place: str) -> str:
    """The id of a row, from its column `name`."""
    if isinstance(row.get(name), bool) or not isinstance(row.get(name), int | str):
        raise InputError(f"{place}: {name}: found {row.get(name)!r}, expected a name or number")
    return str(row[name])
