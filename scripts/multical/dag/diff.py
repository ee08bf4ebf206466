"""What differs between two values, key by key, in the words of a config."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

#: Keys of mappings, and places in lists
Path = tuple[str | int, ...]
#: There is no value
NONE: Any = ...
#: Longest text of a value
LONGEST = 60


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Each place where two values differ, with what is there in both, or `NONE`.

    Lists are one value, unless they are equally long and of mappings.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key, NONE), new.get(key, NONE), (*path, key))
    elif _of_mappings(old) and _of_mappings(new) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, (*path, place))
    elif NONE in (old, new) or json.dumps(old) != json.dumps(new):
        yield path, old, new


def _of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def with_value(whole: Any, path: Path, value: Any) -> Any:
    """A copy of nested mappings and lists with another value in one place, or none there."""
    if not path:
        return value
    copy = dict(whole) if isinstance(whole, dict) else list(whole)
    key: Any = path[0]
    if len(path) > 1:
        copy[key] = with_value(copy[key], path[1:], value)
    elif value is NONE:
        del copy[key]
    else:
        copy[key] = value
    return copy


def value_at(whole: Any, path: Path) -> Any:
    """What is in a place of nested mappings and lists, or `NONE`."""
    for key in path:
        try:
            whole = whole[key]
        except (KeyError, IndexError, TypeError):
            return NONE
    return whole


def told(path: Path, old: Any, new: Any) -> str:
    """A difference: `languages +am`, `steps 2 -> 4`, `prompts.long added`."""
    return f"{'.'.join(map(str, path))} {_told(old, new)}"


def _told(old: Any, new: Any) -> str:
    if NONE in (old, new):
        verb, value = ("added", new) if old is NONE else ("removed", old)
        return verb if isinstance(value, dict) else f"{verb}: {_cut(shown(value))}"
    if isinstance(old, list) and isinstance(new, list):
        moved = [f"+{_cut(shown(value))}" for value in new if value not in old]
        moved += [f"-{_cut(shown(value))}" for value in old if value not in new]
        if moved:
            return " ".join(moved)
    return " -> ".join(_from_difference(shown(old), shown(new)))


def _from_difference(old: str, new: str) -> tuple[str, str]:
    """Two texts, cut so that what differs is seen."""
    if max(len(old), len(new)) <= LONGEST:
        return old, new
    pairs = enumerate(zip(old, new, strict=False))
    same = next((place for place, (x, y) in pairs if x != y), min(len(old), len(new)))
    start = max(same - LONGEST // 2, 0)
    dots = "..." if start else ""
    return f"{dots}{_cut(old[start:])}", f"{dots}{_cut(new[start:])}"


def shown(value: Any) -> str:
    """A value as in a config."""
    if isinstance(value, str) and re.fullmatch(r"[\w.-]+", value):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
