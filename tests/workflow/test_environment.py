"""The pinned environment in its three forms, and what it must hold."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
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


def test_an_environment_is_made_anew_by_a_python_outside_of_it(tmp_path: Path) -> None:
    """The environment's own Python has no pip, and comes first on the path of recipes."""
    shutil.copy(ENVS.parent / "Makefile", tmp_path)
    for folder, line in (("outer", "outer"), (".venv/bin", "inner")):
        python = tmp_path / folder / "python3.11"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\necho {line} $2\n")
        python.chmod(0o755)
    (tmp_path / ".venv/lock").write_text("a==1\n")
    os.utime(tmp_path / ".venv/lock", (1, 1))
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/requirements.lock").write_text("a==2\n")
    made = subprocess.run(
        ["make", "--silent", "env"], cwd=tmp_path, check=True, capture_output=True, text=True,
        env=os.environ | {"PATH": f"{tmp_path / 'outer'}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert made.stdout.splitlines() == ["outer venv", "outer pip"]
