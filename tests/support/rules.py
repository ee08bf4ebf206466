"""The rules of the repository: their shell commands before anything is filled in, their inputs."""

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


INPUTS = """
import json
import sys
from multical.dag import dryrun

with dryrun.opened(None, None) as (workflow, _):
    rules = [(name, workflow.get_rule(name)) for name in sys.argv[2:]]
    found = {name: rule.expand_input({"root": sys.argv[1]})[0] for name, rule in rules}
    print(json.dumps(found))
"""


def commands(folder: Path) -> dict[str, str | None]:
    """The commands by rule; a program that lists them is written into an empty folder."""
    return printed(folder, PROGRAM)


def inputs(folder: Path, root: str, *names: str) -> dict[str, list[str]]:
    """The inputs of the jobs of rules for a study, by rule."""
    return printed(folder, INPUTS, root, *names)


def printed(folder: Path, program: str, *arguments: str) -> dict[str, Any]:
    """What a program prints last, which is written into an empty folder."""
    (folder / "x.py").write_text(program, encoding="utf-8")
    environ = os.environ | {"PYTHONPATH": "scripts"}
    listed = forks.run([folder / "x.py", *arguments], cwd=checkout.REPO, env=environ, check=True)
    found: Any = json.loads(listed.stdout.splitlines()[-1])
    return dict(found)
