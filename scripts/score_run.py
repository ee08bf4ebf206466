"""Score a run on a benchmark: one record per question and language.

--params is a JSON object: run, model, sft, smoothing, seed (null for a base model),
benchmark, languages (null for all), questions_per_language (null for all), prompt
{name, lettered, plain}, lettered_languages (null for all), chat_format, dtype,
matmul_precision, batch_tokens.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from typing import Any

import pandas as pd
import torch

from multical import checkpoints, params, questions, records
from multical.errors import InputError, program
from multical.prompts import LETTERS, Chat, letter_ids, lettered
from multical.scoring import Scorer
from multical.trie import Trie

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
    "prompt": dict,
    "lettered_languages": (list, NULL),
    "chat_format": str,
    "dtype": str,
    "matmul_precision": str,
    "batch_tokens": int,
}
PROMPT: params.Kinds = {"name": str, "lettered": str, "plain": str}
CHOICES = {
    "chat_format": ["plain", "tulu", "template"],
    "dtype": ["auto", "float32", "bfloat16", "float16"],
    "matmul_precision": ["highest", "high", "medium"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, metavar="MANIFEST", help="of the checkpoint")
    parser.add_argument("--questions", required=True, metavar="PARQUET")
    parser.add_argument("--params", required=True, metavar="JSON", help="see above")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the records")
    args = parser.parse_args()
    settings = read_settings(args.params)
    asked = choose(questions.read(args.questions), settings, args.questions)
    torch.set_float32_matmul_precision(settings["matmul_precision"])
    model, tokenizer = checkpoints.load(checkpoints.verified(args.model), settings["dtype"])
    chat = Chat(tokenizer, settings["chat_format"])
    tries = [trie(chat, settings, q) for q in asked.itertuples()]
    most = max(len(options) for options in asked["options"])
    letters = [letter_ids(tokenizer, letter) for letter in LETTERS[:most]]
    title = f"{settings['run']} on {settings['benchmark']}"
    print(f"{title}: {len(tries)} questions, {model.dtype}", file=sys.stderr)
    scores = Scorer(model, letters, settings["batch_tokens"]).score(
        tries, [f"{q.question_id} in {q.language}" for q in asked.itertuples()], title
    )
    columns = {
        "prompt": settings["prompt"]["name"],
        "language": asked["language"],
        "question_id": asked["question_id"],
        "subject": asked["subject"],
        "culture": asked["culture"],
        "n_options": asked["options"].map(len),
        "gold": asked["answer"],
        "letter_logits": [score.letter_logits for score in scores],
        "logsumexp": [score.logsumexp for score in scores],
        "prompt_tokens": [t.prompt_tokens for t in tries],
        "text_logliks": [score.text_logliks for score in scores],
        "text_tokens": [[len(targets) for targets in t.targets] for t in tries],
    }
    shared = {key: settings[key] for key in RUN}
    records.write(args.output, pd.DataFrame({**shared, **columns}, index=asked.index))


def read_settings(text: str) -> dict[str, Any]:
    """The settings in `--params`; raises `InputError` naming the first that is wrong."""
    settings = params.parse(text)
    # unlike other lists this one may be empty: no language is lettered then
    none = settings.get("lettered_languages") == []
    params.check({**settings, "lettered_languages": None} if none else settings, KINDS)
    params.check(settings["prompt"], PROMPT)
    for key, values in CHOICES.items():
        params.known(key, [settings[key]], values)
    return settings


def choose(frame: pd.DataFrame, settings: dict[str, Any], path: str) -> pd.DataFrame:
    """The questions of some languages, the same few ids in each where there is a limit."""
    languages = settings["languages"]
    if languages is not None:
        if missing := sorted(set(languages) - set(frame["language"])):
            raise InputError(f"{path}: no questions in {missing}")
        frame = frame[frame["language"].isin(languages)]
    if (limit := settings["questions_per_language"]) is not None:
        order = frame["question_id"].map(lambda x: hashlib.sha256(x.encode()).hexdigest())
        frame = frame.loc[order.sort_values(kind="stable").index]
        frame = frame.groupby("language", sort=False).head(limit)
    return frame.reset_index(drop=True)


def trie(chat: Chat, settings: dict[str, Any], question: Any) -> Trie:
    """The question as the model is shown it: with its options listed, and without."""
    prompt, languages = settings["prompt"], settings["lettered_languages"]
    listed = None
    if languages is None or question.language in languages:
        text = lettered(prompt["lettered"], question.question, question.options)
        listed = chat.encode(chat.prompt([{"role": "user", "content": text}]))
    bare = prompt["plain"].replace("{question}", question.question)
    plain = chat.prompt([{"role": "user", "content": bare}])
    options = [chat.encode(f"{plain}{chat.joint}{option}") for option in question.options]
    return Trie.of(listed, chat.encode(plain), options)


if __name__ == "__main__":
    program(main)
