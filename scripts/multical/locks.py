"""Locks that a process holds until it ends, however it ends, since the kernel releases them.

They are locks of `flock` on files. They keep out other processes of this host, and other hosts
where the file system passes them on: NFS does, and Lustre if it is mounted with `flock`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from multical.errors import InputError

#: What a file system without locks says
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}
#: Host and process that hold a lock and do not say so
UNNAMED = "some host", 0


def take(file: Path) -> int | None:
    """Lock a file, made if missing; its descriptor, or None if another process holds the lock.

    The lock lasts until the descriptor is closed. Raises `OSError` if the file system has no locks.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(file, descriptor):
                return descriptor
        except (BlockingIOError, PermissionError):  # NFS may say either
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has just removed it: lock its successor


def _is(file: Path, descriptor: int) -> bool:
    """Whether `descriptor` is of the file that has this name now."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def of(scratch: Path, output: Path) -> list[Path]:
    """The files whose locks a job holds: of its scratch folder, and of what it makes.

    A job with other settings has another scratch folder, but makes the same output. The files are
    beside the scratch folder, which comes and goes.
    """
    digest = hashlib.sha256(str(output).encode()).hexdigest()
    return [scratch.with_name(f"{name}.lock") for name in (scratch.name, digest[:12])]


@contextmanager
def held(scratch: Path, output: Path) -> Iterator[None]:
    """Be the only process that works in `scratch` and makes `output` during the `with` block.

    Raises `InputError`, which names the other process, if there is one.
    """
    with ExitStack() as stack:
        for file in of(scratch, output):
            stack.enter_context(_held(file, output))
        yield


@contextmanager
def _held(file: Path, output: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = take(file)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        why = f"cannot be locked ({error.strerror}): nothing keeps a second process out"
        print(f"{file}: {why}", file=sys.stderr)
        yield
        return
    if descriptor is None:
        raise _in_use(file, output)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{socket.gethostname()} {os.getpid()}\n".encode())
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def check_free(scratch: Path, output: Path) -> None:
    """Raise the `InputError` of a second process if there is a first."""
    for file in of(scratch, output):
        if holder(file):
            raise _in_use(file, output)


def _in_use(file: Path, output: Path) -> InputError:
    host, pid = holder(file) or UNNAMED
    return InputError(
        f"{output}: process {pid} on {host} makes it: found its lock, expected none; wait until "
        f"it ends, or end it (make recover does); if {host} is gone, remove {file}"
    )


def holder(file: Path) -> tuple[str, int] | None:
    """Host and process that hold the lock of a file; None if it is free, or has no locks.

    This removes the file of a process that was killed.
    """
    try:
        descriptor = take(file) if file.exists() else None
    except OSError:
        return None
    if descriptor is not None:
        file.unlink()  # of a process that was killed
        os.close(descriptor)
        return None
    try:
        host, pid = file.read_text(encoding="utf-8").split()
        return host, int(pid)
    except FileNotFoundError:
        return None
    except ValueError:
        return UNNAMED  # it has not written its name yet
