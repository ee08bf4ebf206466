"""Files appear whole or not at all; programs say what is wrong in one line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from multical import locks
from multical.errors import InputError, program
from multical.files import atomic, remove, remove_leftovers, sha256, write_json


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.csv"
    with atomic(target) as temporary:
        assert temporary.parent.parent == target.parent  # the rename stays in one file system
        assert temporary.name == "b.csv"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_an_error_leaves_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with atomic(target) as temporary:
            temporary.write_text("half")
            raise InputError("no")

    with pytest.raises(InputError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupt_leaves_no_folder(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic(tmp_path / "model") as folder:
            folder.mkdir()
            (folder / "weights").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_replaces_the_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("old")
    with atomic(target) as folder:
        folder.mkdir()
        (folder / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_that_wrote_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def killed_while_it_writes(target: Path) -> Path:
    """The temporary folder that a process leaves which SIGKILL ends as it writes `target`."""
    before = set(target.parent.iterdir())
    if (fork := os.fork()) == 0:
        try:
            with atomic(target) as temporary:
                temporary.mkdir()
                (temporary / "weights").write_text("half")
                (temporary.parent / "download").write_text("half")
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == -signal.SIGKILL
    (left,) = set(target.parent.iterdir()) - before
    assert sorted(file.name for file in left.iterdir()) == [".lock", "download", target.name]
    return left


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    killed_while_it_writes(tmp_path / "model")
    left = killed_while_it_writes(tmp_path / "other")
    with atomic(tmp_path / "model") as folder:
        folder.mkdir()
    assert sorted(tmp_path.iterdir()) == [left, tmp_path / "model"]
    remove(tmp_path / "model")
    assert list(tmp_path.iterdir()) == [left]


@pytest.mark.parametrize("why", ["lives", "lock is held", "other host"])
def test_what_a_living_process_may_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    target = tmp_path / "model"
    left = killed_while_it_writes(target)
    start, pid, rest = left.name.rsplit(".", 3)[0], left.name.split(".")[-3], left.suffixes[-2:]
    if why == "lives":
        left = left.rename(tmp_path / "".join([start, f".{os.getpid()}", *rest]))
    elif why == "other host":
        left = left.rename(tmp_path / "".join([f".model.elsewhere.{pid}", *rest]))
    held = locks.take(left / ".lock") if why == "lock is held" else None
    remove_leftovers(target)
    assert list(tmp_path.iterdir()) == [left]
    if held is not None:
        os.close(held)
        remove_leftovers(target)
        assert list(tmp_path.iterdir()) == []


def test_two_writers_at_once(tmp_path: Path) -> None:
    """Each has its own temporary folder; the last to end wins."""
    with atomic(tmp_path / "a") as first, atomic(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_folder_is_whole_or_gone_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "weights").write_text("all")
    removed = []
    monkeypatch.setattr(shutil, "rmtree", lambda place, **_: removed.append(folder.exists()))
    remove(folder)
    assert removed == [False]
    monkeypatch.undo()
    remove(folder)  # again, and it is not there


def test_make_clean_removes_what_no_later_writer_does(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("config", "results", "results/README.md", "code.zip")]
    for folder in kept[:2]:
        folder.mkdir()
    for file in kept[2:]:
        file.touch()
    (tmp_path / "results/demo/scratch").mkdir(parents=True)
    for name in ("headline.txt", "config/local.yaml", "multical.zip", "results/demo/scratch/x"):
        killed_while_it_writes(tmp_path / name)
    killed_while_it_writes(tmp_path / "results/headline.txt")
    makefile = Path(__file__).parents[2] / "Makefile"
    subprocess.run(["make", "-f", makefile, "clean"], cwd=tmp_path, check=True)
    assert sorted(tmp_path.rglob("*")) == sorted(kept)


def test_json_has_sorted_keys_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": "é"})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_bytes() == before
    assert json.loads(before) == {"a": "é", "b": 1}


@pytest.mark.parametrize("content", [b"", b"abc", b"\x00" * 1_000_000])
def test_sha256(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_a_program_says_bad_input_in_one_line_and_fails_loudly_otherwise() -> None:
    def refuse() -> None:
        raise InputError("file: key: found, expected")

    def crash() -> None:
        raise ZeroDivisionError

    with pytest.raises(SystemExit) as caught:
        program(refuse)
    assert caught.value.code == "error: file: key: found, expected"  # printed, exit status 1
    with pytest.raises(SystemExit, match=r"Traceback(?s:.*)\nZeroDivisionError"):
        program(crash)
    program(lambda: None)


def test_a_program_ends_without_a_search_for_garbage() -> None:
    """Nothing is left to look at after what it has registered for its end."""
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0)); "
    code += "from multical.errors import program; program(lambda: None)"
    scripts = Path(__file__).parents[2] / "scripts"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
