"""The entries of the config that a study needs: taken from one clone, and added to another.

In the other clone they become entries of its own file, `files.LOCAL`. An entry that is there
already stays as it is.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from multical import yaml_files
from multical.config import schema, subsets
from multical.config.files import LOCAL, Data
from multical.config.subsets import SECTIONS
from multical.errors import InputError

LEVELS = "resource_levels"
#: How figures are drawn, which is not of one study
FIGURES = "figures"


def of_studies(config: Data, roots: Collection[str]) -> Data:
    """The entries of some studies, those that they name, levels of languages, and keys of figures.

    `config` is the whole config as plain data.
    """
    entries = {
        section: {name: config[section][name] for name in sorted(needed)}
        for section, needed in subsets.names(schema.load(config), roots).items()
        if needed
    }
    drawn = {FIGURES: config[FIGURES]} if config.get(FIGURES) else {}
    return entries | drawn | {LEVELS: config.get(LEVELS, {})}


def missing(entries: Data, config: Data) -> Data:
    """The entries that a config lacks, and the languages that it has no level of."""
    lacking = {
        section: {
            name: entry for name, entry in named.items() if name not in config.get(section, {})
        }
        for section, named in entries.items()
        if section != LEVELS
    }
    known = {name for names in config.get(LEVELS, {}).values() for name in names}
    lacking[LEVELS] = {
        level: new
        for level, names in entries.get(LEVELS, {}).items()
        if (new := [name for name in names if name not in known])
    }
    return {section: named for section, named in lacking.items() if named}


def different(entries: Data, config: Data) -> list[str]:
    """The keys of entries that a config has with another content."""
    return [
        f"{section}.{name}"
        for section, named in entries.items()
        if section != LEVELS
        for name, entry in named.items()
        if config.get(section, {}).get(name, entry) != entry
    ]


def joined(config: Data, added: Data) -> Data:
    """A config with entries that it lacks."""
    sections = {section: config.get(section, {}) | named for section, named in added.items()}
    if LEVELS in added:
        known = config.get(LEVELS, {})
        sections[LEVELS] |= {
            level: known.get(level, []) + names for level, names in added[LEVELS].items()
        }
    return config | sections


def read(file: Path) -> Data:
    """The entries in an unpacked bundle; raises `InputError` if they are none."""
    entries = yaml_files.mapping(file)
    keys = (*SECTIONS, FIGURES, LEVELS)
    for key in keys:
        if not isinstance(section := entries.get(key, {}), dict):
            raise InputError(f"{file}: {key}: found {section!r}, expected entries by name")
    # dates become texts, which JSON can write, too
    kept: Data = json.loads(
        json.dumps({key: entries[key] for key in keys if key in entries}, default=str)
    )
    return kept


def with_own(entries: Data) -> str:
    """The text of this clone's own file with more entries; its comments and order stay.

    Raises `InputError` if the config would not be valid, or the file is of an unusual form.
    """
    file = Path(LOCAL)
    text = file.read_text(encoding="utf-8") if file.exists() else "# Entries of one's own.\n"
    before = yaml.safe_load(text) or {}
    for section, named in entries.items():
        text = _with_section(text, section, named)
    expected = before | {
        section: (before.get(section) or {}) | named for section, named in entries.items()
    }
    try:
        is_right = yaml.safe_load(text) == expected
    except yaml.YAMLError:
        is_right = False
    if not is_right:
        names = ", ".join(names_of(entries))
        raise InputError(f"{LOCAL}: {names}: cannot be added, expected keys in lines of their own")
    return text


def names_of(entries: Data) -> list[str]:
    """The keys of entries, such as `models.little`, but for levels."""
    sections = (*SECTIONS, FIGURES)
    return [f"{section}.{name}" for section in sections for name in entries.get(section, ())]


def _with_section(text: str, section: str, named: dict[str, Any]) -> str:
    """A file's text with entries at the start of a section, which is made if it is missing."""
    block = yaml.safe_dump(named, allow_unicode=True, sort_keys=False)
    head = re.search(rf"^{section}:[ ]*(#.*)?\n", text, re.MULTILINE)
    if head is None:
        return f"{text.rstrip()}\n\n{section}:\n{textwrap.indent(block, '  ')}"
    first = re.match(r"(?:[ ]*(?:#.*)?\n)*([ ]+)", text[head.end() :])
    indent = first[1] if first else "  "
    return text[: head.end()] + textwrap.indent(block, indent) + text[head.end() :]
