"""What conditions and resource levels are called, in tables and figures alike."""

from __future__ import annotations

from typing import Literal, get_args

#: Resource levels of languages, from the best resourced down
Level = Literal["high", "mid", "low"]
LEVELS = get_args(Level)
#: Languages with a smaller share of the median number of questions have few
FEW = 0.5


def label(condition: float | None) -> str:
    """Name of a condition: the smoothing b of a fine-tuned run, or None for the base model."""
    if condition is None:
        return "base"
    return "SFT" if condition == 0 else f"SFT + smoothing {condition:g}"
