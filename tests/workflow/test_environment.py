"""The pinned environment in its three forms, and what it must hold."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import yaml

ENVS = Path(__file__).parents[2] / "envs"
GENERATED = runpy.run_path(str(ENVS / "generate.py"))["generated"]()


def pins(text: str) -> set[str]:
    """The exact versions that a text of lines names."""
    return {line.strip() for line in text.splitlines() if "==" in line and "#" not in line}


LOCK = pins((ENVS / "requirements.lock").read_text())


@pytest.mark.parametrize("name", GENERATED)
def test_generated_from_the_lock(name: str) -> None:
    assert (ENVS / name).read_text() == GENERATED[name], "`make lock` writes it anew"


def test_conda_has_the_pins_of_the_lock() -> None:
    environment = yaml.safe_load((ENVS / "environment.yaml").read_text())
    python, _, inner = environment["dependencies"]
    assert python == "python=3.11"
    assert set(inner["pip"]) == LOCK


def test_apptainer_has_the_pins_of_the_lock() -> None:
    recipe = (ENVS / "apptainer.def").read_text()
    assert pins(recipe.split("<<'END'")[1].split("\nEND")[0]) == LOCK


def test_lock_has_what_was_asked_for() -> None:
    for line in (ENVS / "requirements.in").read_text().splitlines():
        asked = line.split("#")[0].strip().replace("[reports]", "").lower()
        if asked:
            found = [pin for pin in LOCK if pin.lower().split("==")[0] == asked.split("==")[0]]
            assert len(found) == 1, asked
            assert "==" not in asked or found[0].lower() == asked
