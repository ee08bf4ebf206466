"""Global-MMLU and MMLU-ProX from the hub, in the schema of multical.data.questions.

Each language is a config, named by its tag. We know the columns and values from different sources
([T] the card of the data set, [S] code and texts of others, [I] inferred):

- Global-MMLU and its Lite version: `sample_id`, the same in all languages, `subject`, `question`,
  `option_a` to `option_d`, `answer` (a letter) and `cultural_sensitivity_label` [T], which is CS,
  CA, or - if nobody annotated the question [S]. We do not use the ten other columns.
- MMLU-ProX and its Lite version: `question`, `option_0` to `option_9`, null after the last option,
  `answer` (a letter) and `category` [S]; `question_id` or, in some commits, only `question_id_src`
  [S]; `answer_index`, which must agree with the letter if it is present [I].

A row is odd, and makes no valid question, if its question or an option is empty, if two options are
equal (as in some rows of MMLU), or if its letter and `answer_index` disagree (question 3787 of
MMLU-ProX at 8e6106a, in every language that we looked at). Depending on the config, an odd row is
an error, or it is left out and counted. Any other deviation is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd

from multical.data import hub_datasets
from multical.data.odd_rows import OddRowError, OddRows
from multical.data.questions import bare, counted
from multical.errors import InputError

LETTERS = "ABCDEFGHIJ"
Row = dict[str, Any]
#: By the label of cultural sensitivity, the value of the column `culture`
CULTURE = {"CS": "CS", "CA": "CA", "-": None, "": None, None: None}


def benchmark(
    kind: str,
    repo: str,
    revision: str | None,
    split: str,
    languages: list[str] | None,
    odd_rows: str,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Questions, a report on their number, and the SHA-256 of their files.

    `kind` is a key of `READERS`. If `languages` is None, all configs are read. `odd_rows` is
    `error` or `leave_out`. The report has a row per (language, kind of question) with the number of
    `questions`, and of rows `left_out`.
    """
    rows: list[Row] = []
    odd = OddRows(odd_rows)
    files: dict[str, str] = {}
    for language in hub_datasets.configs(repo, revision) if languages is None else languages:
        part = hub_datasets.split(repo, revision, language, split)
        files |= part.files
        seen: dict[str, str] = {}
        group = partial(_group, language)
        for place, question in rows_of(part, COLUMNS[kind], READERS[kind], odd, group):
            if question is not None:
                check_new(seen, question["question_id"], place)
                rows.append({"language": language, **question})
    odd.check()
    if not rows:
        raise InputError(f"{repo} {split}: found no questions, expected at least one")
    count = Counter((row["language"], row["subject"]) for row in rows)
    return pd.DataFrame(rows), counted(count, odd.by_group), files


def _group(language: str, row: Row) -> tuple[str, str | None]:
    return language, row.get("subject") or row.get("category")


def rows_of(
    part: hub_datasets.Split,
    columns: Sequence[str],
    read: Callable[[Row, str], Row],
    odd: OddRows,
    group: Callable[[Row], Any],
) -> Iterator[tuple[str, Row | None]]:
    """Yield the place and the question of each row; None for an odd one, which `odd` notes.

    `group` tells what a row belongs to, for the counts of odd rows.
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


def global_mmlu(row: Row, place: str) -> Row:
    """A row of Global-MMLU as a question."""
    options = [row[f"option_{letter}"] for letter in "abcd"]
    label = row["cultural_sensitivity_label"]
    if label not in CULTURE:
        raise InputError(
            f"{place}: cultural_sensitivity_label: found {label!r}, expected CS, CA or -"
        )
    return {
        "question_id": id_of(row, "sample_id", place),
        "subject": row["subject"],
        "culture": CULTURE[label],
        **_question(row, [f"option_{letter}" for letter in "abcd"], options, place),
    }


def mmlu_prox(row: Row, place: str) -> Row:
    """A row of MMLU-ProX as a question."""
    names = [f"option_{number}" for number in range(10)]
    options = [row[name] for name in names]
    while options and options[-1] is None:
        options.pop()
    question = _question(row, names, options, place)
    index = row.get("answer_index")
    if index is not None and str(index) != str(question["answer"]):
        raise OddRowError(
            "answers that contradict each other",
            f"answer_index: found {index!r}, which contradicts answer {row['answer']!r}",
        )
    name = "question_id" if "question_id" in row else "question_id_src"
    return {"question_id": id_of(row, name, place), "subject": row["category"], **question}


def _question(row: Row, names: list[str], options: list[Any], place: str) -> Row:
    """The question, its options and the index of the right option. Raises `OddRowError`."""
    answer = row["answer"]
    question = texts(row["question"], names, options, place)
    if not isinstance(answer, str) or len(answer) != 1 or answer not in LETTERS[: len(options)]:
        raise InputError(
            f"{place}: answer: found {answer!r}, expected a letter from A to "
            f"{LETTERS[len(options) - 1]}"
        )
    return {**question, "answer": LETTERS.index(answer)}


def texts(question: Any, names: Sequence[str], options: Sequence[Any], place: str) -> Row:
    """The question and its options, which are in the columns `names`. Raises `OddRowError`."""
    if len(options) < 2:
        message = f"{names[len(options)]}: found nothing, which leaves under 2 options"
        raise OddRowError("too few options", message)
    for name, value in [("question", question), *zip(names, options, strict=False)]:
        if value is not None and not isinstance(value, str):
            raise InputError(f"{place}: {name}: found {value!r}, expected a text")
        if not (value or "").strip():
            raise OddRowError("an empty text", f"{name}: found {value!r}, which is empty")
    seen = [*map(bare, options)]
    if equal := [name for name, text in zip(names, seen, strict=False) if seen.count(text) > 1]:
        raise OddRowError("two options alike", f"{' and '.join(equal)}: found two alike")
    return {"question": question, "options": list(options)}


def id_of(row: Row, name: str, place: str) -> str:
    """The id of a row, from its column `name`."""
    if isinstance(row.get(name), bool) or not isinstance(row.get(name), int | str):
        raise InputError(f"{place}: {name}: found {row.get(name)!r}, expected a name or number")
    return str(row[name])


READERS: dict[str, Callable[[Row, str], Row]] = {
    "global_mmlu": global_mmlu,
    "mmlu_prox": mmlu_prox,
}
COLUMNS = {
    "global_mmlu": [
        *("sample_id", "subject", "question", "option_a", "option_b", "option_c", "option_d"),
        *("answer", "cultural_sensitivity_label"),
    ],
    "mmlu_prox": ["question", *(f"option_{i}" for i in range(10)), "answer", "category"],
}
