"""Types of parameters, and functions that read them.

The sections of config.yaml and the `--params` of programs are the same kind of pydantic model, so
that a wrong value gets the same error sentence in both places.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date
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

#: What a text that matches a pattern is called, by pattern
WORDS: dict[str, str] = {}


def matching(pattern: str, words: str, **options: Any) -> Any:
    """A field for texts that match a pattern, with the words that errors have in its place."""
    WORDS[pattern] = words
    return Field(pattern=pattern, **options)


SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]*"
NAME = f"^{SEGMENT}$"
NAME_WORDS = "a name of letters, digits, points, dashes and underscores"
Name = Annotated[str, matching(NAME, NAME_WORDS)]
BenchmarkName = Annotated[str, matching(NAME, NAME_WORDS, description="name of a benchmark")]
#: No braces, which Snakemake would read as wildcards, and no control characters, which would
#: corrupt its records
LocalPath = Annotated[
    str, matching(r"^[^{}\x00-\x1f\x7f]+$", "a path without braces and control characters")
]
Language = Annotated[
    str,
    matching(r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", "a language code such as en or zh-Hant"),
]


def _number(value: Any) -> Any:
    """Convert a text such as 2e-5 to a number, since YAML 1.1 does not read it as one."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_number)]
Smoothing = Annotated[Number, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32, description="seed of the random numbers")]
LearningRate = Annotated[Number, Field(gt=0, lt=1)]
Options = Annotated[int, Field(ge=2, le=10)] | None
Precision = Annotated[
    Literal["highest", "high", "medium"],
    Field(
        description="precision of float32 matrix products; medium lets bfloat16 units compute them"
    ),
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    Field(description="auto: bfloat16 if the hardware multiplies it, else float32"),
]


def _iso_date(value: Any) -> Any:
    """The text of a date, since YAML reads 2024-07-26 as a date."""
    return value.isoformat() if type(value) is date else value


def _check_date(value: str) -> str:
    date.fromisoformat(value)
    return value


ChatDate = Annotated[
    str,
    BeforeValidator(_iso_date),
    Field(pattern=r"^\d{4}-\d{2}-\d{2}$"),
    AfterValidator(_check_date),
]
ChatFormat = Literal["plain", "tulu", "template", "none"]
#: Formats that mark where an answer ends, which a model has to learn
TrainableFormat = Literal["plain", "tulu", "template"]

Value = TypeVar("Value")


def _distinct(values: list[Value]) -> list[Value]:
    if repeated := twice(values):
        raise ValueError(f"found {repeated[0]!r} twice, expected different values")
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
                    names = sorted(map(str, keys))
                    raise ValueError(f"{word} keys {names}, expected {list(cls.model_fields)}")
        return raw


class BaseOrTuned(Strict):
    """A base model, or an SFT run with its data, smoothing and seed."""

    sft: Name | None = Field(default=None, description="name of the SFT data; null: a base model")
    smoothing: Smoothing | None = Field(
        default=None, description="label smoothing (b) of the SFT run; 0 is none"
    )
    seed: Seed | None = None

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        values = {"sft": self.sft, "smoothing": self.smoothing, "seed": self.seed}
        if len({value is None for value in values.values()}) > 1:
            raise ValueError(f"found {values}, expected all three, or none for a base model")
        return self


def canonical(value: Any) -> str:
    """A JSON text that is the same for equal values: sorted keys, no spaces, no NaN.

    Models are written without the keys that have their default value, so that a new key with a
    default does not change the text of any job.
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
    """Check `raw`, the content of the file or option `name`, and return it as `schema`.

    Raises `InputError` with the first wrong key, its value and the expected value.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(_keys_of(raw, first["loc"]))
        # our own validators say themselves what they found, and a mapping would be too long
        is_shown = first["type"] != "value_error" and not isinstance(first["input"], dict | list)
        found = f"found {first['input']!r}, expected: " if is_shown else ""
        pattern = first.get("ctx", {}).get("pattern", "")
        message = first["msg"].removeprefix("Value error, ")
        reason = found + WORDS.get(pattern, message)
        sentence = ": ".join(filter(None, [name, where, reason]))
        raise InputError(" ".join(sentence.split())) from error


def parse(schema: type[Schema], text: str, option: str = "--params") -> Schema:
    """Check the JSON object in `text`, the value of a program's `option`; return it as `schema`.

    If `text` is `-`, the object is read from the standard input. Raises `InputError` with the same
    sentence that the wrong value would get in config.yaml.
    """
    text = sys.stdin.read() if text == "-" else text
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{option}: found {text!r}, expected a JSON object ({error})") from error
    if not isinstance(raw, dict):
        raise InputError(f"{option}: found {text!r}, expected a JSON object")
    return validated(schema, raw, option)


class Listed(argparse.Action):
    """An option of several words. A single `-` stands for the lines of the standard input."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        words = sys.stdin.read().splitlines() if values == ["-"] else values
        setattr(namespace, self.dest, words)


def command_line(
    description: str | None, schema: type[BaseModel], **files: str
) -> argparse.ArgumentParser:
    """The parser of a program that takes `--params` and files, each in a required option.

    `files` maps names to help texts: `loss_log` makes the option `--loss-log`, which becomes the
    path `args.loss_log`. `args.params` is a `schema`.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--params",
        required=True,
        metavar="JSON",
        type=partial(parse, schema),
        help=f"{schema.__module__}.{schema.__name__}",
    )
    for name, meaning in files.items():
        parser.add_argument(option(name), required=True, metavar="FILE", type=Path, help=meaning)
    return parser


def option(name: str) -> str:
    """The command-line option of a file: `--loss-log` for `loss_log`."""
    return f"--{name.replace('_', '-')}"


def _keys_of(raw: Any, loc: tuple[int | str, ...]) -> Iterator[str]:
    """The keys in pydantic's error location `loc`, without its entries for members of unions."""
    for part in loc:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            continue
        yield str(part)
