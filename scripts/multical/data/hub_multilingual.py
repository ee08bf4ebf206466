"""Benchmarks of the hub, Global-MMLU and MMLU-ProX, in the schema of multical.data.questions.

One config a language, whose name is its tag. Columns and values, and how sure each is
([T] the data set's own card, [S] others' code and text, [I] inferred):

- Global-MMLU, and its Lite: `sample_id`, the same in all languages, `subject`, `question`,
  `option_a` to `option_d`, `answer` (a letter) and `cultural_sensitivity_label` [T], which is
  CS, CA, or - where nobody annotated the question [S]. Ten more columns are not used.
- MMLU-ProX, and its Lite: `question`, `option_0` to `option_9`, null from the last option
  on, `answer` (a letter) and `category` [S]; `question_id` or, in some commits,
  `question_id_src` alone [S]; `answer_index`, compared with the letter where it is there [I].

A row is odd if its question or an option is empty, if two options are alike (some of MMLU's
are), or if its letter and `answer_index` contradict each other (question 3787 of MMLU-ProX at
8e6106a, in every language that we looked at): it cannot be asked. It is an error, or left
out and counted, as the config says.
All else that is not as above is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from multical.data import hub_datasets
from multical.data.hub_datasets import OddRowError
from multical.errors import InputError

LETTERS = "ABCDEFGHIJ"
Row = dict[str, Any]
#: What a label of cultural sensitivity becomes
CULTURE = {"CS": "CS", "CA": "CA", "-": None, "": None, None: None}


def benchmark(
    kind: str,
    repo: str,
    revision: str | None,
    split: str,
    languages: list[str] | None,
    odd_rows: str,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Questions, a report of their number, and the SHA-256 of the files they are from.

    `kind` is one of `READERS`; `languages` null takes all configs; `odd_rows` is `error`
    or `leave_out`. The report has a row per (language, kind of question): `questions`, and
    how many rows are `left_out`.
    """
    rows: list[Row] = []
    left_out: Counter[tuple[str, str | None]] = Counter()
    files: dict[str, str] = {}
    for language in hub_datasets.configs(repo, revision) if languages is None else languages:
        part = hub_datasets.split(repo, revision, language, split)
        files |= part.files
        seen: dict[str, str] = {}
        for place, row, made in rows_of(part, COLUMNS[kind], READERS[kind], odd_rows):
            if made is None:
                left_out[language, row.get("subject") or row.get("category")] += 1
                continue
            once(seen, made["question_id"], place)
            rows.append({"language": language, **made})
    if not rows:
        raise InputError(f"{repo} {split}: found no questions, expected at least one")
    count = Counter((row["language"], row["subject"]) for row in rows)
    report = [
        {"language": key[0], "kind": key[1], "questions": count[key], "left_out": left_out[key]}
        for key in sorted({*count, *left_out}, key=str)
    ]
    return pd.DataFrame(rows), pd.DataFrame(report), files


def rows_of(
    part: hub_datasets.Split, columns: Sequence[str], read: Callable[[Row, str], Row], odd_rows: str
) -> Iterator[tuple[str, Row, Row | None]]:
    """Place, row and question of each row of a split; no question of an odd one left out."""
    part.needs(columns)
    for number, row in enumerate(part.rows.to_list()):
        place = f"{part.place}: row {number}"
        try:
            yield place, row, read(row, place)
        except OddRowError as odd:
            if odd_rows == "error":
                remedy = "expected none, or odd_rows: leave_out"
                raise InputError(f"{place}: {odd}, {remedy}") from odd
            yield place, row, None


def once(seen: dict[str, str], name: str, place: str) -> None:
    """Note the place of an id; raises `InputError` if it was seen before."""
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
        "question_id": own_id(row, "sample_id", place),
        "subject": row["subject"],
        "culture": CULTURE[label],
        **_asked(row, [f"option_{letter}" for letter in "abcd"], options, place),
    }


def mmlu_prox(row: Row, place: str) -> Row:
    """A row of MMLU-ProX as a question."""
    names = [f"option_{number}" for number in range(10)]
    options = [row[name] for name in names]
    while options and options[-1] is None:
        options.pop()
    made = _asked(row, names, options, place)
    index = row.get("answer_index")
    if index is not None and index != made["answer"]:
        raise OddRowError(
            f"answer_index: found {index!r}, which contradicts answer {row['answer']!r}"
        )
    name = "question_id" if "question_id" in row else "question_id_src"
    return {"question_id": own_id(row, name, place), "subject": row["category"], **made}


def _asked(row: Row, names: list[str], options: list[Any], place: str) -> Row:
    """The question, its options and the index of the right one; `OddRowError` if it is odd."""
    answer = row["answer"]
    found = texts(row["question"], names, options, place)
    if not isinstance(answer, str) or len(answer) != 1 or answer not in LETTERS[: len(options)]:
        raise InputError(
            f"{place}: answer: found {answer!r}, expected a letter from A to "
            f"{LETTERS[len(options) - 1]}"
        )
    return {**found, "answer": LETTERS.index(answer)}


def texts(question: Any, names: Sequence[str], options: Sequence[Any], place: str) -> Row:
    """The question and its options, which `names` names; `OddRowError` if they are odd."""
    if len(options) < 2:
        raise OddRowError(f"{names[len(options)]}: found nothing, which leaves under 2 options")
    for name, value in [("question", question), *zip(names, options, strict=False)]:
        if value is not None and not isinstance(value, str):
            raise InputError(f"{place}: {name}: found {value!r}, expected a text")
        if not (value or "").strip():
            raise OddRowError(f"{name}: found {value!r}, which is empty")
    bare = [option.strip() for option in options]
    if twice := [name for name, text in zip(names, bare, strict=False) if bare.count(text) > 1]:
        raise OddRowError(f"{' and '.join(twice)}: found two alike")
    return {"question": question, "options": list(options)}


def own_id(row: Row, name: str, place: str) -> str:
    """The id that a row has of its own."""
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
