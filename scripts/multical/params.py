"""Typed parameters: strict mappings, names and ranges, and the one way that they are read.

What config.yaml holds and what a program takes as `--params` are models of the same kind, so
that a wrong value gets the same sentence from both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from multical.errors import InputError

SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]*"
NAME = f"^{SEGMENT}$"
Name = Annotated[str, Field(pattern=NAME)]
#: Braces would be wildcards to Snakemake, and control characters tear its records apart
LocalPath = Annotated[str, Field(pattern=r"^[^{}\x00-\x1f\x7f]+$")]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
Smoothing = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LearningRate = Annotated[float, Field(gt=0, lt=1)]
Options = Annotated[int, Field(ge=2, le=10)] | None
Precision = Literal["highest", "high", "medium"]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    Field(description="auto: bfloat16 where the hardware multiplies it, else float32"),
]
ChatFormat = Literal["plain", "tulu", "template", "none"]

Value = TypeVar("Value")


def _distinct(values: list[Value]) -> list[Value]:
    if again := twice(values):
        raise ValueError(f"found {again[0]!r} twice, expected different values")
    return values


def twice(values: list[Any]) -> list[Any]:
    """The values that occur more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


Distinct = Annotated[
    list[Value], AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})
]


class Strict(BaseModel):
    """A mapping of known keys to finite numbers and other values."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            required = {key for key, field in cls.model_fields.items() if field.is_required()}
            for word, keys in (
                ("unknown", raw.keys() - cls.model_fields.keys()),
                ("missing", required - raw.keys()),
            ):
                if keys:
                    found = sorted(map(str, keys))
                    raise ValueError(f"{word} keys {found}, expected {list(cls.model_fields)}")
        return raw


def canonical(value: Any) -> str:
    """`value` as the one JSON text that all equal values share: sorted keys, no spaces, no NaN.

    Models in it are written without the keys that have their defaults, so that a new key with a
    default changes the text of no job.
    """
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
        default=_plain,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    raise TypeError(f"{value!r}: found {type(value).__name__}, expected a model or plain data")


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


def parse_as(schema: type[Schema], text: str, option: str = "--params") -> Schema:
    """The JSON object in `text`, given as a program's `option`, as its schema.

    Raises `InputError` with the sentence that the same wrong value gets in config.yaml.
    """
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{option}: found {text!r}, expected a JSON object ({error})") from error
    if not isinstance(raw, dict):
        raise InputError(f"{option}: found {text!r}, expected a JSON object")
    return validated(schema, raw, option)


def _keys_of(raw: Any, loc: tuple[int | str, ...]) -> Iterator[str]:
    """The keys of `raw` in pydantic's location, which holds kinds of unions too."""
    for part in loc:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            continue
        yield str(part)


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
