"""The canonical JSON object of config keys that a script takes as `--params`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from multical.errors import InputError


def parse(text: str) -> dict[str, Any]:
    """The JSON object in `text`; raises `InputError` for anything else."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--params: {text!r}, expected a JSON object ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"--params: {text!r}, expected a JSON object")
    return found


def check(
    params: Mapping[str, Any], kinds: Mapping[str, type], optional: Collection[str] = ()
) -> None:
    """Raise `InputError` unless `params` has exactly the keys of `kinds`, of their types.

    Those in `optional` may be missing. A list must hold different texts, at least one.
    """
    missing = sorted(set(kinds) - set(params) - set(optional))
    unknown = sorted(set(params) - set(kinds))
    if missing or unknown:
        raise InputError(f"--params: missing keys {missing}, unknown keys {unknown}")
    for key, value in params.items():
        if type(value) is not kinds[key]:
            raise InputError(f"--params: {key}: {value!r}, expected a {kinds[key].__name__}")
        if isinstance(value, list) and not _is_names(value):
            raise InputError(f"--params: {key}: {value!r}, expected different texts")


def _is_names(values: list[Any]) -> bool:
    return (
        bool(values)
        and all(isinstance(value, str) and value for value in values)
        and len(set(values)) == len(values)
    )
