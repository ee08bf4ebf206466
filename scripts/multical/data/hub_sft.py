"""SFT data from the hub in the schema of multical.data.conversations: a random choice of rows.

There are three layouts. We know them from different sources ([T] the card of the data set, [R] the
repository of paper 1, [S] code of others, [I] inferred):

- `messages`, a list of {role, content} with the roles system, user and assistant:
  `allenai/tulu-3-sft-mixture` [T], and `arazd/tulu_stanford_alpaca`. The card of the latter does
  not describe the layout, but the training scripts of paper 1 read it [R], so that we infer it [I].
- `sharegpt`, `conversations` with {from, value} and the roles system, human and gpt:
  `teknium/OpenHermes-2.5` [S], one JSON file with a list. We do not use its other keys.
- `alpaca`, instruction, input and output, as in Stanford's file. The message of the user is the
  instruction, followed by a line break and the input if that is not empty: our own design.

We take rows in the order of SHA-256("SEED:ROW"): our own design. This order is the same on all
machines and in all versions, and a larger number of examples starts with the same examples. The
first valid rows are held out. The training examples come after them, without those that equal a
held-out conversation.

A row is odd if it has no answer, an empty or null message, an unknown role, or turns that do not
alternate. Depending on the config, an odd row is an error, or it is left out and counted. An empty
system message is dropped. A missing column, or a column with another layout, is always an error.
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

#: By layout, the column with the turns, and the keys of the role and text of a turn
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
    """The valid rows of a split in random order.

    `left_out` counts the other rows by reason, among the rows read so far.
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
        self, seed: int, examples: int | None, held_out: int, yield_held_out: bool
    ) -> Iterator[Conversation]:
        """Yield the held-out conversations, or the training examples.

        If `examples` is None, yields all. Raises `InputError` if there are too few.
        """
        valid = self._valid(seed)
        first = list(islice(valid, held_out))
        self._check_number(len(first), held_out, "held_out")
        if yield_held_out:
            yield from first
            return
        held_out_texts = {_text(conversation) for conversation in first}
        count = 0
        while count != examples and (conversation := next(valid, None)) is not None:
            if _text(conversation) in held_out_texts:
                self.left_out[SAME] += 1
                continue
            count += 1
            yield conversation
        self._check_number(count, examples or 1, "examples")

    def _check_number(self, count: int, expected: int, key: str) -> None:
        if count < expected:
            raise InputError(
                f"{self.part.place}: {key}: found {count} conversations in "
                f"{len(self.part.rows)} rows, expected {expected}"
            )

    def _valid(self, seed: int) -> Iterator[Conversation]:
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
    """The numbers below `count` in the random order of the seed."""
    return sorted(range(count), key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())


def read(row: dict[str, Any], layout: str, place: str) -> list[Message]:
    """The messages of a row. Raises `OddRowError`, or `InputError` for another layout."""
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
    speakers = roles[1:] if roles[:1] == ["system"] else roles
    if "assistant" not in speakers:
        raise OddRowError("no answer")
    if speakers != [("user", "assistant")[i % 2] for i in range(len(speakers))]:
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
