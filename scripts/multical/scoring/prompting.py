"""Which questions are put to a model together, and how: prompts, headings, few-shot examples.

Few-shot examples are earlier turns of the conversation, in the model's own chat format: our
own design. They are of the question's language, and answered as it is to be: with a letter
after the multiple-choice text, with the option's text after the cloze one. So the two texts of a
question share little then, and are scored apart; questions with the same examples share those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from multical.data import questions
from multical.data.conversations import Message
from multical.errors import InputError
from multical.models.chat import LETTERS, fill
from multical.scoring.params import JobPrompt, Questions

#: Which text of a prompt
Kind = Literal["multiple_choice", "cloze"]
#: Columns of records that a scorer fills, each one those that it can
FOUND = """letter_logits letter_bounds logsumexp prompt_tokens text_logliks text_tokens""".split()
#: Questions of a part at most, since the tokens of all, examples included, are held at a time
MOST = 1000


def choose_questions(frame: pd.DataFrame, job: Questions, path: str | Path) -> pd.DataFrame:
    """The questions of some languages, the same few ids in each where there is a limit."""
    if job.languages is not None:
        if missing := sorted(set(job.languages) - set(frame["language"])):
            raise InputError(f"{path}: no questions in {missing}")
        frame = frame[frame["language"].isin(job.languages)]
    if job.questions_per_language is not None:
        frame = frame.loc[by_hash(frame["question_id"])]
        frame = frame.groupby("language", sort=False).head(job.questions_per_language)
    return frame.reset_index(drop=True)


#: What is found of each question, in their order, by the name of the prompt
Results = Mapping[str, list[dict[str, Any]]]


def empty_results(job: Questions, chosen: pd.DataFrame) -> Results:
    """Results of the chosen questions before a scorer fills them in."""
    return {prompt.name: [{} for _ in range(len(chosen))] for prompt in job.prompts}


def records_of(chosen: pd.DataFrame, results: Results, **shared: Any) -> pd.DataFrame:
    """Records of questions: what is known of each, what was found of it, and what all share."""
    rows = pd.concat([chosen] * len(results), ignore_index=True)
    every = [values for listed in results.values() for values in listed]
    columns = {
        "prompt": np.repeat(list(results), len(chosen)),
        "language": rows["language"],
        "question_id": rows["question_id"],
        "subject": rows["subject"],
        "culture": rows["culture"],
        "n_options": rows["options"].map(len),
        "gold": rows["answer"],
        **{name: [values.get(name) for values in every] for name in FOUND},
    }
    return pd.DataFrame({**shared, **columns}, index=rows.index)


@dataclass(frozen=True)
class Part:
    """Questions of one language that are scored together.

    Attributes:
        prompt: its texts.
        language: BCP 47 tag.
        multiple_choice, cloze: which texts of the prompt they are shown.
        rows: the questions, rows of `multical.data.questions`, their index that of the benchmark.
        examples: answered questions that stand before each.
    """

    prompt: JobPrompt
    language: str
    multiple_choice: bool
    cloze: bool
    rows: pd.DataFrame
    examples: Sequence[Any] = ()


def parts(
    chosen: pd.DataFrame,
    job: Questions,
    fewshot: FewShot | None,
    multiple_choice_languages: Collection[str] | None = None,
) -> Iterator[Part]:
    """Cut questions into parts, in which languages never meet.

    So the scores of a language do not depend on the others of its job, nor those of a prompt.
    The multiple-choice prompt is shown in some languages, or in all for None. Raises
    `InputError` for a language that a prompt has no text for.
    """
    listed = multiple_choice_languages
    by_language = chosen.groupby("language", sort=True)
    for prompt, (tag, of_language) in product(job.prompts, by_language):
        language, cloze = str(tag), prompt.cloze is not None
        multiple_choice = listed is None or language in listed
        if not (multiple_choice or cloze):
            raise InputError(
                f"--params: multiple_choice_languages: found {listed}, expected {language} too, "
                f"since the prompt {prompt.name} has no cloze text"
            )
        groups = [([], of_language)] if fewshot is None else fewshot.of(language, of_language)
        for examples, of_group in groups:
            starts = range(0, len(of_group), MOST)
            pieces = [of_group.iloc[start : start + MOST] for start in starts]
            if fewshot is None:
                yield from (Part(prompt, language, multiple_choice, cloze, rows) for rows in pieces)
                continue
            # one text after the other, so that the examples of each are run once
            for texts in [(False, cloze), (multiple_choice, False)]:
                if any(texts):
                    yield from (Part(prompt, language, *texts, rows, examples) for rows in pieces)


class FewShot:
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
                "(scoring.num_fewshot) at least"
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


def read_fewshot(job: Questions, path: str | None) -> FewShot | None:
    """The examples, if there are to be any."""
    if not job.num_fewshot:
        return None
    if path is None:
        raise InputError(f"--fewshot: no file, expected {job.num_fewshot} examples a question")
    return FewShot(questions.read(path), job.num_fewshot, path)


def _content(row: Any) -> tuple[str, frozenset[str]]:
    return row.question.strip(), frozenset(row.options)


def by_hash(ids: pd.Series) -> pd.Index:
    """The index of question ids in an order that has nothing to do with their own."""
    digests = ids.map(lambda text: hashlib.sha256(text.encode()).hexdigest())
    return digests.sort_values(kind="stable").index


def conversation(part: Part, row: Any, kind: Kind) -> list[Message]:
    """A question as the turns before its answer, those of its examples first."""
    messages: list[Message] = []
    for example in part.examples:
        right = example.answer
        answer = LETTERS[right] if kind == "multiple_choice" else example.options[right]
        messages.append({"role": "user", "content": _ask(part.prompt, example, kind)})
        messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": _ask(part.prompt, row, kind)})
    return messages


def _ask(prompt: JobPrompt, row: Any, kind: Kind) -> str:
    headings = {}
    for name, texts in prompt.headings.items():
        if (text := texts.get(row.language, texts.get("default"))) is None:
            raise InputError(
                f"--params: prompts: {prompt.name}: headings.{name}: neither {row.language} "
                "nor default"
            )
        headings[name] = text
    return fill(str(getattr(prompt, kind)), row.question, row.options, headings)
