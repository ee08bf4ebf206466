"""Each patch says which version of what library ends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from multical import patches
from multical.provenance.fingerprint import LOCK, read_lock

FOLDER = Path(patches.__file__).parent
MODULES = sorted(
    path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "replace")
)
PINS = read_lock(LOCK)


@pytest.mark.parametrize("name", MODULES)
def test_it_ends_after_the_locked_version(name: str) -> None:
    """With another version in the lock, see whether it is still needed, and say so."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    ends = re.findall(r"^ *Until (?:never|(\S+) > (\S+)): \S", text, re.M)
    assert ends, "expected a line such as `Until trl > 1.16.0: a head that takes a loss`"
    for library, version in ends:
        assert not library or PINS[library] == version
