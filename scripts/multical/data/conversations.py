"""Conversations: the schema of all SFT data, and functions to read, check and write them.

SFT data are a JSON Lines file with one conversation per line, `{"id": str, "messages": [...]}`. A
message is `{"role": "system" | "user" | "assistant", "content": str}`. After an optional system
message, user and assistant take turns, starting with the user. The last message may be of either.
At least one message of the assistant must have content to learn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

from multical import jsonl
from multical.errors import InputError
from multical.files import atomic


class Message(TypedDict):
    """One message of a conversation."""

    role: str
    content: str


class Conversation(TypedDict):
    """One training example."""

    id: str
    messages: list[Message]


def read(path: str | Path) -> list[Conversation]:
    """Read and check conversations. Raises `InputError` with the file and line."""
    return list(_checked(jsonl.read(path), path))


def place(path: str | Path, number: int) -> str:
    """The file and line of a conversation, from its number in what `read` returns."""
    line, _ = next(islice(jsonl.read(path), number, None))
    return f"{path}: {line}"


def write(path: str | Path, conversations: Iterable[Conversation]) -> None:
    """Check conversations and write them in their order. Equal conversations give equal bytes.

    This takes them one by one, so that a million of them need not be in memory.
    """
    places = ((f"row {i}", value) for i, value in enumerate(conversations))
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        for value in _checked(places, path):
            stream.write(json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n")


def _checked(values: Iterable[tuple[str, Any]], path: str | Path) -> Iterator[Conversation]:
    seen: dict[str, str] = {}
    for place, value in values:
        _check(value, f"{path}: {place}")
        if value["id"] in seen:
            raise InputError(f"{path}: {place}: id {value['id']!r} was in {seen[value['id']]}")
        seen[value["id"]] = place
        yield value
    if not seen:
        raise InputError(f"{path}: found no conversations, expected at least one")


def _check(value: Any, place: str) -> None:
    if not isinstance(value, dict) or set(value) != {"id", "messages"}:
        found = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{place}: found {found}, expected an object with id and messages")
    if not isinstance(value["id"], str) or not value["id"]:
        raise InputError(f"{place}: id: found {value['id']!r}, expected a text")
    _check_text(value["id"], f"{place}: id")
    messages = value["messages"]
    if not isinstance(messages, list) or not messages:
        raise InputError(f"{place}: messages: found {messages!r}, expected a list of messages")
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise InputError(f"{place}: message {i}: expected an object with role and content")
        if not isinstance(message["content"], str):
            found = message["content"]
            raise InputError(f"{place}: message {i}: content: found {found!r}, expected a text")
        _check_text(message["content"], f"{place}: message {i}: content")
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if turns != [("user", "assistant")[i % 2] for i in range(len(turns))]:
        raise InputError(
            f"{place}: found roles {roles}, expected user and assistant in turn "
            "after an optional system message"
        )
    if not any(m["role"] == "assistant" and m["content"].strip() for m in messages):
        raise InputError(f"{place}: found no assistant message with content, expected one")


def _check_text(text: str, place: str) -> None:
    """Raise `InputError` for a lone surrogate, which JSON can write as an escape."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"\\u{ord(text[error.start]):04x} at character {error.start}"
        raise InputError(
            f"{place}: found {found}, half of a surrogate pair, expected a character"
        ) from error
