"""When the known content of a file still holds: after moves, links, touches, and later."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multical import fixity
from multical.errors import InputError
from multical.files import sha256
from multical.fixity import Digests, Inputs

CACHE = Path("digests.jsonl")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with data, and other data of the same size and times; all count as old."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fixity, "STEP", -9.0)
    for name in ("data", "data2"):
        Path(name).mkdir()
        Path(name, "a.txt").write_text(name[-1], encoding="utf-8")
        os.utime(f"{name}/a.txt", (1e9, 1e9))
    Path("link").symlink_to("data")


def moved() -> None:
    Path("data").rename("data.old")
    Path("data2").rename("data")


def linked() -> None:
    Path("new").symlink_to("data2")
    Path("new").replace("link")


def rewritten() -> None:
    Path("data/a.txt").write_text("2", encoding="utf-8")
    os.utime("data/a.txt", (1e9, 1e9))


def copied() -> None:
    Path("copy").write_text("a", encoding="utf-8")
    Path("copy").replace("data/a.txt")


@pytest.mark.parametrize(
    "change", [moved, linked, rewritten, copied, lambda: os.utime("data/a.txt")]
)
@pytest.mark.parametrize("again", [False, True], ids=["one process", "two"])
def test_the_digest_is_that_of_the_content(change: Callable[[], None], again: bool) -> None:
    known = Digests(CACHE)
    names = ["data/a.txt", "link/a.txt"]
    assert [known.of(name) for name in names] == [sha256(name) for name in names]
    change()
    known = Digests(CACHE) if again else known
    assert [known.of(name) for name in names] == [sha256(name) for name in names]


def test_another_device_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a mount: its inode and times may be the same."""
    known = Digests(CACHE)
    before = known.of("data/a.txt")
    device, *rest = fixity.identity("data/a.txt")
    Path("data/a.txt").write_text("2", encoding="utf-8")
    monkeypatch.setattr(fixity, "_identity", lambda status: (device + 1, *rest))
    assert known.of("data/a.txt") == sha256("data/a.txt") != before


FIELDS = ["st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"]


@pytest.mark.parametrize("field", FIELDS)
def test_each_of_these_tells_a_file_from_another(field: str) -> None:
    status = dict.fromkeys(FIELDS, 7)
    one: Any = SimpleNamespace(**status)
    other: Any = SimpleNamespace(**status | {field: 8})
    assert fixity._identity(one) != fixity._identity(other)


def test_it_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = Digests(CACHE).of("data/a.txt")
    monkeypatch.setattr(fixity, "sha256", lambda path: pytest.fail("read again"))
    assert Digests(CACHE).of("data/a.txt") == digest


def test_what_has_just_changed_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next change may have the same time."""
    monkeypatch.setattr(fixity, "STEP", 2.0)
    assert Digests(CACHE).of("data/a.txt") == sha256("data/a.txt")
    assert not CACHE.exists()


def test_what_is_no_file_has_none() -> None:
    Path("dangling").symlink_to("nowhere")
    assert [Digests(CACHE).of(name) for name in ("gone", "data", "dangling")] == [None] * 3


def test_half_lines_of_a_killed_process_are_skipped() -> None:
    digest = Digests(CACHE).of("data/a.txt")
    with CACHE.open("a", encoding="utf-8") as stream:
        stream.write('[]\n3\n{"a": 1}\n' + "[" * 9999 + '\n["data/a.txt", 1')
    known = Digests(CACHE)
    assert (known.of("data/a.txt"), known.of("data2/a.txt")) == (digest, sha256("data2/a.txt"))
    CACHE.write_bytes(b"\xff")
    assert Digests(CACHE).of("data/a.txt") == digest


def test_the_file_stays_small() -> None:
    line = '["a", 1, 2, 3, 4, 5, "%d"]\n'
    CACHE.write_text("".join(line % number for number in range(300)), encoding="utf-8")
    Digests(CACHE)
    assert CACHE.read_text(encoding="utf-8") == line % 299


@pytest.mark.parametrize("change", [moved, rewritten, lambda: Path("data/a.txt").unlink()])
def test_inputs_must_stay_as_they_are(change: Callable[[], None]) -> None:
    inputs = Inputs(["data/a.txt"])
    os.utime("data/a.txt")
    os.link("data/a.txt", "data/b.txt")
    inputs.check()
    change()
    with pytest.raises(
        InputError, match=r"^data/a\.txt: changed while it was read, expected a file "
    ):
        inputs.check()


def test_an_input_that_comes_late_has_changed() -> None:
    inputs = Inputs(["late"])
    assert inputs.digests == {}
    Path("late").touch()
    with pytest.raises(InputError, match=r"^late: changed while it was read"):
        inputs.check()
