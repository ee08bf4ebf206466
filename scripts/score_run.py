"""Score a run on a benchmark: one record per question, language and prompt.

--params is a JSON object: run, model, sft, smoothing, seed (null for a base model),
benchmark, languages (null for all), questions_per_language (null for all), prompts (each
{name, multiple_choice, cloze}, cloze null where no option texts are scored, and perhaps headings:
{NAME: {LANGUAGE or default: text}}), multiple_choice_languages (null for all), chat_format, dtype,
matmul_precision, batch_tokens, and perhaps num_fewshot (few-shot examples before each question) and
quantization (nf4, or none as without it).

A job that was killed goes on from what it kept in --scratch and ends with the same records.
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
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from multical import params, records
from multical.data import questions
from multical.errors import program
from multical.files import sha256
from multical.models import checkpoints, quantized
from multical.models.chat import LETTERS, TEMPLATES, Chat, letter_ids
from multical.scoring.encoding import Encoder
from multical.scoring.prompting import Part, answered, check, choose, nothing, parts, read_fewshot
from multical.scoring.resume import Kept
from multical.scoring.scorer import Group, Scorer

NULL = type(None)
RUN: params.Kinds = {
    "run": str,
    "model": str,
    "sft": (str, NULL),
    "smoothing": (float, NULL),
    "seed": (int, NULL),
    "benchmark": str,
}
KINDS: params.Kinds = {
    **RUN,
    "languages": (list, NULL),
    "questions_per_language": (int, NULL),
    "prompts": list,
    "multiple_choice_languages": (list, NULL),
    "chat_format": str,
    "dtype": str,
    "matmul_precision": str,
    "batch_tokens": int,
    "num_fewshot": int,
    "quantization": str,
}
CHOICES = {
    "chat_format": [*TEMPLATES, "template"],
    "dtype": ["auto", "float32", "bfloat16", "float16"],
    "matmul_precision": ["highest", "high", "medium"],
    "quantization": ["none", "nf4"],
}


def main() -> None:
    """Score part by part (see multical.scoring.prompting), then write the records."""
    started = time.monotonic()
    args = arguments()
    settings = read_settings(args.params)
    asked = choose(questions.read(args.questions), settings, args.questions)
    cut = list(parts(asked, settings, read_fewshot(settings, args.fewshot)))
    torch.set_float32_matmul_precision(settings["matmul_precision"])
    load = quantized.load if settings["quantization"] == "nf4" else checkpoints.load
    model, tokenizer = load(checkpoints.verified(args.model), settings["dtype"])
    asker = Encoder(Chat(tokenizer, settings["chat_format"]))
    most = max(map(len, asked["options"]))
    letters = [letter_ids(tokenizer, letter) for letter in LETTERS[:most]]
    scorer = Scorer(model, letters, settings["batch_tokens"])
    check_longest(cut, asker, scorer)
    title = f"{settings['run']} on {settings['benchmark']}"
    print(f"{title}: {len(asked)} questions, {model.dtype}", file=sys.stderr)
    cut = [piece for part in cut for piece in fitting(part, asker, scorer)]
    wanted = settings.get("num_fewshot", 0)
    if short := sum(len(part.rows) for part in cut if len(part.examples) < wanted):
        print(f"{title}: fewer than {wanted} examples fit before {short} prompts", file=sys.stderr)
    # a job on other weights, questions or units must not go on from this one's scores
    made_of = [*map(sha256, filter(None, [args.model, args.questions, args.fewshot]))]
    made_of += [str(model.dtype), model.device.type, settings["quantization"]]
    digest = hashlib.sha256(" ".join(made_of).encode()).hexdigest()
    folder = args.scratch.with_name(f"{args.scratch.name}-{digest[:12]}")
    kept = Kept(folder, args.save_every, started)
    found = nothing(settings, asked)
    total = sum(len(part.rows) for part in cut)
    with tqdm(desc=title, total=total, unit="question", mininterval=5) as bar:
        for number, part in enumerate(cut):
            for index, values in score(part, number, asker, scorer, kept, bar):
                found[part.prompt["name"]][index] |= values
    shared = {key: settings[key] for key in RUN}
    records.write(args.output, answered(asked, found, **shared))
    kept.clock.write(args.usage, quantization=settings["quantization"])
    kept.forget()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, metavar="MANIFEST", help="of the checkpoint")
    parser.add_argument("--questions", required=True, metavar="PARQUET")
    parser.add_argument("--fewshot", nargs="?", metavar="FILE", help="few-shot examples, if any")
    parser.add_argument("--params", required=True, metavar="JSON", help="see above")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the records")
    parser.add_argument("--usage", required=True, type=Path, help="seconds and hardware, .json")
    parser.add_argument("--scratch", required=True, type=Path, help="folder to resume from")
    parser.add_argument(
        "--save-every", type=float, default=60, metavar="S", help="seconds (default: %(default)s)"
    )
    return parser.parse_args()


def read_settings(text: str) -> dict[str, Any]:
    """The settings in `--params`; raises `InputError` naming the first that is wrong."""
    settings = {"quantization": "none", **params.parse(text)}
    # unlike other lists this one may be empty: no language is multiple_choice then
    none = settings.get("multiple_choice_languages") == []
    check(
        {**settings, "multiple_choice_languages": None} if none else settings,
        KINDS,
        ["num_fewshot"],
    )
    for key, values in CHOICES.items():
        params.known(key, [settings[key]], values)
    return settings


def check_longest(cut: list[Part], asker: Encoder, scorer: Scorer) -> None:
    """Refuse questions too long for the model at once: the longest of each part in characters.

    One with fewer characters and yet more tokens is found when its part is scored.
    """
    for part in (replace(part, examples=()) for part in cut):
        lengths = part.rows["question"].str.len() + part.rows["options"].map("".join).str.len()
        (row,) = part.rows.loc[[lengths.idxmax()]].itertuples()
        scorer.check_length(asker.encode(part, row), f"{row.question_id} in {part.language}")


def fitting(part: Part, asker: Encoder, scorer: Scorer) -> Iterator[Part]:
    """The part, its questions apart by how many of their examples the model has room for.

    The last examples go first, so that such a question is asked as with fewer: our own design.
    """
    if not part.examples:
        yield part
        return
    by_count = defaultdict(list)
    for row in part.rows.itertuples():
        count = len(part.examples)
        while count and asker.encode(first(part, count), row).length > scorer.positions:
            count -= 1
        by_count[count].append(row.Index)
    for count, indices in sorted(by_count.items(), reverse=True):
        yield replace(first(part, count), rows=part.rows.loc[indices])


def first(part: Part, count: int) -> Part:
    """The part with the first so many of its examples."""
    return replace(part, examples=part.examples[:count])


def score(
    part: Part, number: int, asker: Encoder, scorer: Scorer, kept: Kept, bar: Any
) -> Iterator[tuple[int, dict[str, Any]]]:
    """What the records hold of each question of a part, by the question's index."""
    asked = []
    for row in part.rows.itertuples():
        asked.append(asker.encode(part, row))
        scorer.check_length(asked[-1], f"{row.question_id} in {part.language}")
    group = Group.of(asked)
    scores = scorer.score(
        group,
        lambda batch, run: kept.recall(f"{part.language}.{number}.{batch}", run),
        bar.update,
    )
    for index, trie, said in zip(part.rows.index, group.tries, scores, strict=True):
        values: dict[str, Any] = {}
        if part.multiple_choice:
            values["letter_logits"] = said.letter_logits
            values["logsumexp"] = said.logsumexp
            values["prompt_tokens"] = trie.prompt_tokens
        if part.cloze:
            values["text_logliks"] = said.text_logliks
            values["text_tokens"] = [len(targets) for targets in trie.targets]
        yield index, values


if __name__ == "__main__":
    program(main)
