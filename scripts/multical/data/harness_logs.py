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

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multical import jsonl
from multical.data.odd_rows import OddRowError, OddRows, broken
from multical.errors import InputError
from multical.records import MAX_OPTIONS, SCHEMA

LETTERS = "ABCDEFGHIJ"


def read(
    paths: list[Path],
    *,
    prefix: str = "",
    id_field: str | None = None,
    subject_field: str | None = None,
) -> pd.DataFrame:
    """The columns of records on questions, from the logs of one language: a row per line.

    `question_id` is `prefix` and the field `id_field` of `doc`, or by default `doc_id` in six
    digits. Since `doc_id` starts at 0 in each file, several files, one per subtask, need an
    `id_field`. The prefix keeps questions of other languages apart that have the same number.
    Raises `InputError` with file and all lines for anything else than such a log.
    """
    if len(paths) > 1 and id_field is None:
        raise InputError(
            f"{paths[0]} and {len(paths) - 1} more: several logs of one language, expected one, "
            "or a field of the questions that tells them apart (id_field)"
        )
    rows = [row for path in paths for row in _log(path, id_field, subject_field)]
    if not rows:
        raise InputError(f"{paths[0]}: no lines, expected one per question")
    frame = pd.DataFrame(rows).drop(columns=["target", "acc"])
    frame["question_id"] = prefix + frame["question_id"]
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


def _log(path: Path, id_field: str | None, subject_field: str | None) -> list[dict[str, Any]]:
    """The questions of one log, with their right options."""
    odd = OddRows()
    samples: dict[str, dict[str, Any]] = {}
    for place, line in jsonl.lines(path):
        try:
            samples[place] = _question(line, id_field, subject_field)
        except OddRowError as error:
            odd.add(str(path), place, error)
    odd.check()
    for place, gold in _golds(samples, path).items():
        samples[place]["gold"] = gold
    return [*samples.values()]


def _question(line: str, id_field: str | None, subject_field: str | None) -> dict[str, Any]:
    try:
        sample = jsonl.parse(line)
        doc, target = {**sample["doc"]}, str(sample["target"]).strip()
        requests = [sample["arguments"][f"gen_args_{i}"] for i in range(len(sample["arguments"]))]
        contexts = [request["arg_0"] for request in requests]
        continuations = [str(request["arg_1"]) for request in requests]
        logliks = [float(loglik) for loglik, _ in sample["filtered_resps"]]
        acc = float(sample["acc"]) if "acc" in sample else None
        number = int(sample["doc_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise broken(
            "no sample",
            "not a sample of a multiple-choice task of lm-evaluation-harness "
            f"({type(error).__name__}: {error})",
        ) from error
    count = len(logliks)
    if len(requests) != count or not 2 <= count <= MAX_OPTIONS:
        raise broken(
            "other numbers of options",
            f"{len(requests)} requests and {count} answers, expected one of each per option, "
            f"2 to {MAX_OPTIONS}",
        )
    if len(set(contexts)) > 1 or len(set(continuations)) < count:
        raise broken("no common context", "expected options that continue one context")
    return {
        "question_id": _field(doc, id_field) if id_field else f"{number:06d}",
        "subject": _field(doc, subject_field) if subject_field else None,
        "n_options": count,
        "continuations": continuations,
        "logliks": logliks,
        "target": target,
        "acc": acc,
    }


def _golds(samples: dict[str, dict[str, Any]], path: Path) -> dict[str, int]:
    """The index of the right option of each question, by the question's place.

    The targets of a log are indices, or the texts of the options. Where options are numbers, a
    target may be either. We take what makes sense for all questions, given also that `acc` is
    whether the likeliest option is right.
    """
    readings = []
    for find in (_by_index, _by_text):
        golds: dict[str, int] = {}
        odd = OddRows()
        for place, sample in samples.items():
            try:
                golds[place] = _gold(sample, find(sample))
            except OddRowError as error:
                odd.add(str(path), place, error)
        readings.append((golds, odd))
    (by_index, odd_index), (by_text, odd_text) = readings
    if not odd_index.rows and not odd_text.rows and by_index != by_text:
        place = next(place for place in samples if by_index[place] != by_text[place])
        raise InputError(
            f"{path}: {place}: target {samples[place]['target']!r} is both the index of an option "
            "and the text of another, and no question of the log tells which is meant"
        )
    golds, odd = min(readings, key=lambda reading: len(reading[1].rows))
    odd.check()
    return golds


def _by_index(sample: Mapping[str, Any]) -> int | None:
    indices = [*map(str, range(sample["n_options"]))]
    return indices.index(sample["target"]) if sample["target"] in indices else None


def _by_text(sample: Mapping[str, Any]) -> int | None:
    options = [text.strip() for text in sample["continuations"]]
    return options.index(sample["target"]) if sample["target"] in options else None


def _gold(sample: Mapping[str, Any], gold: int | None) -> int:
    """The index of the right option, checked. Raises `OddRowError`."""
    target, best = sample["target"], int(np.argmax(sample["logliks"]))
    if gold is None:
        options = [text.strip() for text in sample["continuations"]]
        message = f"target {target!r} is neither an index nor one of {options}"
        raise broken("another target", message)
    if sample["acc"] is not None and bool(sample["acc"]) != (best == gold):
        raise broken(
            "another acc",
            f"acc is {sample['acc']:g}, but option {best} is the likeliest and target is "
            f"{target!r}",
        )
    return gold


def _field(doc: Mapping[str, Any], name: str) -> str:
    if doc.get(name) is None:
        message = f"the question has no field {name!r}, found {sorted(doc)}"
        raise broken("a missing field", message)
    return str(doc[name])


def _utf8_bytes(continuations: list[str]) -> list[int]:
    """Per option, the bytes of its text in UTF-8, without the delimiter before it."""
    return [len((text.strip() or text).encode()) for text in continuations]


def _are_letters(continuations: list[str]) -> bool:
    return "".join(text.strip() for text in continuations) == LETTERS[: len(continuations)]
