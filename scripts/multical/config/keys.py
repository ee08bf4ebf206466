"""A page on the keys of the config: `python -m multical.config.keys` prints config/README.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from multical.config.schema import Config
from multical.params import NAME, Language

HEAD = """\
# The config

You edit `config.yaml`. Its `include` lists the files of this folder, which are sorted by subject.
To change one of their keys, set it in `config.yaml`, below the same parent keys:

    studies:
      results/demo:
        training:
          learning_rate: 1.0e-4

A list replaces the earlier list as a whole. It is an error if two included files set a key to
different values. Snakemake's `--configfile FILE` and `--config KEY=VALUE` override all files.

Your own models, data and studies can go into `config/local.yaml`, which git ignores. It is read if
it exists. It only adds: an entry of the same name in another file is an error, and its languages
join those of `resource_levels`.

| file | content |
|---|---|
| `demo.yaml` | `results/demo`, `results/smoke`, `results/demo/msp`, and their models and data |
| `lite.yaml` | `results/lite`: paper 1 for one GPU, and its model and SFT data |
| `models.yaml` | models from the Hugging Face hub and behind APIs |
| `benchmarks.yaml` | benchmarks and SFT data from the hub |
| `languages.yaml` | resource levels of languages |
| `prompts.yaml` | the texts that models see |
| `paper1.yaml` | `results`: paper 1 |
| `paper2.yaml` | `results/msp` and `results/msp_v2`, and their variants: paper 2 |

The tables below list all keys. You must set a key that has no default. To update this page from
the schema, run `python -m multical.config.keys > ../config/README.md` in `scripts/`.
"""
TABLE = "| key | type | default | meaning |\n|---|---|---|---|"
REF = "#/$defs/"
#: Meanings of the keys that have no description in the schema
MEANINGS = {"kind": "chooses this table of keys"}
PATTERNS = {NAME: "name", TypeAdapter(Language).json_schema()["pattern"]: "language code"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
TYPES = {
    "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false",
    "null": "null", "object": "mapping",
}  # fmt: skip


def page() -> str:
    """The whole page, in Markdown."""
    schema = Config.model_json_schema()
    classes: dict[str, Any] = schema["$defs"]
    names = dict.fromkeys(_references(schema, classes))
    sections = [_section("The first level", schema, classes)]
    sections += [_section(_title(name), classes[name], classes) for name in names]
    return "\n".join([HEAD, *sections])


def _references(schema: Any, classes: dict[str, Any]) -> Iterator[str]:
    """The names of all classes in a JSON schema, each followed by the classes in its own schema."""
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item, classes)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(REF)
            yield name
            yield from _references(classes[name], classes)
        for key, value in schema.items():
            if key != "$defs":
                yield from _references(value, classes)


def _section(title: str, schema: dict[str, Any], classes: dict[str, Any]) -> str:
    rows = [_row(key, schema, classes) for key in schema["properties"]]
    return "\n".join([f"## {title}", schema["description"], "", TABLE, *rows, ""])


def _row(key: str, schema: dict[str, Any], classes: dict[str, Any]) -> str:
    field = schema["properties"][key]
    default = ""
    if key not in schema.get("required", []):
        value = field.get("default")
        default = "see there" if value and "$ref" in field else f"`{json.dumps(value)}`"
    cells = [f"`{key}`", _type(field), default, _meaning(key, field, classes)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _meaning(key: str, field: dict[str, Any], classes: dict[str, Any]) -> str:
    """The description of a key, or else of the type or class of its value.

    Raises `KeyError` for a key without a description.
    """
    for schema in [field, *field.get("anyOf", []), field.get("items", {})]:
        target = classes[schema["$ref"].removeprefix(REF)] if "$ref" in schema else {}
        if text := schema.get("description") or target.get("description"):
            return " ".join(text.split("\n\n")[0].split())
    return MEANINGS[key]


def _type(field: dict[str, Any]) -> str:
    """The type of a key's value, in words."""
    if "$ref" in field:
        title = _title(field["$ref"].removeprefix(REF))
        return f"[{title}](#{title.lower().replace(' ', '-')})"
    if members := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_type, members)))
    if "const" in field or "enum" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    pattern_values = next(iter(field.get("patternProperties", {}).values()), None)
    values = pattern_values or field.get("additionalProperties")
    if isinstance(values, dict):
        return f"mapping to {_type(values)}"
    word = PATTERNS.get(field.get("pattern", "")) or TYPES[field["type"]]
    bounds = [f"{sign} {field[key]:.10g}" for key, sign in BOUNDS.items() if key in field]
    return " ".join([word, " and ".join(bounds)]).strip()


def _title(name: str) -> str:
    """The name of a class in words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).capitalize()


if __name__ == "__main__":
    print(page(), end="")
