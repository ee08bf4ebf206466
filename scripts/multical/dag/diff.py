"""Differences between two nested values, key by key, and how to word them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

#: Where a value is: keys of mappings, and positions in lists
KeyPath = tuple[str | int, ...]
#: Stands for a value that is missing
ABSENT: Any = ...
#: Longest text of a value, in characters
LONGEST = 60


def differences(old: Any, new: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Each place where two values differ, with both values there, or `ABSENT`.

    Lists are one value, unless they are equally long and hold mappings.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key))
    elif _of_mappings(old) and _of_mappings(new) and len(old) == len(new):
        for position, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, (*path, position))
    elif ABSENT in (old, new) or json.dumps(old) != json.dumps(new):
        yield path, old, new


def _of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def with_value(tree: Any, path: KeyPath, value: Any) -> Any:
    """A copy of nested mappings and lists with one value replaced; `ABSENT` removes it."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    key: Any = path[0]
    if len(path) > 1:
        copy[key] = with_value(copy[key], path[1:], value)
    elif value is ABSENT:
        del copy[key]
    else:
        copy[key] = value
    return copy


def value_at(tree: Any, path: KeyPath) -> Any:
    """The value at a path in nested mappings and lists, or `ABSENT`."""
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return tree


def describe(path: KeyPath, old: Any, new: Any) -> str:
    """A difference in words: `languages +am`, `steps 2 -> 4`, `prompts.long added`."""
    return f"{'.'.join(map(str, path))} {_change(old, new)}"


def _change(old: Any, new: Any) -> str:
    if ABSENT in (old, new):
        verb, value = ("added", new) if old is ABSENT else ("removed", old)
        return verb if isinstance(value, dict) else f"{verb}: {_cut(as_text(value))}"
    if isinstance(old, list) and isinstance(new, list):
        changes = [f"+{_cut(as_text(value))}" for value in new if value not in old]
        changes += [f"-{_cut(as_text(value))}" for value in old if value not in new]
        if changes:
            return " ".join(changes)
    texts = as_text(old), as_text(new)
    start = 0
    if max(map(len, texts)) > LONGEST:  # show where they begin to differ
        common = os.path.commonprefix(texts)  # noqa: RUF071  texts, not paths
        start = max(len(common) - LONGEST // 2, 0)
    return " -> ".join("..." * bool(start) + _cut(text[start:]) for text in texts)


def as_text(value: Any) -> str:
    """A value as JSON, or a plain word as it is."""
    if isinstance(value, str) and re.fullmatch(r"[\w.-]+", value):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
