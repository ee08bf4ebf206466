"""The shell command of each rule, before anything is filled in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from support import checkout, forks

PROGRAM = """
import json
from multical.dag import dryrun

with dryrun.opened(None, None) as (workflow, _):
    print(json.dumps({rule.name: rule.shellcmd for rule in workflow.rules}))
"""


def commands(folder: Path) -> dict[str, str | None]:
    """The commands by rule; a program that lists them is written into an empty folder."""
    (folder / "x.py").write_text(PROGRAM, encoding="utf-8")
    environ = os.environ | {"PYTHONPATH": "scripts"}
    listed = forks.run([folder / "x.py"], cwd=checkout.REPO, env=environ, check=True)
    found: Any = json.loads(listed.stdout.splitlines()[-1])
    return dict(found)
