"""The output of choose_learning_rate.py."""

from __future__ import annotations

import json
from pathlib import Path

from multical.errors import InputError


def read(path: Path) -> tuple[str, float]:
    """The id of the chosen trial, and its learning rate."""
    try:
        choice = json.loads(path.read_text(encoding="utf-8"))
        return str(choice["run"]), float(choice["learning_rate"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the choice of a learning rate ({error!r})") from error
