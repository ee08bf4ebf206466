"""The entries of the config that some studies need."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from multical.config.schema import Config

#: Sections with entries by name
SECTIONS = ("studies", "models", "benchmarks", "sft_data", "prompts")


def names(config: Config, roots: Collection[str]) -> dict[str, set[str]]:
    """By section, the names of studies, of the studies that they name, and of all their entries."""
    found: dict[str, set[str]] = {section: set() for section in SECTIONS}
    waiting = list(roots)
    while waiting:
        root = waiting.pop()
        found["studies"].add(root)
        texts = set(_texts(config.studies[root].model_dump(mode="json")))
        waiting += (texts & config.studies.keys()) - found["studies"]
        for section in SECTIONS[1:]:
            found[section] |= texts & getattr(config, section).keys()
    return found


def _texts(value: Any) -> Iterator[str]:
    """All texts in JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
