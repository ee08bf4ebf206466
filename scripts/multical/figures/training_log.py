"""The loss logs of a study's SFT runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from multical import paths
from multical.errors import InputError
from multical.figures.params import TrainingFigure, TrainingRun

#: What the figure shows of each step
QUANTITIES = ("loss", "grad_norm", "entropy", "learning_rate")
COLUMNS = ["step", "epoch", *QUANTITIES]


def files(study: TrainingFigure) -> list[str]:
    """The loss logs of all runs."""
    return [path_of(study, run) for run in study.runs]


def path_of(study: TrainingFigure, run: TrainingRun) -> str:
    return paths.LOSS_LOG.format(root=study.study, run=run.run)


def read(path: str) -> list[list[float]]:
    """A row per step with the values of `COLUMNS`.

    Raises `InputError` for a file that is missing or empty, and for a line without these numbers.
    """
    rows = list(_rows(path))
    if not rows:
        raise InputError(f"{path}: found no line, expected one for each step")
    return rows


def _rows(path: str) -> Iterator[list[float]]:
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield _row(json.loads(line), f"{path}: line {number}")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable loss log ({error})") from error


def _row(step: Any, place: str) -> list[float]:
    found = step if isinstance(step, dict) else {}
    for name in COLUMNS:
        value = found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{place}: {name}: found {value!r}, expected a number")
    return [float(found[name]) for name in COLUMNS]
