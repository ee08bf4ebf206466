"""The English benchmarks of paper 2 from the hub, in the schema of multical.data.questions.

Columns and values, from the cards of the data sets:

- ARC (`allenai/ai2_arc`, ARC-Challenge): `id`, `question`, `choices` with `text` and `label`
  (A to E or 1 to 5), and `answerKey`, one of these labels.
- HellaSwag (`Rowan/hellaswag`): `ctx`, four `endings`, and `label`, the index of the right ending
  as a text. We do not clean the texts: marks of WikiHow such as [header] stay.
- MMLU (`cais/mmlu`, all): `question`, `subject`, four `choices` and `answer`, an index.
- TruthfulQA (`truthfulqa/truthful_qa`, multiple_choice): `question` and `mc1_targets` with
  `choices` and `labels`, which are 1 for the right choice, always the first, and 0 for the others.
- WinoGrande (`allenai/winogrande`, winogrande_debiased): `sentence` with a `_`, which `option1`
  or `option2` fills, and `answer`, 1 or 2 as a text.

As in paper 2, the order is random with a seed. The method is our own design. Python's
`random.Random(SEED)` shuffles the rows of the splits with questions, in the order of `SOURCES`, and
we take the first `questions` valid rows. `random.Random("SEED:ID")` shuffles the options of each
question, so that their order does not depend on other questions. If there are more than ten options
(TruthfulQA has up to 13), we then keep the right one and the first nine others. ARC has ids. In the
other data sets, an id is the split and the row number.

Few-shot examples are never asked. They are the last rows of the shuffle or, for MMLU, the first
rows of each subject in the splits dev and validation. No example equals another question of the
data set.

As in `multical.data.hub_multilingual`, a row is odd if it has an empty text or two equal options. A
row without one of the answers above is an error.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from multical.data import hub_datasets
from multical.data.hub_multilingual import Row, check_new, id_of, rows_of, texts
from multical.data.odd_rows import OddRows
from multical.data.questions import MAX_OPTIONS
from multical.errors import InputError

LANGUAGE = "en"


@dataclass(frozen=True)
class Source:
    """Where the rows of a data set are, and how to read a row."""

    config: str | None
    splits: tuple[str, ...]  # with the questions
    columns: tuple[str, ...]
    read: Callable[[Row, str], Row]
    fewshot_splits: tuple[str, ...] = ()  # if empty, the examples end the shuffle


@dataclass
class Rows:
    """The rows of some splits in order, None for an odd row, and counts of odd rows by subject."""

    rows: list[Row | None] = field(default_factory=list)
    left_out: Counter[str | None] = field(default_factory=Counter)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> list[Row]:
        return [row for row in self.rows if row is not None]


def benchmark(
    kind: str,
    repo: str,
    revision: str | None,
    seed: int,
    questions: int | None,
    odd_rows: str,
    fewshot: int,
    examples: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Questions or few-shot examples, with the report and files of `hub_multilingual.benchmark`.

    `kind` is a key of `SOURCES`. `questions` is the number of questions, or None for all but the
    examples. `fewshot` is the number of examples, of each subject if there are subjects. In the
    report, `cut` is the number of questions with options left out.
    """
    source = SOURCES[kind]
    rows = _read(source, source.splits, repo, revision, odd_rows)
    random.Random(seed).shuffle(rows.rows)
    spare = Rows([*reversed(rows.good)])
    if source.fewshot_splits:
        spare = _read(source, source.fewshot_splits if examples else (), repo, revision, odd_rows)
    by_id = {row["question_id"]: row for row in [*rows.good, *spare.good]}
    held_out = _examples(spare.good, Counter(map(_content, by_id.values())), fewshot)
    if examples:
        _check_number(held_out, rows.good, fewshot, repo)
        chosen, left_out = held_out, spare.left_out
    else:
        ids = {row["question_id"] for row in held_out}
        chosen = [row for row in rows.good if row["question_id"] not in ids][:questions]
        left_out = rows.left_out
        if len(chosen) < (questions or 1):
            raise InputError(
                f"{repo}: found {len(chosen)} questions beside {len(held_out)} examples, expected "
                f"{questions or 'at least one'} (questions)"
            )
    frame = pd.DataFrame([{"language": LANGUAGE, **shuffled(row, seed)} for row in chosen])
    return frame, _report(chosen, left_out), rows.files | spare.files


def shuffled(row: Row, seed: int) -> Row:
    """A question with shuffled options, at most ten; their order depends on seed and id."""
    options, right = list(row["options"]), row["options"][row["answer"]]
    random.Random(f"{seed}:{row['question_id']}").shuffle(options)
    wrong = [option for option in options if option != right][: MAX_OPTIONS - 1]
    options = [option for option in options if option == right or option in wrong]
    return {**row, "options": options, "answer": options.index(right)}


def _read(
    source: Source, splits: Iterable[str], repo: str, revision: str | None, odd_rows: str
) -> Rows:
    rows, seen, odd = Rows(), dict[str, str](), OddRows(odd_rows)
    for split in splits:
        part = hub_datasets.split(repo, revision, source.config, split)
        rows.files |= part.files
        read = rows_of(part, source.columns, source.read, odd, lambda row: row.get("subject"))
        for number, (place, question) in enumerate(read):
            if question is not None:
                question = {"question_id": f"{split}.{number}", "subject": None, **question}
                check_new(seen, question["question_id"], place)
            rows.rows.append(question)
    odd.check()
    rows.left_out = odd.by_group
    return rows


def _content(row: Row) -> tuple[str, frozenset[str]]:
    return row["question"].strip(), frozenset(row["options"])


def _examples(rows: list[Row], occurrences: Counter[Any], fewshot: int) -> list[Row]:
    """The first rows of each subject whose content occurs only once."""
    count: Counter[str | None] = Counter()
    examples = []
    for row in rows:
        if occurrences[_content(row)] == 1 and count[row["subject"]] < fewshot:
            count[row["subject"]] += 1
            examples.append(row)
    return examples


def _check_number(examples: list[Row], questions: list[Row], fewshot: int, repo: str) -> None:
    count = Counter(row["subject"] for row in examples)
    for subject in sorted({row["subject"] for row in questions}, key=str):
        if count[subject] < fewshot:
            where = "" if subject is None else f" of subject {subject!r}"
            raise InputError(
                f"{repo}: found {count[subject]} examples{where}, expected {fewshot} (fewshot)"
            )


def _report(rows: list[Row], left_out: Counter[str | None]) -> pd.DataFrame:
    count = Counter(row["subject"] for row in rows)
    cut = Counter(row["subject"] for row in rows if len(row["options"]) > MAX_OPTIONS)
    return pd.DataFrame(
        {
            "language": LANGUAGE,
            "kind": subject,
            "questions": count[subject],
            "left_out": left_out[subject],
            "cut": cut[subject],
        }
        for subject in sorted({*count, *left_out}, key=str)
    )


def arc(row: Row, place: str) -> Row:
    """A row of ARC as a question."""
    choices = _lists(row, "choices", ("text", "label"), place)
    options, labels = choices["text"], choices["label"]
    if not (set(labels) <= set("ABCDE") or set(labels) <= set("12345")) or len(set(labels)) < len(
        labels
    ):
        raise InputError(
            f"{place}: choices.label: found {labels}, expected different ones, A to E or 1 to 5"
        )
    question = _question(row["question"], "choices.text", options, place)
    answer = _index(row, "answerKey", labels, place)
    return {"question_id": id_of(row, "id", place), **question, "answer": answer}


def hellaswag(row: Row, place: str) -> Row:
    """A row of HellaSwag as a question."""
    endings = _list(row["endings"], "endings", place)
    question = _question(row["ctx"], "endings", endings, place)
    labels = [str(number) for number in range(len(endings))]
    return {**question, "answer": _index(row, "label", labels, place)}


def mmlu(row: Row, place: str) -> Row:
    """A row of MMLU as a question."""
    choices = _list(row["choices"], "choices", place)
    question = _question(row["question"], "choices", choices, place)
    answer = _index(row, "answer", range(len(choices)), place)
    return {"subject": row["subject"], **question, "answer": answer}


def truthfulqa(row: Row, place: str) -> Row:
    """A row of TruthfulQA as a question with one right answer."""
    targets = _lists(row, "mc1_targets", ("choices", "labels"), place)
    labels = targets["labels"]
    if sorted(labels) != [0] * (len(labels) - 1) + [1]:
        raise InputError(f"{place}: mc1_targets.labels: found {labels}, expected one 1, and 0 else")
    question = _question(row["question"], "mc1_targets.choices", targets["choices"], place)
    return {**question, "answer": labels.index(1)}


def winogrande(row: Row, place: str) -> Row:
    """A row of WinoGrande as a question."""
    names = ("option1", "option2")
    question = texts(row["sentence"], names, [row[name] for name in names], place)
    return {**question, "answer": _index(row, "answer", ("1", "2"), place)}


def _question(question: Any, name: str, options: list[Any], place: str) -> Row:
    return texts(question, [f"{name}[{i}]" for i in range(len(options) + 1)], options, place)


def _index(row: Row, name: str, labels: Any, place: str) -> int:
    """The index of the right answer, from its label in a row."""
    if row[name] not in labels:
        raise InputError(f"{place}: {name}: found {row[name]!r}, expected one of {list(labels)}")
    return int(labels.index(row[name]))


def _lists(row: Row, name: str, keys: tuple[str, str], place: str) -> dict[str, list[Any]]:
    """The two lists of a column, each with one item per option."""
    value = row[name] if isinstance(row[name], dict) else {}
    lists = {key: _list(value.get(key), f"{name}.{key}", place) for key in keys}
    first, second = map(len, lists.values())
    if first != second:
        raise InputError(
            f"{place}: {name}: found {first} of {keys[0]} and {second} of {keys[1]}, "
            "expected equal numbers"
        )
    return lists


def _list(value: Any, name: str, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{place}: {name}: found {value!r}, expected a list")
    return value


SOURCES = {
    "arc": Source(
        "ARC-Challenge",
        ("train", "validation", "test"),
        ("id", "question", "choices", "answerKey"),
        arc,
    ),
    "hellaswag": Source(None, ("train",), ("ctx", "endings", "label"), hellaswag),
    "mmlu": Source(
        "all",
        ("test",),
        ("question", "subject", "choices", "answer"),
        mmlu,
        fewshot_splits=("dev", "validation"),
    ),
    "truthfulqa": Source(
        "multiple_choice", ("validation",), ("question", "mc1_targets"), truthfulqa
    ),
    "winogrande": Source(
        "winogrande_debiased",
        ("train", "validation"),
        ("sentence", "option1", "option2", "answer"),
        winogrande,
    ),
}
