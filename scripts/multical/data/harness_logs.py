"""Import of sample logs of lm-evaluation-harness into records.

`lm_eval --log_samples` writes `samples_{task}_{time}.jsonl` with a line per question. In the logs
of version 0.4.13, a line of a multiple-choice task has `doc_id`, `doc`, `target`, `arguments` (per
option, the context `arg_0` and the continuation `arg_1`) and `filtered_resps` (per option, its
summed log-likelihood in nats, and whether it is the result of greedy decoding). All numbers and
booleans are texts.

If the continuations are the letters of the options, their log-likelihoods are normalised letter
logits, and become `letter_logits` with a `logsumexp` of 0. Otherwise they become `text_logliks`.
The logs do not have the numbers of tokens, so that the readout `text_ppl` is not available;
`text_byte` is, since they have the texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import InputError
from multical.records import MAX_OPTIONS, SCHEMA

LETTERS = "ABCDEFGHIJ"


def read(
    paths: list[Path], *, id_field: str | None = None, subject_field: str | None = None
) -> pd.DataFrame:
    """The columns of records on questions, from the logs of one language: a row per line.

    `question_id` is the field `id_field` of `doc`, or by default `doc_id` in six digits. Since
    `doc_id` starts at 0 in each file, several files, one per subtask, need an `id_field`. Raises
    `InputError` with file and line for anything else than such a log.
    """
    if len(paths) > 1 and id_field is None:
        raise InputError(
            f"{paths[0]} and {len(paths) - 1} more: several logs of one language, expected one, "
            "or a field of the questions that tells them apart (id_field)"
        )
    rows = [
        _question(line, f"{path}: line {number}", id_field, subject_field)
        for path in paths
        for number, line in _lines(path)
    ]
    if not rows:
        raise InputError(f"{paths[0]}: no lines, expected one per question")
    frame = pd.DataFrame(rows)
    continuations = frame.pop("continuations")
    letters = continuations.map(_are_letters)
    logliks = frame.pop("logliks")
    if letters.all():
        frame = frame.assign(letter_logits=logliks, logsumexp=0.0)
    elif not letters.any():
        frame = frame.assign(text_logliks=logliks, text_bytes=continuations.map(_utf8_bytes))
    else:
        odd = frame.loc[~letters, "question_id"].iloc[0]
        raise InputError(
            f"{paths[0]}: question {odd}: options are texts, but letters in other questions"
        )
    return frame


def records(languages: Mapping[str, pd.DataFrame], run: Mapping[str, Any]) -> pd.DataFrame:
    """Records of one run on one benchmark, from the results of `read` by language.

    `run` has the columns run, model, sft, smoothing, seed, benchmark and prompt.
    """
    frames = [frame.assign(language=language) for language, frame in languages.items()]
    frame = pd.concat(frames, ignore_index=True).assign(**run)
    # None in missing columns, since Arrow would read NaN as numbers of any column
    return frame.assign(**{name: None for name in SCHEMA.names if name not in frame})


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable text file ({error})") from error
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _question(
    line: str, where: str, id_field: str | None, subject_field: str | None
) -> dict[str, Any]:
    try:
        sample = json.loads(line)
        doc, target = sample["doc"], str(sample["target"])
        requests = [sample["arguments"][f"gen_args_{i}"] for i in range(len(sample["arguments"]))]
        contexts = [request["arg_0"] for request in requests]
        continuations = [request["arg_1"] for request in requests]
        logliks = [float(loglik) for loglik, _ in sample["filtered_resps"]]
        number = int(sample["doc_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{where}: not a sample of a multiple-choice task of lm-evaluation-harness "
            f"({type(error).__name__}: {error})"
        ) from error
    count = len(logliks)
    if len(requests) != count or not 2 <= count <= MAX_OPTIONS:
        raise InputError(
            f"{where}: {len(requests)} requests and {count} answers, expected one of each per "
            f"option, 2 to {MAX_OPTIONS}"
        )
    if len(set(contexts)) > 1 or len(set(continuations)) < count:
        raise InputError(f"{where}: expected options that continue one context")
    gold, best = _gold(target, continuations, where), int(np.argmax(logliks))
    if "acc" in sample and bool(sample["acc"]) != (best == gold):
        raise InputError(
            f"{where}: acc is {sample['acc']}, but option {best} is the likeliest and target is "
            f"{target!r}"
        )
    return {
        "question_id": _field(doc, id_field, where) if id_field else f"{number:06d}",
        "subject": _field(doc, subject_field, where) if subject_field else None,
        "n_options": count,
        "gold": gold,
        "continuations": continuations,
        "logliks": logliks,
    }


def _gold(target: str, continuations: list[str], where: str) -> int:
    """Index of the right option; the target is that index, or the text of the option."""
    options = [text.strip() for text in continuations]
    if target.strip() in options:
        named = options.index(target.strip())
        if not target.isdigit() or int(target) == named:
            return named
    if target.isdigit() and int(target) < len(options):
        return int(target)
    raise InputError(f"{where}: target {target!r} is neither an index nor one of {options}")


def _field(doc: Mapping[str, Any], name: str, where: str) -> str:
    if name not in doc or doc[name] is None:
        raise InputError(f"{where}: the question has no field {name!r}, found {sorted(doc)}")
    return str(doc[name])


def _utf8_bytes(continuations: list[str]) -> list[int]:
    """Per option, the bytes of its text in UTF-8, without the delimiter before it."""
    return [len((text.strip() or text).encode()) for text in continuations]


def _are_letters(continuations: list[str]) -> bool:
    return "".join(text.strip() for text in continuations) == LETTERS[: len(continuations)]
