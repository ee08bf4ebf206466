"""Ask a process of `forks` to run a program: python -ISE fork_client.py SCRIPT ARGUMENT...

It imports little, since jobs of Snakemake start it in the place of Python.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from fcntl import LOCK_EX, flock
from pathlib import Path

#: The variable that names a folder which all workers share; tests/conftest.py sets it
SHARED = "MULTICAL_TESTS"
#: The programs that need the libraries of models
OF_MODELS = ("train_sft", "evaluate_sft", "score_run")
#: What libraries read when they start
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}


def ask(command: list[str], files: list[int], folder: str, environ: dict[str, str]) -> int:
    """Run SCRIPT ARGUMENT... with these three files as its standard ones; its exit status."""
    kind = "models" if Path(command[0]).stem in OF_MODELS else "tables"
    said = json.dumps([command, folder, environ]).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(started(kind)))
        socket.send_fds(connection, [b"%9d" % len(said)], files)
        connection.sendall(said)
        return int(connection.recv(9) or 1)


def started(kind: str) -> Path:
    """The socket of a process, which is started if no other worker has."""
    folder = Path(os.environ[SHARED])
    place = folder / f"{kind}.socket"
    if not place.exists():
        with open(folder / "owner") as owner, open(folder / f"{kind}.log", "a") as log:
            flock(owner, LOCK_EX)
            server = Path(__file__).with_name("fork_server.py")
            command = [sys.executable, str(server), kind, str(place), f"/proc/{owner.read()}"]
            if not place.exists():
                environ = os.environ | ENVIRONMENT
                subprocess.Popen(command, stdout=log, stderr=log, env=environ, process_group=0)
            while not place.exists():
                time.sleep(0.02)
    return place


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1:], [0, 1, 2], str(Path.cwd()), dict(os.environ)))
