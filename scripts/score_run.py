"""Score a run on a benchmark: one record per question, language and prompt.

A job that was killed goes on from what it saved in --scratch and ends with the same records.
The folder's name is --scratch and a hash of the model, the questions, the examples and the
precision; it must belong to this job alone, and is removed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from multical import records
from multical.data import questions
from multical.errors import program
from multical.files import sha256
from multical.models import checkpoints, quantized
from multical.models.chat import LETTERS, Chat, letter_ids
from multical.params import command_line
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
from multical.scoring.scorer import Group, Scorer

#: What all records of a job share
SHARED = ("run", "model", "sft", "smoothing", "seed", "benchmark")


def main() -> None:
    """Score part by part (see multical.scoring.prompting), then write the records."""
    started = time.monotonic()
    args = arguments()
    job: ScoringJob = args.params
    chosen = choose_questions(questions.read(args.questions), job, args.questions)
    fewshot = read_fewshot(job, args.fewshot)
    cut = list(parts(chosen, job, fewshot, job.multiple_choice_languages))
    torch.set_float32_matmul_precision(job.matmul_precision)
    load = quantized.load if job.quantization == "nf4" else checkpoints.load
    model, tokenizer = load(checkpoints.verified(args.model), job.dtype)
    encoder = Encoder(Chat(tokenizer, job.chat_format))
    most = max(map(len, chosen["options"]))
    letters = [letter_ids(tokenizer, letter) for letter in LETTERS[:most]]
    scorer = Scorer(model, letters, job.batch_tokens)
    check_longest(cut, encoder, scorer)
    title = f"{job.run} on {job.benchmark}"
    print(f"{title}: {len(chosen)} questions, {model.dtype}", file=sys.stderr)
    cut = [piece for part in cut for piece in fitting(part, encoder, scorer)]
    count = job.num_fewshot
    if short := sum(len(part.rows) for part in cut if len(part.examples) < count):
        print(f"{title}: fewer than {count} examples fit before {short} prompts", file=sys.stderr)
    # a job on other weights, questions or units must not go on from this one's scores
    made_of = [*map(sha256, filter(None, [args.model, args.questions, args.fewshot]))]
    made_of += [str(model.dtype), model.device.type, job.quantization]
    digest = hashlib.sha256(" ".join(made_of).encode()).hexdigest()
    folder = args.scratch.with_name(f"{args.scratch.name}-{digest[:12]}")
    saved = SavedScores(folder, args.save_every, started)
    results = empty_results(job, chosen)
    total = sum(len(part.rows) for part in cut)
    with tqdm(desc=title, total=total, unit="question", mininterval=5) as bar:
        for number, part in enumerate(cut):
            for index, values in score(part, number, encoder, scorer, saved, bar):
                results[part.prompt.name][index] |= values
    shared = {name: getattr(job, name) for name in SHARED}
    records.write(args.output, records_of(chosen, results, **shared))
    saved.clock.write(args.usage, quantization=job.quantization)
    saved.forget()


def arguments() -> argparse.Namespace:
    parser = command_line(
        __doc__,
        ScoringJob,
        model="manifest of the checkpoint",
        questions="of the benchmark, .parquet",
        output="the records, .parquet",
        usage="seconds and hardware, .json",
        scratch="folder to resume from",
    )
    parser.add_argument("--fewshot", nargs="?", metavar="FILE", help="few-shot examples, if any")
    parser.add_argument(
        "--save-every", type=float, default=60, metavar="S", help="seconds (default: %(default)s)"
    )
    return parser.parse_args()


def check_longest(cut: list[Part], encoder: Encoder, scorer: Scorer) -> None:
    """Refuse questions too long for the model at once: the longest of each part in characters.

    One with fewer characters and yet more tokens is found when its part is scored.
    """
    for part in (replace(part, examples=()) for part in cut):
        lengths = part.rows["question"].str.len() + part.rows["options"].map("".join).str.len()
        (row,) = part.rows.loc[[lengths.idxmax()]].itertuples()
        scorer.check_length(encoder.encode(part, row), f"{row.question_id} in {part.language}")


def fitting(part: Part, encoder: Encoder, scorer: Scorer) -> Iterator[Part]:
    """The part, its questions apart by how many of their examples the model has room for.

    The last examples go first, so that such a question is asked as with fewer: our own design.
    """
    if not part.examples:
        yield part
        return
    by_count = defaultdict(list)
    for row in part.rows.itertuples():
        count = len(part.examples)
        while count and encoder.encode(first(part, count), row).length > scorer.positions:
            count -= 1
        by_count[count].append(row.Index)
    for count, indices in sorted(by_count.items(), reverse=True):
        yield replace(first(part, count), rows=part.rows.loc[indices])


def first(part: Part, count: int) -> Part:
    """The part with the first `count` of its examples."""
    return replace(part, examples=part.examples[:count])


def score(
    part: Part, number: int, encoder: Encoder, scorer: Scorer, saved: SavedScores, bar: Any
) -> Iterator[tuple[int, dict[str, Any]]]:
    """What the records hold of each question of a part, by the question's index."""
    tokenized = []
    for row in part.rows.itertuples():
        tokenized.append(encoder.encode(part, row))
        scorer.check_length(tokenized[-1], f"{row.question_id} in {part.language}")
    group = Group.of(tokenized)
    scores = scorer.score(
        group,
        lambda batch, run: saved.recall(f"{part.language}.{number}.{batch}", run),
        bar.update,
    )
    for index, trie, scored in zip(part.rows.index, group.tries, scores, strict=True):
        values: dict[str, Any] = {}
        if part.multiple_choice:
            values["letter_logits"] = scored.letter_logits
            values["logsumexp"] = scored.logsumexp
            values["prompt_tokens"] = trie.prompt_tokens
        if part.cloze:
            values["text_logliks"] = scored.text_logliks
            values["text_tokens"] = [len(targets) for targets in trie.targets]
        yield index, values


if __name__ == "__main__":
    program(main)
