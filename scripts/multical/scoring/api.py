"""Models behind OpenAI-compatible APIs: requests, answers, and a cache of the answers.

Such an API lists the `top_logprobs` most likely first tokens of the answer, with their
log-probabilities. From them, records have these columns:

- `letter_logits`: for each letter, the logsumexp of the listed tokens whose text, without spaces
  and BPE marks, is the letter. This is the definition of arXiv 2402.13213 (v4), although the
  authors' code for APIs (openai_generate.py) only counts the bare letter. Tokens that are not
  listed do not contribute. These logits are normalised, so that `logsumexp` is 0, and there is no
  maximum logit.
- `letter_bounds`: true if no listed token is the letter. None of the letter's tokens is then more
  likely than the least likely listed token, and `letter_logits` holds this upper bound. (The
  authors' code uses the lower bound, a probability of 0.) If no letter is listed, all are equal,
  and the answer is the first option, as in the authors' code.
- `prompt_tokens`: the API's count, which includes its chat template.

APIs do not give log-likelihoods of the options' texts. We rely on the server that the
log-probabilities are those of the model, without temperature or penalties.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from multical import jsonl
from multical.data.conversations import Message
from multical.errors import InputError
from multical.files import atomic
from multical.models.api_params import Endpoint
from multical.models.chat import LETTERS, TEMPLATES
from multical.params import canonical
from multical.scoring.prices import Bill

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
#: Characters that are stripped from a token, as in chat.letter_ids
MARKS = "▁Ġ \t\n"
#: For estimates of the number of tokens
BYTES_PER_TOKEN = 4
TEMPLATE_TOKENS = 20
#: Largest log-probability, and sum of probabilities, which rounding may bring above 0 and 1: a
#: server may round log-probabilities to two decimals, or to bfloat16
ROUNDING = 1e-3
LARGEST_SUM = 1.01
#: Largest number of tokens; servers that give more do not count
MOST_TOKENS = 2**31 - 1
#: Longest name of a model that is recorded
NAME_LENGTH = 200

Body = dict[str, Any]


def request(api: Endpoint, chat_format: str, messages: Sequence[Message]) -> Body:
    """The body of a request for the most likely first tokens of the answer."""
    if api.endpoint == "chat":
        required: Body = {"messages": messages, "logprobs": True, "top_logprobs": api.top_logprobs}
    else:
        text = rendered(chat_format, messages, api.eos_token)
        required = {"prompt": text, "logprobs": api.top_logprobs}
    body = {"max_tokens": 1, "temperature": 0, **api.request, **required, "model": api.model}
    return {key: value for key, value in body.items() if value is not None}


def rendered(chat_format: str, messages: Sequence[Message], eos_token: str) -> str:
    """A conversation up to its next answer in one of our chat formats, without a tokenizer."""
    # the settings of transformers
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = jinja.from_string(TEMPLATES[chat_format])
    return template.render(messages=messages, add_generation_prompt=True, eos_token=eos_token)


def key(url: str, body: Body) -> str:
    """The key of a request in the cache: the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical([url, body]).encode()).hexdigest()


def expected(body: Body) -> Bill:
    """An estimate of the cost of a request, from the bytes of its text in UTF-8."""
    turns = body.get("messages", [{"content": body.get("prompt", "")}])
    size = sum(len(turn["content"].encode()) for turn in turns)
    return Bill(1, size / BYTES_PER_TOKEN + TEMPLATE_TOKENS * len(turns), 1)


@dataclass(frozen=True)
class Answer:
    """An API's answer: the listed tokens with their log-probabilities, counts, and the model.

    If the API does not count tokens, `prompt_tokens` is None and their number in `bill` is 0.
    """

    listed: list[tuple[str, float]]
    prompt_tokens: int | None
    bill: Bill
    model: str

    def letters(self, count: int) -> tuple[list[float], list[bool]]:
        """Per letter, (count,): its log-probability in nats, and whether that is an upper bound."""
        by_letter: list[list[float]] = [[] for _ in range(count)]
        for token, value in self.listed:
            place = LETTERS.find(bare) if len(bare := token.strip(MARKS)) == 1 else -1
            if 0 <= place < count:
                by_letter[place].append(value)
        least = min((value for _, value in self.listed), default=0.0)
        logprobs = [_logsumexp(values) if values else least for values in by_letter]
        return logprobs, [not values for values in by_letter]


def _logsumexp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def read(text: str, api: Endpoint) -> Answer:
    """An answer from its JSON; raises `InputError` if it has no sound log-probabilities."""
    try:
        answer = json.loads(text)
        logprobs = answer["choices"][0]["logprobs"]
        if api.endpoint == "chat":
            # empty if the answer is empty
            first = logprobs["content"][0]["top_logprobs"] if logprobs["content"] else []
            listed = [(entry["token"], entry["logprob"]) for entry in first]
        else:
            listed = list(logprobs["top_logprobs"][0].items()) if logprobs["top_logprobs"] else []
        # some servers list impossible tokens
        listed = [(str(token), float(value)) for token, value in listed if value != -math.inf]
        # servers may add the sampled token to the most likely ones
        listed = sorted(listed, key=lambda pair: -pair[1])[: api.top_logprobs]
        if not all(-math.inf < value <= ROUNDING for _, value in listed):
            raise ValueError("not log-probabilities")
        total = math.fsum(math.exp(value) for _, value in listed)
        if total > LARGEST_SUM:
            raise ValueError(f"the listed probabilities sum to {total:.3f}")
    # OverflowError: an integer beyond all floats; RecursionError: lists in lists in lists
    except (
        ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        raise InputError(
            f"found no log-probabilities in {text[:200]!r} ({error!r}), expected "
            f"choices.0.logprobs: not every model and server gives them"
        ) from error
    usage = answer.get("usage")
    sent, received = (_count(usage, key) for key in ("prompt_tokens", "completion_tokens"))
    names = [answer.get("model"), answer.get("system_fingerprint")]
    model = " ".join(str(name) for name in names if name)[:NAME_LENGTH]
    model = model.encode("utf-8", "backslashreplace").decode("utf-8")  # halves of characters
    return Answer(listed, sent, Bill(1, sent or 0, received or 0), model)


def _count(usage: Any, key: str) -> int | None:
    """A number of tokens; None if the API gives none, or one that cannot be."""
    count = usage.get(key) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count <= MOST_TOKENS else None


class Cache:
    """Answers by the keys of their requests in an SQLite file, each stored as soon as it comes.

    Only one job at a time has the file open. Others wait, so that the jobs together do not exceed
    the rate limits. Answers that are of no use are kept in a file beside it, in JSON Lines, so that
    no rerun pays for them again.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._lock = path, Lock()
        self.refusals = path.with_suffix(".refused.jsonl")
        self._lock_file = open(path.with_name(f"{path.name}.lock"), "w")  # noqa: SIM115
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path}: another job asks this model; waiting for it", file=sys.stderr)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            self._data = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        self._execute(
            "CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, answer TEXT) "
            "WITHOUT ROWID"
        )

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()
        self._lock_file.close()

    def get(self, request: str) -> str | None:
        """The JSON of the answer, or None if it is not stored."""
        rows = self._execute("SELECT answer FROM answers WHERE request = ?", request)
        return str(rows[0][0]) if rows else None

    def put(self, request: str, answer: str) -> None:
        """Store an answer."""
        self._execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", request, answer)

    def refuse(self, request: str, answer: str, reason: str) -> InputError:
        """Keep an answer that is of no use, and return the error to raise, now and in reruns."""
        reason = f"{reason}; the answer is kept in {self.refusals}: remove that to ask again"
        with self._lock:
            before = self.refusals.read_text(encoding="utf-8") if self.refusals.exists() else ""
            line = json.dumps({"request": request, "reason": reason, "answer": answer})
            with atomic(self.refusals) as temporary:
                temporary.write_text(f"{before}{line}\n", encoding="utf-8")
        return InputError(reason)

    def refused(self) -> dict[str, str]:
        """Why answers are of no use, by the keys of their requests."""
        if not self.refusals.exists():
            return {}
        try:
            lines = [line for _, line in jsonl.read(self.refusals)]
            return {str(line["request"]): str(line["reason"]) for line in lines}
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{self.refusals}: found a line without request and reason, expected both"
            ) from error

    def _execute(self, query: str, *values: str) -> list[Any]:
        try:
            with self._lock:
                return self._data.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error) -> InputError:
        return InputError(
            f"{self.path}: not a usable cache of answers ({error}); if it is damaged, move it away"
        )
