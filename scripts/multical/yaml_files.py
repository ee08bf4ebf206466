"""Read the YAML that people write.

YAML's own readers keep the last of two equal keys, so that an entry would be lost silently.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer

from multical.errors import InputError

#: A key with which Snakemake runs expressions of Python in a config
CODE = "__use_yte__"
#: The most values of a file with aliases, of which a few lines can stand for billions
MOST = 1_000_000


# The C parser is quick. Only Python's composer refuses what is nested too deeply, since that of C
# ends the whole process.
class _Values(Composer, yaml.CSafeLoader):
    """Reads values."""

    def __init__(self, text: str) -> None:
        yaml.CSafeLoader.__init__(self, text)
        Composer.__init__(self)


class _Texts(Composer, yaml.CBaseLoader):
    """Reads scalars as texts."""

    def __init__(self, text: str) -> None:
        yaml.CBaseLoader.__init__(self, text)
        Composer.__init__(self)


def mapping(path: str | Path, *, as_texts: bool = False) -> dict[Any, Any]:
    """The keys and values of a file; with `as_texts`, all scalars as texts: an account may be 007.

    Raises `InputError` if the file is not readable, is no mapping, has a key twice, or would have
    Snakemake run code in it.
    """
    content = read(path, as_texts=as_texts)
    if content is None:  # no content, or comments alone
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: found {type(content).__name__}, expected keys and values")
    if CODE in content:
        raise InputError(f"{path}: {CODE}: found code for Snakemake to run, expected only values")
    return content


def read(path: str | Path, *, as_texts: bool = False) -> Any:
    """The content of a file, of any kind; null if it is empty. Raises as `mapping` does."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        loader = (_Texts if as_texts else _Values)(text)
        try:
            node = loader.get_single_node()
            if "*" in text and _count(node, {}) > MOST:
                raise InputError(f"{path}: found over {MOST:,} values by aliases, expected fewer")
            for key, first, second in _twice(node):
                lines = f"in lines {first} and {second}"
                raise InputError(f"{path}: {key}: found twice, {lines}, expected once")
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    # ValueError: not UTF-8, or a date that does not exist; RecursionError: an alias of itself;
    # the others: a scalar that is not of its tag, such as `!!int ""`
    except (
        OSError, ValueError, RecursionError, ArithmeticError, AttributeError, LookupError,
        TypeError, yaml.YAMLError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as YAML ({reason})") from error


def _count(node: yaml.Node | None, known: dict[int, int]) -> int:
    """The number of values in a node, with those that aliases stand for; `known` is by node."""
    if id(node) not in known:
        known[id(node)] = 0  # for an alias of itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(node)]


def _twice(node: yaml.Node | None, place: str = "") -> Iterator[tuple[str, int, int]]:
    """Each repeated key below a node: its place, and the lines of its first and second mention."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _twice(item, f"{place}{number}.")
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if first := lines.get((key.tag, name)):
                    yield f"{place}{name}", first, line
                lines[key.tag, name] = line
            yield from _twice(value, f"{place}{name}.")
