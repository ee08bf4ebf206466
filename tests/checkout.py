"""A copy of this repository's code, as a new clone would have it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

REPO = Path(__file__).parents[1]


def copy(folder: Path) -> Path:
    """Copy every file that git knows or would add, by content; returns `folder`."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPO, capture_output=True, text=True, check=True)
    for name in names.stdout.splitlines():
        if (REPO / name).is_file():  # not one that is deleted but not yet committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, folder / name)
    return folder
