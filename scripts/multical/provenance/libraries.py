"""The libraries that a program has loaded."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

#: The list of direct libraries, with the reason for each.
REQUIREMENTS = Path(__file__).parents[3] / "envs" / "requirements.in"


def libraries() -> dict[str, str]:
    """Version of each direct library that this process has imported, by its name."""
    imported = {module.partition(".")[0] for module in list(sys.modules)}
    used = [one for one in direct() if modules(one) & imported]
    return {one.name: one.version for one in sorted(used, key=lambda one: one.name)}


def direct() -> Iterator[metadata.Distribution]:
    """The direct libraries that are installed."""
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            with suppress(metadata.PackageNotFoundError):
                yield metadata.distribution(Requirement(text).name)


def modules(library: metadata.Distribution) -> set[str]:
    """The names that a library is imported by.

    As `metadata.packages_distributions` finds them for all that is installed, in a third of a
    second.
    """
    if text := library.read_text("top_level.txt"):
        return set(text.split())
    files = (library.read_text("RECORD") or "").splitlines()
    return {re.split("[/.,]", file, maxsplit=1)[0] for file in files}
