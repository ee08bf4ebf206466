"""From questions to parts that are scored together: prompts, headings, few-shot examples.

Few-shot examples are earlier turns of the conversation in the model's chat format: our own design.
They have the language of the question. Their answers have the form that the question asks for: a
letter after the multiple-choice text, the text of an option after the cloze text. The two texts of
a question therefore share few tokens, and are scored in different parts. Questions with the same
examples are in one part, which runs the examples once. No examples come before the unconditional
text, which stands for no question.
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

#: The texts of a prompt
Kind = Literal["multiple_choice", "cloze", "unconditional"]
#: Columns of records that scorers fill; no scorer fills all of them
SCORE_COLUMNS = """
    letter_logits letter_bounds logsumexp prompt_tokens
    text_logliks text_tokens text_bytes text_logliks_alone
""".split()
#: Largest number of questions in a part, whose tokens, examples included, are all in memory
LARGEST_PART = 1000


def choose_questions(frame: pd.DataFrame, job: Questions, path: str | Path) -> pd.DataFrame:
    """The questions that a job asks. A limit chooses the same question ids in each language."""
    if job.languages is not None:
        if missing := sorted(set(job.languages) - set(frame["language"])):
            raise InputError(f"{path}: no questions in {missing}")
        frame = frame[frame["language"].isin(job.languages)]
    if job.questions_per_language is not None:
        frame = frame.loc[by_hash(frame["question_id"])]
        frame = frame.groupby("language", sort=False).head(job.questions_per_language)
    return frame.reset_index(drop=True)


#: By the name of the prompt, the values of the score columns of each question
Results = Mapping[str, list[dict[str, Any]]]


def empty_results(job: Questions, chosen: pd.DataFrame) -> Results:
    """Empty results of the chosen questions, for a scorer to fill in."""
    return {prompt.name: [{} for _ in range(len(chosen))] for prompt in job.prompts}


def records_of(chosen: pd.DataFrame, results: Results, **shared: Any) -> pd.DataFrame:
    """Records of the chosen questions and their results, with `shared` values in all records."""
    rows = pd.concat([chosen] * len(results), ignore_index=True)
    all_values = [values for of_prompt in results.values() for values in of_prompt]
    columns = {
        "prompt": np.repeat(list(results), len(chosen)),
        "language": rows["language"],
        "question_id": rows["question_id"],
        "subject": rows["subject"],
        "culture": rows["culture"],
        "n_options": rows["options"].map(len),
        "gold": rows["answer"],
        **{name: [values.get(name) for values in all_values] for name in SCORE_COLUMNS},
    }
    return pd.DataFrame({**shared, **columns}, index=rows.index)


@dataclass(frozen=True)
class Part:
    """Questions of one language that are scored together.

    Attributes:
        prompt: the prompt of all questions.
        language: BCP 47 tag.
        multiple_choice, cloze, unconditional: whether to use these texts of the prompt.
        rows: the questions, rows of `multical.data.questions` with the index of the benchmark.
        examples: answered questions that come before each question.
    """

    prompt: JobPrompt
    language: str
    multiple_choice: bool
    cloze: bool
    rows: pd.DataFrame
    examples: Sequence[Any] = ()
    unconditional: bool = False


def parts(
    chosen: pd.DataFrame,
    job: Questions,
    fewshot: FewShot | None,
    multiple_choice_languages: Collection[str] | None = None,
) -> Iterator[Part]:
    """Split questions into parts with one language and one prompt each.

    The scores of a language therefore do not depend on the other languages of its job, and the
    scores of a prompt not on the other prompts. `multiple_choice_languages` are the languages in
    which to use the multiple-choice text, or None for all. Raises `InputError` if a prompt has no
    text for a language.
    """
    by_language = chosen.groupby("language", sort=True)
    for prompt, (tag, of_language) in product(job.prompts, by_language):
        language, cloze = str(tag), prompt.cloze is not None
        unconditional = prompt.unconditional is not None
        multiple_choice = multiple_choice_languages is None or language in multiple_choice_languages
        if not (multiple_choice or cloze):
            raise InputError(
                f"--params: multiple_choice_languages: found {multiple_choice_languages}, expected "
                f"{language} too, since the prompt {prompt.name} has no cloze text"
            )
        groups = [([], of_language)] if fewshot is None else fewshot.of(language, of_language)
        for examples, of_group in groups:
            starts = range(0, len(of_group), LARGEST_PART)
            pieces = [of_group.iloc[start : start + LARGEST_PART] for start in starts]
            if fewshot is None:
                texts = (multiple_choice, cloze)
                yield from (Part(prompt, language, *texts, r, (), unconditional) for r in pieces)
                continue
            # one text after the other, so that the examples of each text run once
            for texts in [(False, cloze), (multiple_choice, False)]:
                if any(texts):
                    yield from (Part(prompt, language, *texts, rows, examples) for rows in pieces)
            if unconditional:
                yield from (Part(prompt, language, False, False, r, (), True) for r in pieces)


class FewShot:
    """Few-shot examples.

    Args:
        frame: the examples, from `questions.read`.
        count: number of examples before each question.
        path: path of their file, for error messages.
    """

    def __init__(self, frame: pd.DataFrame, count: int, path: str) -> None:
        self.frame, self.count, self.path = frame, count, path

    def of(self, language: str, rows: pd.DataFrame) -> Iterator[tuple[list[Any], pd.DataFrame]]:
        """Yield examples, and the questions of a language that they come before.

        The examples are the first of the question's subject by question id. A subject without
        examples gets the first of the language by a hash of the id, so that their subjects vary.
        Raises `InputError` if there are too few examples, or if a question is also an example.
        """
        available = self.frame[self.frame["language"] == language]
        by_subject = {}
        for subject in sorted(set(available["subject"].dropna()) & set(rows["subject"].dropna())):
            of_subject = available[available["subject"] == subject].sort_values("question_id")
            by_subject[subject] = self._first(of_subject, f"{language}, subject {subject!r}")
        subjects = rows["subject"].map(lambda subject: subject if subject in by_subject else None)
        if subjects.isna().any():
            mixed = self._first(available.loc[by_hash(available["question_id"])], language)
            yield self._checked(mixed, rows[subjects.isna()])
        for subject, examples in by_subject.items():
            yield self._checked(examples, rows[subjects == subject])

    def _first(self, frame: pd.DataFrame, where: str) -> list[Any]:
        if len(frame) < self.count:
            raise InputError(
                f"{self.path}: found {len(frame)} examples in {where}, expected {self.count} "
                "(scoring.num_fewshot) at least"
            )
        return list(frame.head(self.count).itertuples())

    def _checked(self, examples: list[Any], rows: pd.DataFrame) -> tuple[list[Any], pd.DataFrame]:
        example_ids = {_content(example): example.question_id for example in examples}
        for row in rows.itertuples():
            if (example := example_ids.get(_content(row))) is not None:
                raise InputError(
                    f"{self.path}: example {example!r} in {row.language} equals question "
                    f"{row.question_id!r}, expected other examples"
                )
        return examples, rows


def read_fewshot(job: Questions, path: str | None) -> FewShot | None:
    """The examples of a job, or None if it uses none."""
    if not job.num_fewshot:
        return None
    if path is None:
        raise InputError(f"--fewshot: no file, expected {job.num_fewshot} examples per question")
    return FewShot(questions.read(path), job.num_fewshot, path)


def _content(row: Any) -> tuple[str, frozenset[str]]:
    return row.question.strip(), frozenset(row.options)


def by_hash(ids: pd.Series) -> pd.Index:
    """The index of question ids in the order of their hashes, unrelated to that of the ids."""
    digests = ids.map(lambda text: hashlib.sha256(text.encode()).hexdigest())
    return digests.sort_values(kind="stable").index


def conversation(part: Part, row: Any, kind: Kind) -> list[Message]:
    """The turns before the answer to a question, which begin with its examples."""
    messages: list[Message] = []
    for example in part.examples if kind != "unconditional" else ():
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
