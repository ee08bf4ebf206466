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
import weakref
from contextlib import suppress
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
        registry: Any = weakref.finalize._registry  # type: ignore[attr-defined]
        registry.clear()  # nor does it end libraries one by one
        gc.set_threshold(50_000)
        gc.enable()
        attend(listener, owner)


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


class Job:
    """A fork, and the connection of who waits for it, or None if nobody does any longer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection: socket.socket | None = connection
        length, files, *_ = socket.recv_fds(connection, 9, 3)
        asked = b""
        while len(asked) < int(length):
            if not (more := connection.recv(1 << 20)):
                raise ConnectionError("who asks is gone")
            asked += more
        if (process := os.fork()) == 0:
            try:
                command, folder, environ = marshal.loads(asked)
                become(command, folder, environ, files)
            finally:
                os._exit(1)
        self.process, self.ended = process, os.pidfd_open(process)
        for file in files:
            os.close(file)

    def leave(self) -> None:
        """End the fork, since who waited for it is gone."""
        assert self.connection
        self.connection.close()
        self.connection = None
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGTERM)

    def tell(self) -> None:
        """Say how the fork ended."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        os.close(self.ended)
        if self.connection:
            with suppress(OSError), self.connection:
                self.connection.send(b"%9d" % (status if status >= 0 else 128 - status))


def attend(listener: socket.socket, owner: Path) -> None:
    """Run what is asked for in forks, until the owner is gone."""
    jobs: list[Job] = []
    while owner.exists():
        waited: list[Any] = [listener, *(job.ended for job in jobs)]
        waited += [job.connection for job in jobs if job.connection]
        ready, _, _ = select.select(waited, [], [], 5)
        for job in [*jobs]:
            if job.ended in ready:
                job.tell()
                jobs.remove(job)
            elif job.connection in ready:
                job.leave()
        if listener in ready:
            with suppress(OSError, ValueError):  # who asks may be gone by now
                jobs.append(Job(listener.accept()[0]))
    for job in jobs:
        if job.connection:
            job.leave()


def become(command: list[str], folder: str, environ: dict[str, str], files: list[int]) -> None:
    """Be a new process that runs a program, to its end."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, 1000)
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
