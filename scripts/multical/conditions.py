"""Conditions: the label smoothing b of a fine-tuned run, or None for the base model."""

from __future__ import annotations


def label(condition: float | None) -> str:
    """Name of a condition in figures and tables."""
    if condition is None:
        return "base"
    return "SFT" if condition == 0 else f"SFT + smoothing {condition:g}"
