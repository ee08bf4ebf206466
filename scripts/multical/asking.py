"""Which questions are put to a model together, and how: prompts, headings, few-shot examples.

Few-shot examples are earlier turns of the conversation, in the model's own chat format: our
own design. They are of the question's language, and answered as it is to be: with a letter
after the lettered prompt, with the option's text after the plain one. So the two prompts of a
question share little then, and are scored apart; questions with the same examples share those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from multical import questions
from multical.conversations import Message
from multical.errors import InputError
from multical.prompts import LETTERS, fill

Settings = dict[str, Any]
#: Columns of records that a scorer fills, each one those that it can
FOUND = """letter_logits letter_bounds logsumexp prompt_tokens text_logliks text_tokens""".split()
#: Questions of a part at most, since the tokens of all, examples included, are held at a time
MOST = 1000


def choose(frame: pd.DataFrame, settings: Settings, path: str) -> pd.DataFrame:
    """The questions of some languages, the same few ids in each where there is a limit."""
    languages = settings["languages"]
    if languages is not None:
        if missing := sorted(set(languages) - set(frame["language"])):
            raise InputError(f"{path}: no questions in {missing}")
        frame = frame[frame["language"].isin(languages)]
    if (limit := settings["questions_per_language"]) is not None:
        frame = frame.loc[by_hash(frame["question_id"])]
        frame = frame.groupby("language", sort=False).head(limit)
    return frame.reset_index(drop=True)


def answered(asked: pd.DataFrame, found: list[dict[str, Any]], **shared: Any) -> pd.DataFrame:
    """Records of questions: what is known of each, what was found of it, and what all share."""
    columns = {
        "language": asked["language"],
        "question_id": asked["question_id"],
        "subject": asked["subject"],
        "culture": asked["culture"],
        "n_options": asked["options"].map(len),
        "gold": asked["answer"],
        **{name: [values.get(name) for values in found] for name in FOUND},
    }
    return pd.DataFrame({**shared, **columns}, index=asked.index)


@dataclass(frozen=True)
class Part:
    """Questions of one language that are scored together.

    Attributes:
        language: BCP 47 tag.
        lettered, plain: which prompts they are shown.
        rows: the questions, rows of `multical.questions`, their index that of the benchmark.
        examples: answered questions that stand before each.
    """

    language: str
    lettered: bool
    plain: bool
    rows: pd.DataFrame
    examples: Sequence[Any] = ()


def parts(asked: pd.DataFrame, settings: Settings, shots: Shots | None) -> Iterator[Part]:
    """Cut questions into parts, in which languages never meet.

    So the scores of a language do not depend on the others of its job.
    """
    listed = settings["lettered_languages"]
    for tag, of_language in asked.groupby("language", sort=True):
        language = str(tag)
        lettered = listed is None or language in listed
        groups = [([], of_language)] if shots is None else shots.of(language, of_language)
        for examples, of_group in groups:
            starts = range(0, len(of_group), MOST)
            pieces = [of_group.iloc[start : start + MOST] for start in starts]
            if shots is None:
                yield from (Part(language, lettered, True, rows) for rows in pieces)
                continue
            # one prompt after the other, so that the examples of each are run once
            yield from (Part(language, False, True, rows, examples) for rows in pieces)
            if lettered:
                yield from (Part(language, True, False, rows, examples) for rows in pieces)


class Shots:
    """Few-shot examples.

    Args:
        frame: examples, as `questions.read` gives them.
        count: examples before each question.
        path: of their file, for messages.
    """

    def __init__(self, frame: pd.DataFrame, count: int, path: str) -> None:
        self.frame, self.count, self.path = frame, count, path

    def of(self, language: str, rows: pd.DataFrame) -> Iterator[tuple[list[Any], pd.DataFrame]]:
        """Questions of a language by their examples.

        The first of their subject by question id, or, of a subject without any, the first of
        the language by a hash of the id, so that subjects mix. Raises `InputError` where
        there are too few, or where a question is among its own examples.
        """
        known = self.frame[self.frame["language"] == language]
        by_subject = {}
        for subject in sorted(set(known["subject"].dropna()) & set(rows["subject"].dropna())):
            of_subject = known[known["subject"] == subject].sort_values("question_id")
            by_subject[subject] = self._first(of_subject, f"{language}, subject {subject!r}")
        found = rows["subject"].map(lambda subject: subject if subject in by_subject else None)
        if found.isna().any():
            mixed = self._first(known.loc[by_hash(known["question_id"])], language)
            yield from self._apart(mixed, rows[found.isna()])
        for subject, examples in by_subject.items():
            yield from self._apart(examples, rows[found == subject])

    def _first(self, frame: pd.DataFrame, where: str) -> list[Any]:
        if len(frame) < self.count:
            raise InputError(
                f"{self.path}: found {len(frame)} examples in {where}, expected {self.count} "
                "(scoring.shots) at least"
            )
        return list(frame.head(self.count).itertuples())

    def _apart(
        self, examples: list[Any], rows: pd.DataFrame
    ) -> Iterator[tuple[list[Any], pd.DataFrame]]:
        shown = {_content(one): one.question_id for one in examples}
        for row in rows.itertuples():
            if (example := shown.get(_content(row))) is not None:
                raise InputError(
                    f"{self.path}: example {example!r} in {row.language} is also asked, as "
                    f"question {row.question_id!r}, expected others"
                )
        yield examples, rows


def few_shot(settings: Settings, path: str | None) -> Shots | None:
    """The examples, if there are to be any."""
    if not (count := settings.get("shots", 0)):
        return None
    if path is None:
        raise InputError(f"--shots: no file, expected {count} examples a question")
    return Shots(questions.read(path), count, path)


def _content(row: Any) -> tuple[str, frozenset[str]]:
    return row.question.strip(), frozenset(row.options)


def by_hash(ids: pd.Series) -> pd.Index:
    """The index of question ids in an order that has nothing to do with their own."""
    digests = ids.map(lambda text: hashlib.sha256(text.encode()).hexdigest())
    return digests.sort_values(kind="stable").index


def conversation(prompt: Settings, part: Part, row: Any, kind: str) -> list[Message]:
    """A question as the turns before its answer, those of its examples first.

    `kind` is lettered or plain, a key of `prompt`, which may have headings too.
    """
    messages: list[Message] = []
    for one in part.examples:
        answer = LETTERS[one.answer] if kind == "lettered" else one.options[one.answer]
        messages.append({"role": "user", "content": _ask(prompt, one, kind)})
        messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": _ask(prompt, row, kind)})
    return messages


def _ask(prompt: Settings, row: Any, kind: str) -> str:
    headings = {}
    for name, texts in prompt.get("headings", {}).items():
        if (text := texts.get(row.language, texts.get("default"))) is None:
            raise InputError(
                f"--params: prompt.headings.{name}: neither {row.language} nor default"
            )
        headings[name] = text
    return fill(prompt[kind], row.question, row.options, headings)
