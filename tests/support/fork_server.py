"""A process that forks for each who asks: python fork_server.py KIND SOCKET OWNER."""

from __future__ import annotations

import atexit
import gc
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
import time
from fcntl import LOCK_EX, flock
from importlib import import_module
from pathlib import Path
from typing import Any

#: Some import others when they are first used: those too are named
LIBRARIES = {
    "tables": "snakemake.cli snakemake.report.html_reporter smart_open platformdirs requests "
    "pandas pandas.io.formats.style pyarrow.parquet numba jinja2 matplotlib.pyplot "
    "matplotlib.backends.backend_pdf matplotlib.patheffects matplotlib.style scipy.stats "
    "scipy.optimize statsmodels.stats.multitest sklearn.isotonic sklearn.callback "
    "packaging.requirements pydantic.main tenacity tqdm",
    "models": "pandas pyarrow.parquet packaging.requirements pydantic.main torch numba "
    "transformers.trainer datasets trl.trainer.sft_trainer",
}

#: What Numba compiles of multical, which takes longer than many a test
KERNELS = [
    Path(__file__).parents[2] / f"scripts/multical/{name}.py"
    for name in ("metrics/kernels", "models/cpu_kernels")
]


def serve(kind: str, place: Path, owner: Path) -> None:
    """Listen at `place` until the process `owner`, in /proc, is gone."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.with_suffix(".new")))
        listener.listen(100)
        place.with_suffix(".new").rename(place)
        gc.disable()
        for name in LIBRARIES[kind].split():
            import_module(name)
        assert kind != "tables" or "huggingface_hub" not in sys.modules
        if kind == "tables":
            collect_plugins()
        share_compiled(place.with_name("compiled"))
        assert threading.active_count() == 1  # no other is in a fork
        gc.freeze()  # no fork looks for garbage in all this
        gc.set_threshold(50_000)
        gc.enable()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while owner.exists():
            if select.select([listener], [], [], 5)[0]:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    attend(connection)
                    os._exit(0)
                connection.close()


def collect_plugins() -> None:
    """Let Snakemake look for its plugins once. Those of loggers may lie in a fork's own folders."""
    for kind in ("executor", "storage", "report", "scheduler"):
        registry = import_module(f"snakemake_interface_{kind}_plugins.registry")
        getattr(registry, f"{kind.title()}PluginRegistry")()


def share_compiled(folder: Path) -> None:
    """Let Numba keep what it compiles of copies of multical in a folder, for all copies.

    It begins with what is compiled of this repository. One at a time: two at once could take the
    same name for different code. What it needs to compile anything is ready in all forks.
    """
    with open(folder.with_suffix(".lock"), "w") as lock:
        flock(lock, LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            for kernels in KERNELS:
                for kept in kernels.parent.glob(f"__pycache__/{kernels.stem}.*.nb?"):
                    shutil.copy(kept, folder)
    numba: Any = import_module("numba")
    numba.njit("int64(int64)")(lambda x: x)
    caching: Any = import_module("numba.core.caching")
    save = caching.IndexDataCacheFile.save

    class Shared(caching.InTreeCacheLocator):
        def __init__(self, function: Any, file: str) -> None:
            super().__init__(function, file)
            self._cache_path = str(folder)

        @classmethod
        def from_function(cls, function: Any, file: str) -> Any:
            same = any(
                Path(file).name == own.name and Path(file).read_bytes() == own.read_bytes()
                for own in KERNELS
            )
            return super().from_function(function, file) if same else None

    def save_alone(self: Any, key: Any, data: Any) -> None:
        with open(folder.with_suffix(".lock"), "w") as lock:
            flock(lock, LOCK_EX)
            save(self, key, data)

    caching.CacheImpl._locator_classes.insert(0, Shared)
    caching.IndexDataCacheFile.save = save_alone


def attend(connection: socket.socket) -> None:
    """Run what is asked for in a fork; end it if who asked is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, files, *_ = socket.recv_fds(connection, 9, 3)
    said = b""
    while len(said) < int(length):
        said += connection.recv(1 << 20)
    if (job := os.fork()) == 0:
        connection.close()
        command, folder, environ = marshal.loads(said)
        become(command, folder, environ, files)
    for file in files:
        os.close(file)
    ready, _, _ = select.select([os.pidfd_open(job), connection.fileno()], [], [])
    if ready == [connection.fileno()]:
        os.killpg(job, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    connection.send(b"%9d" % (status if status >= 0 else 128 - status))


def become(command: list[str], folder: str, environ: dict[str, str], files: list[int]) -> None:
    """Be a new process that runs a program, to its end."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, 100)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(environ.get("OMP_NUM_THREADS", "1")))
    script = Path(command[0]).absolute()
    paths = environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv, sys.path[:1] = command, [str(script.resolve().parent), *filter(None, paths)]
    status: Any = 0
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
