"""The memory that products take does not grow with the number of their shapes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from multical.patches import primitives

PROGRAM = """
import ctypes, torch
from multical.patches.primitives import keep_few_primitives
{call}
class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "a b c d mapped e f used g h".split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Heap
def held():
    heap = libc.mallinfo2()
    return heap.used + heap.mapped
torch.set_num_threads(1)
weight = torch.ones(256, 256, dtype=torch.bfloat16)
for rows in range(100, 320):
    torch.ones(rows, 256, dtype=torch.bfloat16) @ weight
    if rows == 160:
        before = held()
print(held() - before)
"""


@pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_bf16"), reason="of products that oneDNN makes"
)
def test_few_products_are_kept() -> None:
    """Of 220 shapes, the last 160 take no more memory; by default each takes some."""
    env = {**os.environ, "PYTHONPATH": str(Path(primitives.__file__).parents[2])}
    for name in primitives.VARIABLES:
        env.pop(name, None)
    few, all_of_them = (
        int(subprocess.check_output([sys.executable, "-c", PROGRAM.format(call=call)], env=env))
        for call in ("keep_few_primitives()", "")
    )
    assert few < 10e6 < all_of_them


def test_the_environment_is_left_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = primitives.VARIABLES
    monkeypatch.setenv(first, "7")
    monkeypatch.setenv(second, "")  # so that it is as before at the end
    monkeypatch.delenv(second)
    primitives.keep_few_primitives()
    assert (os.environ[first], os.environ[second]) == ("7", str(primitives.KEPT))
