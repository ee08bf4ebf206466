"""A folder has one process at a time, and a killed process locks nothing."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from multical import locks
from multical.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from multical import locks
with locks.held(*map(Path, sys.argv[1:])):
    print("held", flush=True)
    time.sleep(600)
"""


def holding(folder: Path, output: Path) -> subprocess.Popen[str]:
    """A process that works in a folder and makes an output."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(output)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(locks.__file__).parents[1])},
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def enter(folder: Path, output: Path) -> None:
    with locks.held(folder, output):
        me = (socket.gethostname(), os.getpid())
        assert [*map(locks.holder, locks.of(folder, output))] == [me, me]


@pytest.mark.parametrize("same", ["folder", "output"])
def test_a_second_process_is_told_of_the_first_until_it_is_killed(
    tmp_path: Path, same: str
) -> None:
    first = tmp_path / "scratch" / "key", tmp_path / "made"
    folder = first[0] if same == "folder" else tmp_path / "scratch" / "other"
    output = first[1] if same == "output" else tmp_path / "made elsewhere"
    process = holding(*first)
    host = socket.gethostname()
    lock = locks.of(*first)[0 if same == "folder" else 1]
    sentence = (
        f"{output}: process {process.pid} on {host} makes it: found its lock, expected none; "
        f"wait until it ends, or end it (make recover does); if {host} is gone, remove {lock}"
    )
    for ask in (enter, locks.check_free):
        with pytest.raises(InputError) as caught:
            ask(folder, output)
        assert str(caught.value) == sentence
    assert sorted(folder.parent.iterdir()) == sorted(locks.of(*first))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert lock.exists()
    enter(*first)
    assert list(folder.parent.iterdir()) == []


def test_to_ask_removes_the_locks_of_a_killed_process(tmp_path: Path) -> None:
    process = holding(tmp_path / "key", tmp_path / "made")
    process.kill()
    process.communicate()
    locks.check_free(tmp_path / "key", tmp_path / "made")
    assert list(tmp_path.iterdir()) == []
    assert locks.holder(tmp_path / "key.lock") is None


def test_a_lock_whose_file_was_removed_and_made_anew_is_that_of_the_new_file(
    tmp_path: Path,
) -> None:
    """Else two processes could each hold the lock of a file with the same name."""
    file = tmp_path / "key.lock"
    first = locks.take(file)
    assert first is not None
    assert locks.take(file) is None
    file.unlink()
    second = locks.take(file)
    assert second is not None
    assert locks.take(file) is None
    os.close(first)
    assert locks.take(file) is None
    os.close(second)


def test_a_file_system_without_locks_is_told_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locks.held(tmp_path / "key", tmp_path / "made"):
        pass
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        f"{tmp_path}/key.lock: cannot be locked (Function not implemented): nothing keeps a second "
        "process out"
    )
    assert second.startswith(
        f"{locks.of(tmp_path / 'key', tmp_path / 'made')[1]}: cannot be locked"
    )
    locks.check_free(tmp_path / "key", tmp_path / "made")
