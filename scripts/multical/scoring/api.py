"""Models behind OpenAI-compatible APIs: what they are asked, and what records hold of it.

Such an API lists the likeliest tokens of the place where the answer starts (`top_logprobs` of
them), each with its log-probability. Of a question's letters the records have

- `letter_logits`: the logsumexp of the listed tokens that, stripped of space and BPE marks, are
  the letter: the definition of arXiv 2402.13213 (v4), though the authors' code for APIs
  (openai_generate.py) counts the bare letter alone. It misses what tokens that are not listed
  would add. These are logits after normalisation: `logsumexp` is 0, and there is no maximum logit.
- `letter_bounds`: true for a letter that no listed token decodes to. All that is known of it is
  that none of its tokens is likelier than the least likely listed one: `letter_logits` holds
  that upper bound. (The authors' code takes the lower one, a probability of 0.) Where no letter is
  listed all are equal, and the answer is the first option, as it is there.
- `prompt_tokens`: as the API counts them, its chat template included.

APIs do not give log-likelihoods of the options' texts. That log-probabilities are those of the
model itself, without temperature or penalties, is the server's word.
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

from multical.data.conversations import Message
from multical.errors import InputError
from multical.models.api_params import Endpoint
from multical.models.chat import LETTERS, TEMPLATES
from multical.params import canonical
from multical.scoring.prices import Bill

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
#: What is stripped off a token, as in prompts.letter_ids
MARKS = "▁Ġ \t\n"
#: To guess tokens by, as in costs
BYTES_PER_TOKEN = 4
TEMPLATE_TOKENS = 20
#: A log-probability may be above 0 by so much, for its rounding
ROUNDING = 1e-3

Body = dict[str, Any]


def request(api: Endpoint, chat_format: str, messages: Sequence[Message]) -> Body:
    """What is sent to have a conversation's next token listed."""
    if api.endpoint == "chat":
        asked: Body = {"messages": messages, "logprobs": True, "top_logprobs": api.top_logprobs}
    else:
        text = rendered(chat_format, messages, api.eos_token)
        asked = {"prompt": text, "logprobs": api.top_logprobs}
    whole = {"max_tokens": 1, "temperature": 0, **api.request, **asked, "model": api.model}
    return {key: value for key, value in whole.items() if value is not None}


def rendered(chat_format: str, messages: Sequence[Message], eos_token: str) -> str:
    """A conversation up to its next answer in a chat format of our own, without a tokenizer."""
    # as transformers has it
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = jinja.from_string(TEMPLATES[chat_format])
    return template.render(messages=messages, add_generation_prompt=True, eos_token=eos_token)


def key(url: str, body: Body) -> str:
    """What a request is known by: the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical([url, body]).encode()).hexdigest()


def expected(body: Body) -> Bill:
    """What a request costs, by our guess: bytes in UTF-8 for its tokens."""
    turns = body.get("messages", [{"content": body.get("prompt", "")}])
    size = sum(len(turn["content"].encode()) for turn in turns)
    return Bill(1, size / BYTES_PER_TOKEN + TEMPLATE_TOKENS * len(turns), 1)


@dataclass(frozen=True)
class Answer:
    """An API's answer: the listed tokens with their log-probabilities, counts, and who it was.

    `bill` is 0 for counts that the API did not give.
    """

    listed: list[tuple[str, float]]
    prompt_tokens: int | None
    bill: Bill
    model: str

    def letters(self, count: int) -> tuple[list[float], list[bool]]:
        """(count,) log-probability of each letter (nats), and whether it is but an upper bound."""
        own: list[list[float]] = [[] for _ in range(count)]
        for token, value in self.listed:
            place = LETTERS.find(bare) if len(bare := token.strip(MARKS)) == 1 else -1
            if 0 <= place < count:
                own[place].append(value)
        least = min((value for _, value in self.listed), default=0.0)
        return [_logsumexp(found) if found else least for found in own], [not one for one in own]


def _logsumexp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def read(text: str, api: Endpoint) -> Answer:
    """An answer from its JSON; raises `InputError` where it has no log-probabilities."""
    try:
        found = json.loads(text)
        logprobs = found["choices"][0]["logprobs"]
        if api.endpoint == "chat":
            # empty where the answer is empty
            first = logprobs["content"][0]["top_logprobs"] if logprobs["content"] else []
            listed = [(one["token"], one["logprob"]) for one in first]
        else:
            listed = list(logprobs["top_logprobs"][0].items()) if logprobs["top_logprobs"] else []
        # some servers list what cannot be
        listed = [(str(token), float(value)) for token, value in listed if value != -math.inf]
        # a sampled token may come beside the likeliest
        listed = sorted(listed, key=lambda pair: -pair[1])[: api.top_logprobs]
        if not all(-math.inf < value <= ROUNDING for _, value in listed):
            raise ValueError("not log-probabilities")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"found no log-probabilities in {text[:200]!r} ({error!r}), expected "
            f"choices.0.logprobs: not every model and server gives them"
        ) from error
    usage = found.get("usage")
    sent, back = (_count(usage, key) for key in ("prompt_tokens", "completion_tokens"))
    named = [found.get("model"), found.get("system_fingerprint")]
    who = " ".join(str(name) for name in named if name)
    return Answer(listed, sent, Bill(1, sent or 0, back or 0), who)


def _count(usage: Any, key: str) -> int | None:
    """A number of tokens; None where the API gives none."""
    count = usage.get(key) if isinstance(usage, dict) else None
    return count if type(count) is int and count >= 0 else None


class Cache:
    """Answers by the keys of their requests, in an SQLite file, each kept as soon as it comes.

    One job at a time has the file; others wait for it, so that they do not ask faster together
    than each may.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._lock = path, Lock()
        self._held = open(path.with_name(f"{path.name}.lock"), "w")  # noqa: SIM115
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path}: another job asks this model; waiting for it", file=sys.stderr)
            fcntl.flock(self._held, fcntl.LOCK_EX)
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
        self._held.close()

    def get(self, request: str) -> str | None:
        """The answer's JSON, if it was ever given."""
        found = self._execute("SELECT answer FROM answers WHERE request = ?", request)
        return str(found[0][0]) if found else None

    def put(self, request: str, answer: str) -> None:
        """Keep an answer for good."""
        self._execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", request, answer)

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
