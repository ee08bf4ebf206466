"""Conversations: the schema of all SFT data, and functions to read, check and write them.

SFT data are a JSON Lines file with one conversation per line, `{"id": str, "messages": [...]}`. A
message is `{"role": "system" | "user" | "assistant", "content": str}`. After an optional system
message, user and assistant take turns, starting with the user. The last message may be of either.
There is at least one message of the assistant, and all of them have content to learn. A file of
one's own may lack the ids; they are then the numbers of the lines.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypedDict

from multical import jsonl
from multical.data.odd_rows import OddRowError, OddRows, broken, shown
from multical.errors import InputError
from multical.files import atomic

#: The kind of odd rows that are always left out, by all sources
EMPTY_ANSWER = "an empty answer"
#: Why a conversation is left out of the training examples
SAME = "the same as one that is held out"


class Message(TypedDict):
    """One message of a conversation."""

    role: str
    content: str


class Conversation(TypedDict):
    """One training example."""

    id: str
    messages: list[Message]


def read(path: str | Path, odd: OddRows | None = None) -> list[Conversation]:
    """Read and check conversations. Raises `InputError` with the file and all bad lines.

    `odd` may leave out lines that are no valid conversation.
    """
    return list(_checked(jsonl.lines(path), path, odd or OddRows()))


def write(path: str | Path, conversations: Iterable[Conversation]) -> None:
    """Check conversations and write them in their order. Equal conversations give equal bytes.

    This takes them one by one, so that a million of them need not be in memory.
    """
    places = ((f"row {i}", value) for i, value in enumerate(conversations))
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        for value in _checked(places, path, OddRows()):
            stream.write(json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n")


def part(
    conversations: Sequence[Conversation], held_out: int, yield_held_out: bool, where: str | Path
) -> tuple[list[Conversation], int]:
    """The held-out conversations, or the others; and the number of others that equal one of them.

    Held out are the first in the order of `order` with seed 0. The others keep their order.
    """
    if not (held_out or yield_held_out):
        return [*conversations], 0
    if held_out >= len(conversations):
        raise InputError(
            f"{where}: held_out: found {held_out} of {len(conversations)} conversations, "
            "expected fewer"
        )
    aside = order(0, len(conversations))[:held_out]
    chosen = [conversations[i] for i in aside]
    if yield_held_out:
        return chosen, 0
    numbers, texts = set(aside), set(map(content, chosen))
    rest = [one for i, one in enumerate(conversations) if i not in numbers]
    others = [one for one in rest if content(one) not in texts]
    return others, len(rest) - len(others)


def order(seed: int, count: int) -> list[int]:
    """The numbers below `count` in the order of SHA-256("SEED:NUMBER")."""
    return sorted(range(count), key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())


def content(conversation: Conversation) -> str:
    """What is said in a conversation, to compare it with others."""
    return json.dumps(conversation["messages"])


def check_turns(roles: Sequence[str]) -> None:
    """Raise `OddRowError` unless user and assistant take turns after a system message, if any."""
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if turns and turns == [("user", "assistant")[i % 2] for i in range(len(turns))]:
        kind = None if len(turns) > 1 else "no answer"
    elif not {*roles} <= {"system", "user", "assistant"}:
        kind = "an unknown role"
    else:
        kind = "turns that do not alternate" if "assistant" in turns else "no answer"
    if kind:
        expected = "user and assistant in turn after an optional system message"
        raise OddRowError(kind, f"found roles {shown(roles)}, expected {expected}")


def empty(role: str | None, place: str) -> NoReturn:
    """Raise the `OddRowError` of a message at `place` without content."""
    kind = EMPTY_ANSWER if role == "assistant" else "an empty message"
    leave_out: Literal["always", "asked"] = "always" if role == "assistant" else "asked"
    raise OddRowError(kind, f"{place}: found {kind}, expected a text", leave_out)


def _checked(
    values: Iterable[tuple[str, Any]], path: str | Path, odd: OddRows
) -> Iterator[Conversation]:
    """The valid conversations; each value is one, or a line of JSON."""
    seen: dict[str, str] = {}
    for place, value in values:
        try:
            value = jsonl.parse(value) if isinstance(value, str) else value
            conversation = _conversation(value, place)
            name = conversation["id"]
            if (first := seen.setdefault(name, place)) != place:
                raise broken("an id that occurs twice", f"id {name!r} was in {first}")
        except OddRowError as error:
            odd.add(str(path), place, error)
        except ValueError as error:
            odd.add(str(path), place, broken("not JSON", str(error)))
        else:
            yield conversation
    odd.check()
    if not seen:
        but = f" but odd rows: {odd.told()}" if odd.rows else ""
        raise InputError(f"{path}: found no conversations{but}, expected at least one")


def _conversation(value: Any, place: str) -> Conversation:
    if not isinstance(value, dict) or not {"messages"} <= set(value) <= {"id", "messages"}:
        found = sorted(value) if isinstance(value, dict) else type(value).__name__
        message = f"found {shown(found)}, expected an object with messages, and id if there is one"
        raise broken("another object", message)
    name = value.get("id", place.replace(" ", "."))
    if not isinstance(name, str) or not name:
        raise broken("a bad id", f"id: found {shown(name)}, expected a text, or no id")
    messages = value["messages"]
    if not isinstance(messages, list):
        message = f"messages: found {shown(messages)}, expected a list of messages"
        raise broken("no messages", message)
    for i, one in enumerate(messages):
        _check_message(one, f"message {i}")
    check_turns([one["role"] for one in messages])
    return Conversation(id=name, messages=messages)


def _check_message(message: Any, place: str) -> None:
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        raise broken("another message", f"{place}: expected an object with role and content")
    role, said = message["role"], message["content"]
    if not isinstance(role, str | None):
        raise broken("no text", f"{place}: role: found {shown(role)}, expected a text")
    if not isinstance(said, str | None):
        raise broken("no text", f"{place}: content: found {shown(said)}, expected a text")
    if said is None or (role == "assistant" and not said.strip()):
        empty(role, place)
