"""Typed parameters: strict mappings, names and ranges, and the one way to read them.

What config.yaml holds and what a program takes as `--params` are models of the same kind, so
that a wrong value gets the same sentence from both.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from multical.errors import InputError

SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]*"
NAME = f"^{SEGMENT}$"
Name = Annotated[str, Field(pattern=NAME)]
#: Braces would be wildcards to Snakemake, and control characters tear its records apart
LocalPath = Annotated[str, Field(pattern=r"^[^{}\x00-\x1f\x7f]+$")]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]


def _number(value: Any) -> Any:
    """A text such as 2e-5, which YAML 1.1 does not read as a number, as that number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_number)]
Smoothing = Annotated[Number, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LearningRate = Annotated[Number, Field(gt=0, lt=1)]
Options = Annotated[int, Field(ge=2, le=10)] | None
Precision = Literal["highest", "high", "medium"]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    Field(description="auto: bfloat16 where the hardware multiplies it, else float32"),
]
ChatFormat = Literal["plain", "tulu", "template", "none"]
#: Those that mark where an answer ends, which a model has to learn
TrainableFormat = Literal["plain", "tulu", "template"]

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

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

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


class BaseOrTuned(Strict):
    """A base model, or an SFT run: what it was tuned on, with which smoothing and seed."""

    sft: Name | None = Field(default=None, description="SFT data; null for a base model")
    smoothing: Smoothing | None = None
    seed: Seed | None = None

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        found = {"sft": self.sft, "smoothing": self.smoothing, "seed": self.seed}
        if len({value is None for value in found.values()}) > 1:
            raise ValueError(f"found {found}, expected all three, or none for a base model")
        return self


def canonical(value: Any) -> str:
    """The one JSON text of all values equal to `value`: sorted keys, no spaces, no NaN.

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


def parse(schema: type[Schema], text: str, option: str = "--params") -> Schema:
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


def command_line(
    description: str | None, schema: type[BaseModel], **files: str
) -> argparse.ArgumentParser:
    """The parser of a program with `--params`, and a required option for each of its files.

    `args.params` is the schema; the file of the option `--loss-log` is `args.loss_log`, a path.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    named = f"{schema.__module__}.{schema.__name__}"
    parser.add_argument(
        "--params", required=True, metavar="JSON", type=partial(parse, schema), help=named
    )
    for name, meaning in files.items():
        parser.add_argument(option(name), required=True, metavar="FILE", type=Path, help=meaning)
    return parser


def option(name: str) -> str:
    """The command-line option of a file: `--loss-log` of `loss_log`."""
    return f"--{name.replace('_', '-')}"


def _keys_of(raw: Any, loc: tuple[int | str, ...]) -> Iterator[str]:
    """The keys of `raw` in pydantic's location, which holds kinds of unions too."""
    for part in loc:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            continue
        yield str(part)
