"""Packages that a machine without a network lacks, from the wheels that `make gpu-wheels` fetched.

A wheel is an archive of what would be installed, so that unpacking one needs no pip. Packages that
the machine has stay as they are.
"""

from __future__ import annotations

import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

WHEELS = Path(__file__).resolve().parent.parent / "wheels"


def unpack(wheels: Path, folder: Path) -> list[str]:
    """Unpack the wheels of packages that are not installed; returns their names and versions."""
    unpacked = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, number, *_ = wheel.name.split("-")
        try:
            version(name)
        except PackageNotFoundError:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            unpacked.append(f"{name} {number}")
    return unpacked
