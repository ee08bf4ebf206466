"""The keys of the config as a page: `python -m multical.config.keys` prints config/README.md."""

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

`config.yaml` is the file that you edit. Its `include` lists the files of this folder, one a
subject. To change a key of theirs, give it again in `config.yaml`, with all keys above it:

    studies:
      results/demo:
        training:
          learning_rate: 1.0e-4

Lists are replaced as a whole. Two included files that give one key different values are refused.
Snakemake's `--configfile FILE` and `--config KEY=VALUE` go over all files.

| file | what is in it |
|---|---|
| `demo.yaml` | `results/demo`, `results/smoke`, `results/demo/msp`, their models and data |
| `models.yaml` | models of the hub and behind APIs |
| `benchmarks.yaml` | benchmarks and SFT data of the hub |
| `languages.yaml` | resource levels of languages |
| `prompts.yaml` | the texts that models are shown |
| `paper1.yaml` | `results`: paper 1 |
| `paper2.yaml` | `results/msp` and its variants, `results/msp_v2`: paper 2 |

Below are all keys, as `python -m multical.config.keys` (in `scripts/`) prints them from the
schema. A key without a default must be given.
"""
TABLE = "| key | type | default | meaning |\n|---|---|---|---|"
REF = "#/$defs/"
#: What keys mean that say it in no class of theirs
MEANINGS = {
    "benchmark": "name of a benchmark",
    "benchmarks": "names of benchmarks",
    "bins": "number of bins of calibration errors",
    "commit": "full hash of the commit",
    "confidences": "the confidences to compare",
    "currency": "of the prices",
    "epochs": "passes over the data; give either this or `steps`",
    "held_out": "fraction of the territories that are asked about and not trained on",
    "id": "what names of files have for the data set",
    "input": "of what is sent",
    "kind": "chooses this table of keys",
    "kinds": "kinds of facts",
    "ks": "numbers of labelled questions a data set; half: half of them",
    "language": "the language of its questions",
    "languages": "the languages of its questions",
    "level": "of confidence intervals",
    "matmul_precision": "of float32 matrix products: medium lets bfloat16 units do them",
    "metrics": "the metrics to compute",
    "model": "name of the model",
    "models": "names of models",
    "multiple_choice": "the text with the options, for letters",
    "name": "as in tables and figures",
    "output": "of what comes back",
    "packages": "NAME==VERSION of each package",
    "path": "where it lies",
    "prompt": "name of a prompt",
    "prompts": "names of prompts",
    "questions": "number of questions",
    "questions_per_language": "at most so many",
    "readout": "the readout that figures show",
    "readouts": "how answers and confidences are read off the scores",
    "reference_language": "the language that others are compared with",
    "replicates": "number of resamplings",
    "repo": "OWNER/NAME on the hub",
    "repository": "URL of the repository",
    "seed": "of random numbers",
    "seeds": "one run for each of these seeds",
    "sft": "name of the SFT data",
    "sft_data": "names of SFT data",
    "significance": "level under which a p-value is marked as significant",
    "smoothing": "label smoothing (b) of SFT runs; 0 is none",
    "source": "where it comes from",
    "split": "of the data set on the hub",
    "steps": "optimizer steps; give either this or `epochs`",
    "weight_decay": "of AdamW",
}
PATTERNS = {NAME: "name", TypeAdapter(Language).json_schema()["pattern"]: "language code"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
TYPES = {
    "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false",
    "null": "null", "object": "mapping",
}  # fmt: skip


def page() -> str:
    """The whole page."""
    whole = Config.model_json_schema()
    parts: dict[str, Any] = whole["$defs"]
    found = list(dict.fromkeys(_references(whole, parts)))
    sections = [_section("The first level", whole, parts)]
    sections += [_section(_title(name), parts[name], parts) for name in found]
    return "\n".join([HEAD, *sections])


def _references(part: Any, parts: dict[str, Any]) -> Iterator[str]:
    """The names of the parts that a part is made of, each before its own."""
    if isinstance(part, list):
        for one in part:
            yield from _references(one, parts)
    elif isinstance(part, dict):
        if "$ref" in part:
            name = part["$ref"].removeprefix(REF)
            yield name
            yield from _references(parts[name], parts)
        for key, one in part.items():
            if key != "$defs":
                yield from _references(one, parts)


def _section(title: str, part: dict[str, Any], parts: dict[str, Any]) -> str:
    rows = [_row(key, part, parts) for key in part["properties"]]
    return "\n".join([f"## {title}", part["description"], "", TABLE, *rows, ""])


def _row(key: str, part: dict[str, Any], parts: dict[str, Any]) -> str:
    field = part["properties"][key]
    default = ""
    if key not in part.get("required", []):
        value = field.get("default")
        default = "its own" if value and "$ref" in field else f"`{json.dumps(value)}`"
    cells = [f"`{key}`", _type(field), default, _meaning(key, field, parts)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _meaning(key: str, field: dict[str, Any], parts: dict[str, Any]) -> str:
    """What a key says of itself, else what the part behind it says, else `MEANINGS`.

    Raises `KeyError` for a key that says nothing anywhere.
    """
    for one in [field, *field.get("anyOf", []), field.get("items", {})]:
        part = parts[one["$ref"].removeprefix(REF)] if "$ref" in one else {}
        if text := one.get("description") or part.get("description"):
            return " ".join(text.split("\n\n")[0].split())
    return MEANINGS[key]


def _type(field: dict[str, Any]) -> str:
    """What a key may hold, in words."""
    if "$ref" in field:
        title = _title(field["$ref"].removeprefix(REF))
        return f"[{title}](#{title.lower().replace(' ', '-')})"
    if several := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_type, several)))
    if "const" in field or "enum" in field:
        return " or ".join(f"`{one}`" for one in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    inner = next(iter(field.get("patternProperties", {}).values()), None)
    if isinstance(inner := inner or field.get("additionalProperties"), dict):
        return f"mapping to {_type(inner)}"
    named = PATTERNS.get(field.get("pattern", "")) or TYPES[field["type"]]
    bounds = [f"{sign} {field[key]:.10g}" for key, sign in BOUNDS.items() if key in field]
    return " ".join([named, " and ".join(bounds)]).strip()


def _title(name: str) -> str:
    """A class's name in words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).capitalize()


if __name__ == "__main__":
    print(page(), end="")
