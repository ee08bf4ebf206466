"""Products of bfloat16 matrices with sums in float32, on CPUs that have AVX512_BF16 but no AMX.

PyTorch rounds such products to bfloat16. It can only turn both factors into float32 first, which
such a CPU multiplies at half the speed. Where it has AMX, PyTorch's own way is as good (see
`scorer.Head`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import config
from numba.extending import intrinsic
from torch import Tensor

from multical.models.bfloat16 import bits_of

#: A block of a product, whose sums stay in registers: rows, and vectors of so many columns
ROWS, VECTORS, LANES = 6, 4, 16
#: Columns of a right factor that are packed together
PANEL = VECTORS * LANES
#: The instruction: adds the products of 16 pairs of bfloat16 with 16 other pairs to 16 sums
DOT = "llvm.x86.avx512bf16.dpbf16ps.512"


@cache
def runnable() -> bool:
    """Whether this CPU has the instruction, and numba compiles for this CPU."""
    has: bool = torch.cpu.get_capabilities().get("avx512_bf16", False)
    other = config.CPU_NAME or config.CPU_FEATURES  # type: ignore[attr-defined]
    return has and not other


def usable(x: Tensor) -> bool:
    """Whether products of x (..., width) over its width can be made here, on one thread."""
    return (
        runnable()
        and torch.get_num_threads() == 1
        and x.dtype == torch.bfloat16
        and x.device.type == "cpu"
        and x.shape[-1] % 2 == 0
    )


def faster(x: Tensor) -> bool:
    """Whether they are faster here than by PyTorch."""
    return usable(x) and not torch.cpu.get_capabilities()["amx_tile"]


class Factor:
    """A right factor: bfloat16 x (n, width), with an even width."""

    def __init__(self, x: Tensor) -> None:
        pairs = pairs_of(x.contiguous())
        self.n, self.columns = len(x), whole(len(x), LANES)
        self.packed = np.zeros(self.columns * pairs.shape[1], np.uint32)
        pack(pairs, self.packed, PANEL)

    def times(self, left: Tensor, out: Tensor) -> Tensor:
        """left @ x.T for bfloat16 left (rows, width): part of `out`, (rows, n).

        Args:
            out: float32, (rows, but at least ROWS, columns). It is overwritten.
        """
        rows = len(left)
        if rows < ROWS:
            left = torch.cat([left, left.new_zeros(ROWS - rows, left.shape[1])])
        multiply(pairs_of(left.contiguous()), self.packed, out.numpy())
        return out[:rows, : self.n]


def pairs_of(x: Tensor) -> np.ndarray:
    """The same memory as integers that hold two numbers each."""
    return bits_of(x).view(np.uint32)


@njit(cache=True)
def whole(n: int, of: int) -> int:
    """The least multiple that is not below n."""
    return -(-n // of) * of


@njit(cache=True, nogil=True)
def pack(x: Any, out: Any, size: int) -> None:
    """Pairs x (n, pairs) in panels of up to `size` rows, each transposed."""
    start = 0
    for first in range(0, len(x), size):
        rows = x[first : first + size]
        width = whole(len(rows), LANES)
        for i in range(len(rows)):
            for k in range(x.shape[1]):
                out[start + k * width + i] = rows[i, k]
        start += width * x.shape[1]


@njit(cache=True, nogil=True)
def multiply(left: Any, packed: Any, out: Any) -> None:
    """Products of pairs left (rows, pairs) with what `pack` made, into out (rows, columns)."""
    rows, pairs = left.shape
    columns = out.shape[1]
    for first in range(0, columns, PANEL):
        panel = packed.ctypes.data + 4 * first * pairs
        width = min(PANEL, columns - first)
        for row in range(0, rows, ROWS):
            top = min(row, rows - ROWS)  # the last block may repeat rows of the one before
            start = left.ctypes.data + 4 * top * pairs
            to = out.ctypes.data + 4 * (top * columns + first)
            multiply_block(start, pairs, panel, width, pairs, to, columns)


@njit(cache=True, nogil=True)
def multiply_block(
    left: int, step: int, panel: int, width: int, pairs: int, out: int, columns: int
) -> None:
    """Products of ROWS rows with a panel of `pack`.

    Args:
        left, panel, out: addresses of the first pair of the rows, of that of the panel, and of the
            first product.
        step, columns: pairs from one row to the next, and products.
        width: columns of the panel.
        pairs: how many of each row and column count.
    """
    if width == 4 * LANES:
        _four(left, step, panel, pairs, out, columns)
    elif width == 3 * LANES:
        _three(left, step, panel, pairs, out, columns)
    elif width == 2 * LANES:
        _two(left, step, panel, pairs, out, columns)
    else:
        _one(left, step, panel, pairs, out, columns)


def _block(vectors: int) -> Callable[..., None]:
    """`multiply_block` for panels of so many vectors, without their width."""
    pair, real, integer = ir.IntType(32), ir.FloatType(), ir.IntType(64)
    reals, lanes = ir.VectorType(real, LANES), ir.VectorType(pair, LANES)

    def code(context: Any, at: Any, signature: Any, args: Any) -> Any:
        dot = at.module.globals.get(DOT) or ir.Function(
            at.module, ir.FunctionType(reals, [reals, lanes, lanes]), DOT
        )
        left, step, panel, pairs, out, columns = args
        left, panel = (at.inttoptr(address, pair.as_pointer()) for address in (left, panel))
        out = at.inttoptr(out, real.as_pointer())
        before, loop = at.block, at.append_basic_block("loop")
        at.branch(loop)
        at.position_at_end(loop)
        k = at.phi(integer)
        olds = [[at.phi(reals) for _ in range(vectors)] for _ in range(ROWS)]
        following = at.add(k, integer(1))
        k.add_incoming(integer(0), before)
        k.add_incoming(following, loop)
        panel = at.gep(panel, [at.mul(k, integer(vectors * LANES))])
        columns_of_k = [_load(at, panel, vector * LANES, lanes) for vector in range(vectors)]
        sums: list[list[Any]] = []
        for row, of_row in enumerate(olds):
            number = at.load(at.gep(left, [at.add(at.mul(step, integer(row)), k)]))
            spread = _spread(at, number, lanes)
            terms = zip(of_row, columns_of_k, strict=True)
            sums.append([at.call(dot, [old, column, spread]) for old, column in terms])
            for old, new in zip(of_row, sums[-1], strict=True):
                old.add_incoming(ir.Constant(reals, [0.0] * LANES), before)
                old.add_incoming(new, loop)
        after = at.append_basic_block("after")
        at.cbranch(at.icmp_unsigned("<", following, pairs), loop, after)
        at.position_at_end(after)
        for row, news in enumerate(sums):
            start = at.gep(out, [at.mul(columns, integer(row))])
            for vector, new in enumerate(news):
                to = at.gep(start, [integer(vector * LANES)])
                at.store(new, at.bitcast(to, reals.as_pointer()), align=4)
        return context.get_dummy_value()

    @intrinsic
    def block(
        context: Any, left: Any, step: Any, panel: Any, pairs: Any, out: Any, columns: Any
    ) -> Any:
        return types.void(*[types.int64] * 6), code

    return block


def _load(at: Any, panel: Any, first: int, lanes: Any) -> Any:
    """The pairs of a panel from number `first` on, as a vector."""
    address = at.gep(panel, [ir.IntType(64)(first)])
    return at.load(at.bitcast(address, lanes.as_pointer()), align=4)


def _spread(at: Any, number: Any, lanes: Any) -> Any:
    """A vector with the number in each of its lanes."""
    none, index = ir.Constant(lanes, ir.Undefined), ir.IntType(32)
    vector = at.insert_element(none, number, index(0))
    return at.shuffle_vector(vector, none, ir.Constant(ir.VectorType(index, LANES), [0] * LANES))


_one, _two, _three, _four = map(_block, range(1, VECTORS + 1))
