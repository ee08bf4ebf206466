"""Ask a process of `forks` to run a program: python -ISE fork_client.py SCRIPT ARGUMENT...

Jobs of Snakemake start it in the place of Python: so it imports next to nothing, since `json`,
`socket` and `pathlib` would take three times as long as all the rest.
"""

from __future__ import annotations

import marshal
import os
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOL_SOCKET, socket
from array import array

#: The variable that names a folder which all workers share; tests/conftest.py sets it
SHARED = "MULTICAL_TESTS"
#: The programs that need the libraries of models
OF_MODELS = ("train_sft", "evaluate_sft", "score_run", "sft_in_processes", "launch", "worker")
#: Where libraries of models find a hub, which they read when they start
HUB = "HF_ENDPOINT"
#: What libraries read when they start
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}


def ask(command: list[str], files: list[int], folder: str, environ: dict[str, str]) -> int:
    """Run SCRIPT ARGUMENT... with these three files as its standard ones; its exit status."""
    program = os.path.basename(command[0]).partition(".")[0]  # noqa: PTH119
    of_models = program in OF_MODELS or (program == "fetch_model" and HUB not in environ)
    said = marshal.dumps([command, folder, environ])
    connection = socket(AF_UNIX)
    try:
        connection.connect(started("models" if of_models else "tables"))
        descriptors = (SOL_SOCKET, SCM_RIGHTS, array("i", files))
        connection.sendmsg([b"%9d" % len(said)], [descriptors])
        connection.sendall(said)
        return int(connection.recv(9) or 1)
    finally:
        connection.close()


def started(kind: str) -> str:
    """The socket of a process, which is started if no other worker has."""
    place = f"{os.environ[SHARED]}/{kind}.socket"
    if not os.path.exists(place):  # noqa: PTH110
        start(kind, place)
    return place


def start(kind: str, place: str) -> None:
    """Start a process of `forks`, and wait for it."""
    import subprocess
    import time
    from fcntl import LOCK_EX, flock
    from pathlib import Path

    folder = Path(place).parent
    with open(folder / "owner") as owner, open(folder / f"{kind}.log", "a") as log:
        flock(owner, LOCK_EX)
        server = Path(__file__).with_name("fork_server.py")
        command = [sys.executable, str(server), kind, place, f"/proc/{owner.read()}"]
        if not Path(place).exists():
            environ = os.environ | ENVIRONMENT
            subprocess.Popen(command, stdout=log, stderr=log, env=environ, process_group=0)
        while not Path(place).exists():
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1:], [0, 1, 2], os.getcwd(), dict(os.environ)))  # noqa: PTH109
