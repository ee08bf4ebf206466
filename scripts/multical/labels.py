"""What conditions and resource levels are called, in tables and figures alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

#: Resource levels of languages, from the best resourced down
KnownLevel = Literal["high", "mid", "low"]
KNOWN_LEVELS = get_args(KnownLevel)
#: Level of the languages that the config lists at none
UNKNOWN = "unknown"
LEVELS = (*KNOWN_LEVELS, UNKNOWN)


def level_of(language: str, levels: Mapping[str, str]) -> str:
    """The resource level of a language, by the levels of those that have one."""
    return levels.get(language, UNKNOWN)


def languages_of(level: str) -> str:
    """What the languages of a level are called."""
    return f"languages of {level} level" if level == UNKNOWN else f"{level}-resource languages"


def label(condition: float | None) -> str:
    """Name of a condition: the smoothing b of a fine-tuned run, or None for the base model."""
    if condition is None:
        return "base"
    return "SFT" if condition == 0 else f"SFT + smoothing {condition:g}"
