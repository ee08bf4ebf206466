"""Score a run on a benchmark: one record per question, language and prompt.

A killed job resumes from its saved scores and ends with the same records. The name of the folder
of saved scores is --scratch followed by a hash of the model, the questions, the examples, the
precision and the kind of device. No other job may use the folder, or make the same records: the
program holds locks beside --scratch, and ends if another process holds them. It removes the folder
at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from multical import locks, records
from multical.data import questions
from multical.errors import program
from multical.fixity import Inputs
from multical.models import adapters, checkpoints, cpu_kernels, placement, quantized
from multical.models.chat import LETTERS, Chat, letter_ids
from multical.params import command_line
from multical.patches.malloc import keep_freed_memory
from multical.patches.primitives import keep_few_primitives
from multical.scoring.encoding import Encoder
from multical.scoring.params import ScoringJob
from multical.scoring.prompting import (
    Part,
    choose_questions,
    empty_results,
    parts,
    read_fewshot,
    records_of,
)
from multical.scoring.resume import SavedScores
from multical.scoring.scorer import Scorer, Scores
from multical.scoring.tokenized import TokenizedQuestion

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Columns with the same value in all records of a job
SHARED = ("run", "model", "sft", "smoothing", "seed", "benchmark")


def main() -> None:
    """Score part by part (see multical.scoring.prompting), then write the records."""
    started = time.monotonic()
    args = arguments()
    job: ScoringJob = args.params
    given = Inputs(filter(None, [args.model, args.questions, args.fewshot]))
    chosen = choose_questions(questions.read(args.questions), job, args.questions)
    fewshot = read_fewshot(job, args.fewshot)
    uncut_parts = list(parts(chosen, job, fewshot, job.multiple_choice_languages))
    torch.set_float32_matmul_precision(job.matmul_precision)
    model, tokenizer = load(checkpoints.verified(args.model), job, placement.over(args.gpus))
    placement.check(model, args.gpus)
    keep_freed_memory()
    keep_few_primitives()
    encoder = Encoder(Chat(tokenizer, job.chat_format, job.chat_date), job.option_order == "cyclic")
    n_letters = max(map(len, chosen["options"]))
    scorer = Scorer(model, letter_ids(tokenizer, LETTERS[:n_letters]), job.batch_tokens)
    check_longest(uncut_parts, encoder, scorer)
    title = f"{job.run} on {job.benchmark}"
    print(f"{title}: {len(chosen)} questions, {model.dtype}", file=sys.stderr)
    all_parts = [piece for part in uncut_parts for piece in fitting(part, encoder, scorer)]
    count = job.num_fewshot
    asked = [part for part in all_parts if part.multiple_choice or part.cloze]
    if short := sum(len(part.rows) for part in asked if len(part.examples) < count):
        print(f"{title}: fewer than {count} examples fit before {short} prompts", file=sys.stderr)
    given.check()
    # so that a job with other weights, questions or hardware does not resume from these scores
    ingredients = [*given.digests.values(), str(model.dtype), model.device.type, job.quantization]
    digest = hashlib.sha256(" ".join(ingredients).encode()).hexdigest()
    folder = args.scratch.with_name(f"{args.scratch.name}-{digest[:12]}")
    with locks.held(args.scratch, args.output):
        saved = SavedScores(folder, args.save_every, started)
        results = empty_results(job, chosen)
        total = sum(len(part.rows) for part in all_parts)
        bar = tqdm(desc=title, total=total, unit="question", mininterval=5)
        with bar, cpu_kernels.used_by(model):
            for number, part in enumerate(all_parts):
                for index, values in score(part, number, encoder, scorer, saved, bar):
                    results[part.prompt.name][index] |= values
        shared = {name: getattr(job, name) for name in SHARED}
        records.write(args.output, records_of(chosen, results, **shared))
        saved.clock.write(args.usage, args.gpus, quantization=job.quantization)
        saved.forget()


def arguments() -> argparse.Namespace:
    parser = command_line(
        __doc__,
        ScoringJob,
        model="manifest of the checkpoint",
        questions="questions of the benchmark, .parquet",
        output="output: the records, .parquet",
        usage="output: seconds and hardware, .json",
        scratch="folder to resume from",
    )
    parser.add_argument("--fewshot", nargs="?", metavar="FILE", help="few-shot examples, if any")
    parser.add_argument(
        "--save-every",
        type=float,
        default=60,
        metavar="S",
        help="seconds between saves (default: %(default)s)",
    )
    parser.add_argument(
        "--gpus",
        type=int,
        default=1,
        metavar="N",
        help="GPUs to spread the model over, if there are any (default: %(default)s)",
    )
    return parser.parse_args()


def load(
    checkpoint: Path, job: ScoringJob, place: placement.Options
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model, with the updates of its adapter if it was kept, and the tokenizer."""
    if job.quantization == "nf4":
        return quantized.load(checkpoint, job.dtype, adapters.load, place)
    return adapters.load(checkpoint, job.dtype, options=place)


def check_longest(uncut_parts: list[Part], encoder: Encoder, scorer: Scorer) -> None:
    """Raise `InputError` if the question of a part with the most characters is too long.

    This early check may miss a question with fewer characters and more tokens. Such a question
    fails when its part is scored.
    """
    for part in (replace(part, examples=()) for part in uncut_parts):
        lengths = part.rows["question"].str.len() + part.rows["options"].map("".join).str.len()
        (row,) = part.rows.loc[[lengths.idxmax()]].itertuples()
        for form in encoder.forms(part, row):
            scorer.check(form, f"{row.question_id} in {part.language}")


def fitting(part: Part, encoder: Encoder, scorer: Scorer) -> Iterator[Part]:
    """Split a part by the number of examples that the model has room for before a question.

    The last examples are left out first, so that a long question is asked as in a job with fewer
    examples: our own design.
    """
    if not part.examples:
        yield part
        return
    by_count = defaultdict(list)
    for row in part.rows.itertuples():
        count = len(part.examples)
        while count and longest(encoder.forms(first(part, count), row)) > scorer.positions:
            count -= 1
        by_count[count].append(row.Index)
    for count, indices in sorted(by_count.items(), reverse=True):
        yield replace(first(part, count), rows=part.rows.loc[indices])


def longest(forms: list[TokenizedQuestion]) -> int:
    return max(form.length for form in forms)


def first(part: Part, count: int) -> Part:
    """The part with the first `count` of its examples."""
    return replace(part, examples=part.examples[:count])


def score(
    part: Part, number: int, encoder: Encoder, scorer: Scorer, saved: SavedScores, bar: Any
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the index of each question of a part, and its values for the records."""
    tokenized, rows = [], list[Any](part.rows.itertuples())
    for row in rows:
        tokenized.append(encoder.forms(part, row))
        for form in tokenized[-1]:
            scorer.check(form, f"{row.question_id} in {part.language}")
    forms = [*chain.from_iterable(tokenized)]
    bar.total += len(forms) - len(tokenized)
    scores = iter(
        scorer.score(
            scorer.group(forms),
            lambda batch, run: saved.recall(f"{part.language}.{number}.{batch}", run),
            bar.update,
        )
    )
    for row, asked in zip(rows, tokenized, strict=True):
        yield row.Index, recorded(part, row, asked, [*islice(scores, len(asked))])


def recorded(
    part: Part, row: Any, asked: list[TokenizedQuestion], scores: list[Scores]
) -> dict[str, Any]:
    """The values for the records of a question, from its forms and their scores."""
    values: dict[str, Any] = {}
    if part.multiple_choice:
        asked_letters = [one for one in scores if one.letter_logits is not None]
        values["letter_logits"], values["logsumexp"] = letters(asked_letters)
        values["prompt_tokens"] = len(asked[0].multiple_choice or [])
    if part.cloze:
        values["text_logliks"] = scores[0].text_logliks
        values["text_tokens"] = asked[0].text_tokens()
        values["text_bytes"] = [len(text.encode()) for text in row.options]
    if part.unconditional:
        values["text_logliks_alone"] = scores[-1].text_logliks
    return values


def letters(rotations: list[Scores]) -> tuple[list[float], float]:
    """Letter logits and logsumexp of a question from those of each rotation of its options.

    In the rotation by s places, option i stands at the place i - s. The result of several
    rotations is the log of the mean probability, with a logsumexp of 0.
    """
    logits = np.array([one.letter_logits for one in rotations])
    totals = np.array([one.logsumexp for one in rotations])
    if len(rotations) == 1:
        return logits[0].tolist(), float(totals[0])
    own = [np.roll(row, shift) for shift, row in enumerate(logits - totals[:, None])]
    means = np.logaddexp.reduce(own) - np.log(len(own))
    return means.tolist(), 0.0


if __name__ == "__main__":
    program(main)
