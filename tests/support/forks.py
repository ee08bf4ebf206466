"""Python programs in forks of a process that has their libraries: most take longer to start.

There are two, one of tables and of Snakemake, the other of models. Each is started by the first
who needs it, serves all workers of pytest-xdist, and has nothing of multical, so that a fork takes
the modules of the copy that it runs in. A program does what it does in a process of its own, but

- libraries are there before it sets what they read when they start: so that of tables has none
  that reads HF_ENDPOINT, since programs that ask a hub run there;
- sidecars name all libraries of the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryFile

from support import fork_client
from support.fork_client import SHARED

#: For bash: a program that a rule starts, by the function `python` of the Snakefile
FUNCTION = """\
command() {
  case "$*" in
    "python scripts/%(alone)s.py "*) builtin command "$@";;
    "python scripts/"*) shift; builtin command python -ISE %(client)s "$@";;
    *) builtin command "$@";;
  esac
}
"""


def run(
    command: Sequence[str | Path],
    cwd: str | Path = "",
    env: Mapping[str, str] | None = None,
    check: bool = False,
) -> CompletedProcess[str]:
    """`subprocess.run` of a program in Python; what it prints is in the result.

    If it is Snakemake, the programs of its jobs run in forks, too, unless `env` says otherwise.
    """
    words = [str(part) for part in command]
    words = words[words[0] == sys.executable :]
    environ = dict(os.environ | environment() if env is None else env)
    with open(os.devnull) as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as errors:
        files = [one.fileno() for one in (nothing, out, errors)]
        status = fork_client.ask(words, files, str(cwd or Path.cwd()), environ)
        out.seek(0)
        errors.seek(0)
        done = CompletedProcess(words, status, out.read(), errors.read())
    assert not (check and status), done
    return done


@cache
def environment(alone: str = "") -> dict[str, str]:
    """Variables with which Snakemake runs the programs of its jobs in forks, but for one."""
    folder = Path(os.environ[SHARED])
    file = folder / f"{os.getpid()}{alone}.sh"
    file.write_text(FUNCTION % {"alone": alone, "client": fork_client.__file__})
    return {SHARED: str(folder), "BASH_ENV": str(file)}
