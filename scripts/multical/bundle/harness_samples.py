"""Records as sample logs of lm-evaluation-harness, which `data.harness_logs` reads back.

A log has the questions of one language with either the letters of the options or their texts. Its
form is that of version 0.4.13 (`lm_eval --log_samples`). Records do not have the whole prompt, so
that the context is the bare question. They do not say either whether an option is what greedy
decoding gives; the logs say False.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from multical.bundle.exports import LETTERS, Part, Texts, text_or_none, write_lines


def write(part: Part, folder: Path) -> int:
    """Write the logs of a run on a benchmark into a folder, and return their number."""
    moment = datetime.fromtimestamp(part.file.made, UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
    logs = 0
    for language, rows in part.block.languages.items():
        texts = part.texts(language)
        for kind, column, known in (
            ("letters", "letter_logits", True),
            ("texts", "text_logliks", all(text.known for text in texts.values())),
        ):
            if known and rows[column].notna().all():
                name = f"samples_{part.file.benchmark}_{language}_{kind}_{moment}.jsonl"
                path = folder / str(part.block.keys["run"]) / name
                write_lines(path, samples(part, language, texts, kind))
                logs += 1
    return logs


def samples(
    part: Part, language: str, texts: dict[str, Texts], kind: str
) -> Iterator[dict[str, Any]]:
    """The samples of a log of the `kind` letters or texts."""
    for number, (question_id, row) in enumerate(part.rows(language)):
        text, gold = texts[question_id], int(row.gold)
        if kind == "letters":
            continuations = [f" {letter}" for letter in LETTERS[: len(row.letter_logits)]]
            # both are rounded to float32, so the logit of a certain letter can exceed the total
            logliks = np.minimum(row.letter_logits.astype(float) - float(row.logsumexp), 0.0)
        else:
            continuations = [f" {option}" for option in text.options]
            logliks = row.text_logliks
        yield sample(number, _document(row, language, text), gold, continuations, logliks)


def sample(
    number: int, doc: dict[str, Any], gold: int, continuations: list[str], logliks: np.ndarray
) -> dict[str, Any]:
    """One line of a log. All its numbers are texts, as those of the harness."""
    context = f"{doc['question']}\nAnswer:"
    requests = [{"arg_0": context, "arg_1": text} for text in continuations]
    answers = [[repr(float(loglik)), "False"] for loglik in logliks]
    return {
        "doc_id": number,
        "doc": doc,
        "target": str(gold),
        "arguments": {f"gen_args_{i}": request for i, request in enumerate(requests)},
        "resps": [[answer] for answer in answers],
        "filtered_resps": answers,
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": _digest(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _digest(context),
        "target_hash": _digest(str(gold)),
        "acc": float(np.argmax(logliks) == gold),
    }


def _document(row: Any, language: str, text: Texts) -> dict[str, Any]:
    return {
        "question_id": row.question_id,
        "language": language,
        "subject": text_or_none(row.subject),
        "culture": text_or_none(row.culture),
        "question": text.question,
        "options": text.options,
        "answer": int(row.gold),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
