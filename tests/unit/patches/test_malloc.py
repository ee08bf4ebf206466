"""Freed memory stays with the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from multical.patches import malloc

PROGRAM = """
import resource
from multical.patches.malloc import keep_freed_memory
{call}
def fresh_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(200_000_000)[::4096] = bytes(len(range(0, 200_000_000, 4096)))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fresh_pages()
print(fresh_pages())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_memory_is_allocated_again_without_fresh_pages() -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(malloc.__file__).parents[2])}
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", PROGRAM.format(call=call)], env=env))
        for call in ("keep_freed_memory()", "")
    )
    assert kept < 1000 < given_back
