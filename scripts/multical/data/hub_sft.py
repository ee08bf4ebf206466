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
alternate. Depending on the config, an odd row is an error, or it is left out and counted. A row
with an empty answer is always left out. An empty system message is dropped. A missing column, or a
column with another layout, is always an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from multical.data import hub_datasets
from multical.data.conversations import (
    Conversation,
    Message,
    check_turns,
    content,
    empty,
    order,
)
from multical.data.odd_rows import OddRowError, OddRows, shown
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


class Rows:
    """The valid rows of a split in random order.

    `odd` has the other rows, among the rows read so far, and `same` counts those that equal a
    held-out conversation.
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
        self.split, self.layout, self.odd, self.same = split, layout, OddRows(odd_rows), 0

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
        held_out_texts = {content(conversation) for conversation in first}
        count = 0
        while count != examples and (conversation := next(valid, None)) is not None:
            if content(conversation) in held_out_texts:
                self.same += 1
                continue
            count += 1
            yield conversation
        self._check_number(count, examples or 1, "examples")

    def _check_number(self, count: int, expected: int, key: str) -> None:
        self.odd.check()
        if count < expected:
            raise InputError(
                f"{self.part.place}: {key}: found {count} conversations in "
                f"{len(self.part.rows)} rows, expected {expected}"
            )

    def _valid(self, seed: int) -> Iterator[Conversation]:
        for number in order(seed, len(self.part.rows)):
            place = f"row {number}"
            try:
                where = f"{self.part.place}: {place}"
                messages = read(self.part.rows[number], self.layout, where)
            except OddRowError as odd:
                self.odd.add(self.part.place, place, odd)
                continue
            yield Conversation(id=f"{self.split}.{number}", messages=messages)


def read(row: dict[str, Any], layout: str, place: str) -> list[Message]:
    """The messages of a row. Raises `OddRowError`, or `InputError` for another layout."""
    turns = _alpaca(row, place) if layout == "alpaca" else _turns(row, layout, place)
    messages: list[Message] = []
    for i, (name, said) in enumerate(turns):
        if name not in ROLES:
            raise OddRowError("an unknown role", f"message {i}: found role {shown(name)}")
        role = ROLES[name]
        if not (said or "").strip():
            if role == "system":
                continue
            empty(role, f"message {i}")
        messages.append(Message(role=role, content=str(said)))
    check_turns([message["role"] for message in messages])
    return messages


def _turns(row: dict[str, Any], layout: str, place: str) -> list[tuple[Any, Any]]:
    column, role, text = LAYOUTS[layout]
    turns = row[column]
    if turns is None:
        raise OddRowError("no answer", f"{column}: found null, expected a list of messages")
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
