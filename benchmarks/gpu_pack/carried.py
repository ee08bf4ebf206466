"""Packages that a machine without a network lacks, from the wheels that `make gpu-wheels` fetched.

A wheel is an archive of what would be installed, so that unpacking one needs no pip. The folder
comes first on the path, so that its packages stand in for other versions of the machine.
"""

from __future__ import annotations

import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

WHEELS = Path(__file__).resolve().parent.parent / "wheels"


def unpack(wheels: Path, folder: Path) -> list[str]:
    """Unpack the wheels of what is not installed in their version; returns names and versions."""
    unpacked = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, number, *_ = wheel.name.split("-")
        if installed(name) != number:
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    archive.extract(member, folder)  # never outside of the folder
            unpacked.append(f"{name} {number}")
    return unpacked


def installed(name: str) -> str | None:
    """The version of a package that this Python has."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
