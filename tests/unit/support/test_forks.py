"""A program in a fork is as in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from support import checkout, fork_client, forks

TELLS = """
import os, sys
from multical import own
print(own.NAME, os.getcwd(), os.environ["MINE"], sys.argv[1:], "PATH" in os.environ)
print("wrong", file=sys.stderr)
"""


def test_it_has_its_own_folder_environment_and_modules(tmp_path: Path) -> None:
    for name in ("one", "other"):
        package = tmp_path / name / "scripts/multical"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "own.py").write_text(f"NAME = {name!r}\n")
        (package.parent / "tells.py").write_text(TELLS)
        command = [sys.executable, "scripts/tells.py", "a b"]
        done = forks.run(command, cwd=tmp_path / name, env={"MINE": "x"})
        said = f"{name} {tmp_path / name} x ['a b'] False\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, said, "wrong\n")


IMPORTS = """
import gc, sys
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
had = {*sys.modules}
import multical.models.sft, multical.scoring.scorer
print(len([name for name in {*sys.modules} - had if not name.startswith("multical")]))
"""


def test_libraries_of_models_are_there_with_all_that_they_import_later(tmp_path: Path) -> None:
    """And no search for garbage looks through them."""
    program = tmp_path / "train_sft.py"
    program.write_text(IMPORTS)
    environ = os.environ | {"PYTHONPATH": str(checkout.REPO / "scripts")}
    collected, new = forks.run([program], env=environ, check=True).stdout.splitlines()
    assert collected == "True True"
    assert int(new) < 100


def test_copies_share_what_numba_compiles(tmp_path: Path) -> None:
    """But not one that differs: its code would replace that of the others."""
    original = checkout.REPO / "scripts/multical/metrics/kernels.py"
    for name, more in (("same", ""), ("edited", "# edited")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernels.py").write_text(original.read_text() + more)
        program = tmp_path / name / "x.py"
        program.write_text("import kernels\nprint(kernels.count._cache.cache_path)")
        shared = Path(os.environ[fork_client.SHARED], "compiled")
        folder = tmp_path / name / "__pycache__" if more else shared
        assert forks.run([program], check=True).stdout == f"{folder}\n"


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('error: no')", 1, "error: no\n"),
        ("raise OSError('gone')", 1, "OSError: gone\n"),
        ("os.kill(os.getpid(), 9)", 128 + 9, ""),
    ],
)
def test_it_ends_with_the_same_status(tmp_path: Path, text: str, status: int, said: str) -> None:
    (tmp_path / "x.py").write_text(f"import os, sys\n{text}\n")
    done = forks.run([tmp_path / "x.py"])
    assert done.returncode == status
    assert done.stderr.endswith(said)
    assert bool(done.stderr) == bool(said)


def test_it_ends_with_who_asked(tmp_path: Path) -> None:
    program, file = tmp_path / "x.py", tmp_path / "id"
    program.write_text(
        f"import os, time\nopen({str(file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    asking = subprocess.Popen([sys.executable, "-ISE", fork_client.__file__, program])
    while not file.exists() or not file.read_text():
        time.sleep(0.02)
    asking.kill()
    asking.wait()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(file.read_text())).wait(60)
