"""The libraries that a program has loaded."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

#: The direct libraries, each with its reason, are listed here and nowhere else.
REQUIREMENTS = Path(__file__).parents[3] / "envs" / "requirements.in"


def libraries() -> dict[str, str]:
    """Version of each direct library that this process has imported, by its name."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    names = (re.match(r"[A-Za-z0-9_.-]+", line) for line in lines)
    direct = {normal(match[0]) for match in names if match}
    imported = {module.partition(".")[0] for module in list(sys.modules)}
    owners = metadata.packages_distributions()
    used = {name for module in imported for name in owners.get(module, [])}
    return {name: metadata.version(name) for name in sorted(used) if normal(name) in direct}


def normal(name: str) -> str:
    """The name of a library in the one form of all its spellings."""
    return re.sub(r"[-_.]+", "-", name).lower()
