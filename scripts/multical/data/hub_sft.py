"""SFT data of the hub in the schema of multical.data.conversations: a seeded choice of rows.

The layouts, and how sure each is ([T] the data set's own card, [R] the study's repository,
[S] others' code, [I] inferred):

- `messages`, a list of {role, content} with roles system, user and assistant:
  `allenai/tulu-3-sft-mixture` [T], and `arazd/tulu_stanford_alpaca`, whose own card says
  nothing: the study's training scripts read this layout [R], hence it has it [I].
- `sharegpt`, `conversations` with {from, value} with system, human and gpt:
  `teknium/OpenHermes-2.5` [S], one JSON file with a list; other keys are not used.
- `alpaca`, instruction, input and output, as in Stanford's own file; the instruction and a
  non-empty input make the user's message, a line break between them: our own design.

Rows are taken in the order of SHA-256("SEED:ROW"), our own design: it is the same on any
machine and in any version, and more examples begin with the fewer. The first good ones are
held out, and the training examples come after them, those that equal a held-out one skipped.

A row is odd if it has no answer, an empty or null message, an unknown role, or turns that
do not alternate. It is an error, or left out and counted, as the config says. An empty
system message says nothing and is dropped. A column that is missing or of another layout
is always an error.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from multical.data import hub_datasets
from multical.data.conversations import Conversation, Message
from multical.data.hub_datasets import OddRowError
from multical.errors import InputError

#: Column of a layout's turns, keys of a turn's role and text
LAYOUTS = {
    "messages": ("messages", "role", "content"),
    "sharegpt": ("conversations", "from", "value"),
}
ROLES = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant",
}  # fmt: skip
ALPACA = ("instruction", "input", "output")
SAME = "the same as one that is held out"


class Rows:
    """The good rows of a split in their seeded order.

    `left_out` counts the others by reason, as far as the rows were read.
    """

    def __init__(
        self,
        repo: str,
        revision: str | None,
        config: str | None,
        split: str,
        layout: str,
        odd_rows: str,
    ) -> None:
        self.part = hub_datasets.split(repo, revision, config, split)
        self.part.needs(ALPACA if layout == "alpaca" else LAYOUTS[layout][:1])
        self.split, self.layout, self.odd_rows = split, layout, odd_rows
        self.left_out: Counter[str] = Counter()

    def chosen(
        self, seed: int, examples: int | None, held_out: int, held: bool
    ) -> Iterator[Conversation]:
        """Yield the held-out conversations, or the training examples.

        `examples` null takes all. Raises `InputError` where there are too few.
        """
        good = self._good(seed)
        aside = list(islice(good, held_out))
        self._enough(len(aside), held_out, "held_out")
        if held:
            yield from aside
            return
        apart = {_text(one) for one in aside}
        count = 0
        while count != examples and (one := next(good, None)) is not None:
            if _text(one) in apart:
                self.left_out[SAME] += 1
                continue
            count += 1
            yield one
        self._enough(count, examples or 1, "examples")

    def _enough(self, found: int, wanted: int, key: str) -> None:
        if found < wanted:
            raise InputError(
                f"{self.part.place}: {key}: found {found} conversations in "
                f"{len(self.part.rows)} rows, expected {wanted}"
            )

    def _good(self, seed: int) -> Iterator[Conversation]:
        for row in order(seed, len(self.part.rows)):
            place = f"{self.part.place}: row {row}"
            try:
                messages = read(self.part.rows[row], self.layout, place)
            except OddRowError as odd:
                if self.odd_rows == "error":
                    where = f"{place}: {self._column()}"
                    remedy = "expected none, or odd_rows: leave_out"
                    raise InputError(f"{where}: found {odd}, {remedy}") from odd
                self.left_out[str(odd)] += 1
                continue
            yield Conversation(id=f"{self.split}.{row}", messages=messages)

    def _column(self) -> str:
        return "output" if self.layout == "alpaca" else LAYOUTS[self.layout][0]


def order(seed: int, count: int) -> list[int]:
    """The numbers below `count` in the seed's order."""
    return sorted(range(count), key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())


def read(row: dict[str, Any], layout: str, place: str) -> list[Message]:
    """The messages of a row; raises `OddRowError`, or `InputError` for another layout."""
    turns = _alpaca(row, place) if layout == "alpaca" else _turns(row, layout, place)
    messages: list[Message] = []
    for role, text in turns:
        if role not in ROLES:
            raise OddRowError("an unknown role")
        if not (text or "").strip():
            if role == "system":
                continue
            raise OddRowError("an empty message")
        messages.append(Message(role=ROLES[role], content=str(text)))
    roles = [message["role"] for message in messages]
    own = roles[1:] if roles[:1] == ["system"] else roles
    if "assistant" not in own:
        raise OddRowError("no answer")
    if own != [("user", "assistant")[i % 2] for i in range(len(own))]:
        raise OddRowError("turns that do not alternate")
    return messages


def _turns(row: dict[str, Any], layout: str, place: str) -> list[tuple[Any, Any]]:
    column, role, text = LAYOUTS[layout]
    turns = row[column]
    if turns is None:
        raise OddRowError("no answer")
    if not isinstance(turns, list) or not all(
        isinstance(turn, dict)
        and {role, text} <= turn.keys()
        and isinstance(turn[role], str | None)
        and isinstance(turn[text], str | None)
        for turn in turns
    ):
        found = json.dumps(turns, default=str)[:80]
        raise InputError(
            f"{place}: {column}: found {found}, expected a list of {role} and {text}, both texts"
        )
    return [(turn[role], turn[text]) for turn in turns]


def _alpaca(row: dict[str, Any], place: str) -> list[tuple[Any, Any]]:
    for name in ALPACA:
        if not isinstance(row[name], str | None):
            raise InputError(f"{place}: {name}: found {row[name]!r}, expected a text")
    question = "\n".join(filter(None, (row["instruction"], row["input"])))
    return [("user", question), ("assistant", row["output"])]


def _text(conversation: Conversation) -> str:
    return json.dumps(conversation["messages"])
