"""The libraries that a program has loaded."""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: The list of direct libraries, with the reason for each.
REQUIREMENTS = Path(__file__).parents[3] / "envs" / "requirements.in"
#: Libraries whose distribution has another name than the module that is imported
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml"}


def libraries() -> dict[str, str]:
    """Version of each direct library that this process has imported, by its name.

    It says so if the module was not imported from the library, but from elsewhere.
    """
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    requirements = filter(None, (line.partition("#")[0].strip() for line in lines))
    direct = {canonicalize_name(Requirement(text).name) for text in requirements}
    imported = {module.partition(".")[0] for module in list(sys.modules)}
    used = {canonicalize_name(DISTRIBUTIONS.get(module, module)): module for module in imported}
    return dict(sorted(_distribution(name, used[name]) for name in direct & used.keys()))


@cache
def _distribution(name: str, module: str) -> tuple[str, str]:
    """Name, as its metadata spell it, and version.

    Not by `packages_distributions`, which reads all that is there.
    """
    found = metadata.distribution(name)
    place = getattr(sys.modules.get(module), "__file__", None)
    here = Path(str(found.locate_file(""))).resolve()
    elsewhere = place is not None and not Path(place).resolve().is_relative_to(here)
    return found.metadata["Name"], found.version + (" (not this, another module)" * elsewhere)
