"""A process that unpacks a bundle is killed at each step: what starts next finds all or nothing."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import unpack_bundle
from multical import locks
from multical.bundle import archive, unbundling
from multical.bundle.unbundling import STAGED, Plan
from multical.config.files import LOCAL
from multical.errors import InputError
from multical.patches.snakemake import write_records
from support.bundles import CONTENTS, FIGURE, KNOWN, RECORD, sources

MINE = "results/tiny/tables/mine.csv"
ADDED = {"models": {"little": {"source": {"kind": "folder", "path": "little"}}}}
MACHINE: dict[str, Any] = {"machine": {"cpu": "fast"}, "starts": [1.0]}
#: What a process can be killed at that changes files
STEPS = {
    "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink",
    "os.truncate", "os.utime",
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.zip"
    records = {name: KNOWN | {"rule": "theirs"} for name in CONTENTS}
    archive.write(path, sources(records=records, machines=[MACHINE]))
    return path


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with other results of the study, and a record of a file that is gone."""
    folder = tmp_path / "clone"
    for name in (RECORD, MINE):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
    (folder / "config.yaml").write_text(yaml.safe_dump({"studies": {"results/tiny": {}}}))
    (folder / "config").mkdir()
    monkeypatch.chdir(folder)
    write_records({name: KNOWN | {"rule": "mine"} for name in (RECORD, FIGURE, MINE)}, again=())
    return folder


def prepare(bundle: Path) -> Any:
    def prepared(folder: Path) -> Plan:
        plan = unpack_bundle.prepared(bundle, True, folder)
        return plan.model_copy(update={"entries": ADDED})

    return prepared


def killed(work: Callable[[], Any], step: int) -> bool:
    """Work in a process that SIGKILL ends before a step; whether the process came that far."""
    if (fork := os.fork()) == 0:
        count = 0

        def kill(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event in STEPS or (event == "open" and arguments[2] & WRITING):
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(kill)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def tree(folder: Path) -> dict[str, tuple[bytes, float]]:
    """All that is in a folder, with the times of results."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes() if path.is_file() else b"",
            path.stat().st_mtime if path.is_file() and "results" in path.parts else 0.0,
        )
        for path in folder.rglob("*")
    }


def test_killed_at_any_step(
    clone: Path, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = tree(clone)
    shutil.copytree(clone, tmp_path / "spare")
    unbundling.unbundle(prepare(bundle))
    after = tree(clone)
    assert after.keys() - before.keys() == {
        "config/local.yaml", ".snakemake/machines.jsonl", "results/tiny/figures", FIGURE
    }  # fmt: skip
    step, last, ends = 0, False, []
    while not last:
        shutil.rmtree(clone)
        shutil.copytree(tmp_path / "spare", clone)
        os.chdir(clone)
        step += 1
        last = not killed(lambda: unbundling.unbundle(prepare(bundle)), step)
        unbundling.finish()
        told = capfd.readouterr().err
        found = tree(clone)
        assert found in (before, after), step
        ends.append((found == after, bool(told)))
        assert told in ("", f"{bundle}: unpacking it was cut off, and is finished now\n")
    assert step > 40
    assert ends == sorted(ends, key=lambda end: end[0])  # from some step on, all is there
    assert ends[-1] == (True, False)
    assert ends.count((True, True)) > 20
    assert ends.count((False, True)) == 0


def test_killed_again_at_any_step_of_going_on(clone: Path, bundle: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unbundling, "_place", full)
        with pytest.raises(InputError, match="cut off"):
            unbundling.unbundle(prepare(bundle))
    shutil.copytree(clone, tmp_path / "spare")
    unbundling.finish()
    after = tree(clone)
    step, last = 0, False
    while not last:
        shutil.rmtree(clone)
        shutil.copytree(tmp_path / "spare", clone)
        os.chdir(clone)
        step += 1
        last = not killed(unbundling.finish, step)
        unbundling.finish()
        assert tree(clone) == after, step
    assert step > 20


def test_nothing_starts_while_it_is_at_work(clone: Path, bundle: Path) -> None:
    (clone / STAGED).mkdir()
    held = locks.take(clone / STAGED / unbundling.LOCK)
    assert held is not None
    before = tree(clone)
    for start in (unbundling.finish, lambda: unbundling.unbundle(prepare(bundle))):
        with pytest.raises(InputError, match="another process unpacks a bundle here"):
            start()
    assert tree(clone) == before
    os.close(held)


def test_results_may_be_on_another_file_system(
    clone: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def replace(file: Path, target: Path) -> Path:
        if file.is_relative_to(STAGED):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(file, target)

    monkeypatch.setattr(Path, "replace", replace)
    unbundling.unbundle(prepare(bundle))
    for name, content in CONTENTS.items():
        assert (clone / name).read_bytes() == content
    assert not [path for path in clone.rglob(".*") if path.name != ".snakemake"]


def test_what_it_cannot_do_it_says_and_does_when_it_can(
    clone: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(unbundling, "write_records", full)
        for start in (lambda: unbundling.unbundle(prepare(bundle)), unbundling.finish):
            with pytest.raises(
                InputError, match=r"cut off \(.*No space left.*\), and goes on when"
            ):
                start()
    unbundling.finish()
    assert not (clone / STAGED).exists()
    assert (clone / LOCAL).is_file()


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("program", ["make_bundle", "export_results", "unpack_bundle"])
def test_programs_of_bundles_go_on(
    clone: Path, bundle: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = __import__(program)
    arguments = ["x.zip"] if program == "unpack_bundle" else ["--study", "results/none"]
    with monkeypatch.context() as patched:
        patched.setattr(unbundling, "write_records", full)
        with pytest.raises(InputError):
            unbundling.unbundle(prepare(bundle))
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(InputError):
        module.main()
    assert (clone / FIGURE).read_bytes() == CONTENTS[FIGURE]
    assert not (clone / STAGED).exists()
