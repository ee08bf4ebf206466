"""RO-Crates held against roc-validator."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.checkout import REPO

#: Of an environment of its own, tests/requirements.txt
VALIDATOR = REPO / "tests/.venv/bin/python"


def validated(crate: Path) -> tuple[int, str]:
    """What roc-validator says of a crate."""
    program = REPO / "tests/support/validate_crate.py"
    command = [VALIDATOR, program, crate]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
