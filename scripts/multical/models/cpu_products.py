"""Products of matrices with sums in float32, on one thread of CPUs where PyTorch's are slow.

Of bfloat16, if a CPU has AVX512_BF16 but no AMX: PyTorch rounds such products to bfloat16, or turns
both factors into float32 first, which such a CPU multiplies at half the speed. Of float32, on AMD's
CPUs without AVX512, where those of PyTorch run at half to three quarters of the CPU's rate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import binding, ir
from numba import njit, types
from numba.core import config
from numba.extending import intrinsic
from torch import Tensor

from multical.models.bfloat16 import bits_of

#: A block of a product, whose sums stay in registers: rows, and vectors of so many columns
ROWS, VECTORS, LANES = 6, 4, 16
#: Columns of a right factor of bfloat16 that are packed together; of float32, LANES are
PANEL = VECTORS * LANES
#: Bytes of left rows that are multiplied with all panels before others: half of a small L2 cache
CACHED = 2**18
#: The instructions: one adds the products of 16 pairs of bfloat16 with 16 other pairs to 16 sums,
#: the other those of 16 numbers
DOT, FMA = "llvm.x86.avx512bf16.dpbf16ps.512", "llvm.fma.v16f32"


@cache
def runnable() -> bool:
    """Whether this CPU has the instruction for bfloat16, and numba compiles for this CPU."""
    has: bool = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return has and _compiled_for_this()


@cache
def floats_faster() -> bool:
    """Whether products of float32 are faster here than by PyTorch: see above."""
    found = torch.cpu.get_capabilities()
    fast = found.get("fma3", False) and not found.get("avx512_f", False)
    return fast and binding.get_host_cpu_name().startswith("znver") and _compiled_for_this()


def _compiled_for_this() -> bool:
    return not (config.CPU_NAME or config.CPU_FEATURES)  # type: ignore[attr-defined]


def usable(x: Tensor) -> bool:
    """Whether products of bfloat16 x (..., width) over its width can be made on one thread here."""
    return runnable() and alone(x) and x.dtype == torch.bfloat16 and x.shape[-1] % 2 == 0


def faster(x: Tensor) -> bool:
    """Whether products over the width of x are faster on one thread here than by PyTorch."""
    if x.dtype == torch.float32:
        return floats_faster() and alone(x)
    return usable(x) and not torch.cpu.get_capabilities()["amx_tile"]


def alone(x: Tensor) -> bool:
    """Whether x is on a CPU, and one thread works on it."""
    return x.device.type == "cpu" and torch.get_num_threads() == 1


class Factor:
    """A right factor x (n, width): float32, or bfloat16 with an even width."""

    def __init__(self, x: Tensor) -> None:
        pairs = pairs_of(x.contiguous())
        self.n, self.columns = len(x), whole(len(x), LANES)
        floats = x.dtype == torch.float32
        self.multiply = multiply_floats if floats else multiply
        self.packed = np.zeros(self.columns * pairs.shape[1], np.uint32)
        pack(pairs, self.packed, LANES if floats else PANEL)

    def times(self, left: Tensor, out: Tensor) -> Tensor:
        """left @ x.T for left (rows, width) of the same type: part of `out`, (rows, n).

        Args:
            out: float32, (rows, but at least ROWS, columns). It is overwritten.
        """
        rows = len(left)
        if rows < ROWS:
            left = torch.cat([left, left.new_zeros(ROWS - rows, left.shape[1])])
        self.multiply(pairs_of(left.contiguous()), self.packed, out.numpy())
        return out[:rows, : self.n]


def pairs_of(x: Tensor) -> np.ndarray:
    """The same memory as integers that hold two numbers of bfloat16 each, or one of float32."""
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
def multiply_floats(left: Any, packed: Any, out: Any) -> None:
    """The same of float32, in panels of LANES columns."""
    rows, width = left.shape
    columns = out.shape[1]
    count = whole(max(1, CACHED // (4 * width)), ROWS)
    for start in range(0, rows, count):
        for first in range(0, columns, LANES):
            panel = packed.ctypes.data + 4 * first * width
            for row in range(start, min(start + count, rows), ROWS):
                top = min(row, rows - ROWS)
                block = left.ctypes.data + 4 * top * width
                to = out.ctypes.data + 4 * (top * columns + first)
                _floats(block, width, panel, width, to, columns)


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


def _block(vectors: int, floats: bool = False) -> Callable[..., None]:
    """`multiply_block` for panels of so many vectors, without their width, and for float32."""
    pair, real, integer = ir.IntType(32), ir.FloatType(), ir.IntType(64)
    reals, lanes = ir.VectorType(real, LANES), ir.VectorType(pair, LANES)

    def code(context: Any, at: Any, signature: Any, args: Any) -> Any:
        name, kinds = (FMA, [reals] * 3) if floats else (DOT, [reals, lanes, lanes])
        function = ir.FunctionType(reals, kinds)
        dot = at.module.globals.get(name) or ir.Function(at.module, function, name)
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
            if floats:
                spread = at.bitcast(spread, reals)
                add = [[at.bitcast(column, reals), spread, old] for old, column in terms]
            else:
                add = [[old, column, spread] for old, column in terms]
            sums.append([at.call(dot, given) for given in add])
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
_floats = _block(1, floats=True)
