"""The libraries that a program has loaded."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: The list of direct libraries, with the reason for each.
REQUIREMENTS = Path(__file__).parents[3] / "envs" / "requirements.in"


def libraries() -> dict[str, str]:
    """Version of each direct library that this process has imported, by its name."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    requirements = filter(None, (line.partition("#")[0].strip() for line in lines))
    direct = {canonicalize_name(Requirement(text).name) for text in requirements}
    imported = {module.partition(".")[0] for module in list(sys.modules)}
    owners = metadata.packages_distributions()
    used = {name for module in imported for name in owners.get(module, [])}
    return {
        name: metadata.version(name) for name in sorted(used) if canonicalize_name(name) in direct
    }
