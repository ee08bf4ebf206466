"""Checks a YAML file against its typed schema, and says in one sentence what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from multical.errors import InputError

Schema = TypeVar("Schema", bound=BaseModel)


def validated(schema: type[Schema], raw: Any, name: str) -> Schema:
    """`raw`, as read from the file that is called `name`, as its schema.

    Raises `InputError` naming the first key that is wrong, what was found there and
    what was expected.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(_keys_of(raw, first["loc"]))
        own = first["type"] == "value_error"  # says itself what was found
        said = isinstance(first["input"], dict | list) or own
        found = "" if said else f"found {first['input']!r}, expected: "
        reason = found + first["msg"].removeprefix("Value error, ")
        sentence = ": ".join(filter(None, [name, where, reason]))
        raise InputError(" ".join(sentence.split())) from error


def _keys_of(raw: Any, loc: tuple[int | str, ...]) -> Iterator[str]:
    """The keys of `raw` in pydantic's location, which holds kinds of unions too."""
    for part in loc:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            continue
        yield str(part)
