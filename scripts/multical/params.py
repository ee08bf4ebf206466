"""The canonical JSON object of config keys that a script takes as `--params`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from multical.errors import InputError

#: Keys and the type of each value, or its types. They are meant exactly: true is no int.
Kinds = Mapping[str, type | tuple[type, ...]]


def read(text: str, kinds: Kinds, optional: Collection[str] = ()) -> dict[str, Any]:
    """`parse` and `check` in one."""
    found = parse(text)
    check(found, kinds, optional)
    return found


def parse(text: str) -> dict[str, Any]:
    """The JSON object in `text`; raises `InputError` for anything else."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--params: {text!r}, expected a JSON object ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"--params: {text!r}, expected a JSON object")
    return found


def check(params: Mapping[str, Any], kinds: Kinds, optional: Collection[str] = ()) -> None:
    """Raise `InputError` unless `params` has exactly the keys of `kinds`, of their types.

    Those in `optional` may be missing. A list must hold different texts, at least one.
    """
    missing = sorted(set(kinds) - set(params) - set(optional))
    unknown = sorted(set(params) - set(kinds))
    if missing or unknown:
        raise InputError(
            f"--params: missing keys {missing}, unknown keys {unknown}, expected {sorted(kinds)}"
        )
    for key, value in params.items():
        kind = kinds[key]
        wanted = kind if isinstance(kind, tuple) else (kind,)
        if type(value) not in wanted:
            named = " or ".join(NAMES.get(one, one.__name__) for one in wanted)
            raise InputError(f"--params: {key}: {value!r}, expected {named}")
        if isinstance(value, list) and not _is_names(value):
            raise InputError(f"--params: {key}: {value!r}, expected different texts")


def known(key: str, found: Collection[Any], names: Collection[str]) -> None:
    """Raise `InputError` unless `found`, the value of `key`, holds some of `names` alone."""
    odd = [name for name in found if name not in names]
    if odd or not found:
        raise InputError(f"--params: {key}: {odd or found}, expected some of {list(names)}")


NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number with a decimal point",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def _is_names(values: list[Any]) -> bool:
    return (
        bool(values)
        and all(isinstance(value, str) and value for value in values)
        and len(set(values)) == len(values)
    )
