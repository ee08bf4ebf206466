"""Attention with a mask on one CPU thread, so that many questions in a row take no longer than each
in its own: a block of queries leaves out keys that none of them sees.

In float32 PyTorch attends, block by block. In bfloat16, on a CPU with AVX512_BF16, functions of our
own do. PyTorch rounds in the same places: it sums products in float32, and rounds the terms of the
softmax to bfloat16 before they weigh the values. There a block has ROWS queries, and leaves out
each LANES keys.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from multical.models import cpu_products
from multical.models.bfloat16 import HALF, bits_of, nearest
from multical.models.cpu_products import LANES, PANEL, ROWS, whole

#: The name of PyTorch's attention in transformers
OWN = "sdpa"
#: What it may be asked for that `attend` does not have
MORE = ("dropout", "softcap", "output_attentions", "position_bias", "cache")
#: Queries of a block in float32: few enough that they see few keys
QUERIES = 64
#: The least bfloat16, with which masks hide keys, and as a float32
HIDDEN = np.uint16(0xFF7F)
HIDDEN_BITS = np.uint32(HIDDEN) << HALF
#: Powers of 2 from 2^LEAST, which counts as nothing, on: the terms of their series, and the number
#: of bits after which float32 has its exponent
LEAST = np.float32(-126)
SERIES = tuple(np.float32(math.log(2) ** n / math.factorial(n)) for n in range(7))
EXPONENT = np.uint32(23)
LOG2_E = np.float32(1 / math.log(2))
#: Queries in float32: their place, the keys that some of them see, and their mask of those
Block = tuple[slice, Tensor, Tensor]


@contextmanager
def used() -> Iterator[None]:
    """Have models of transformers use `attend`, or `Blocks`, where it can do what they ask for."""
    own = ALL_ATTENTION_FUNCTIONS[OWN]
    blocks = Blocks()

    # with the names that models may call its parameters by
    def fast(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **named: Any
    ) -> tuple[Tensor, Any]:
        given = (query, key, value, attention_mask)
        scale = named.get("scaling")
        more = any(isinstance(named.get(name), Tensor) or named.get(name) for name in MORE)
        if scale is None or more or not _fits(*given):
            found: tuple[Tensor, Any] = own(module, *given, **named)
            return found
        by = blocks.attend if query.dtype == torch.float32 else attend
        return by(*given, scale), None

    ALL_ATTENTION_FUNCTIONS[OWN] = fast
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[OWN] = own


def serves(model: nn.Module) -> bool:
    """Whether a model can use the functions here, as far as one sees without running it."""
    implementation = getattr(getattr(model, "config", None), "_attn_implementation", None)
    return implementation == OWN and _usable(next(model.parameters()))


def _usable(x: Tensor) -> bool:
    return cpu_products.usable(x) or (x.dtype == torch.float32 and cpu_products.alone(x))


def _fits(query: Tensor, key: Tensor, value: Tensor, mask: Any) -> bool:
    """Whether the functions here take these tensors."""
    same = key.shape == value.shape and len(key) == len(query) and query.dim() == 4
    return (
        same
        and isinstance(mask, Tensor)
        and mask.shape == (len(query), 1, query.shape[2], key.shape[2])
        and query.shape[3] == key.shape[3]
        and query.shape[1] % key.shape[1] == 0
        and query.dtype == key.dtype == value.dtype == mask.dtype
        and all(_usable(x) for x in (query, key, value))
    )


class Blocks:
    """`attend` in float32. All layers of a kind have the same mask, which is read once."""

    def __init__(self) -> None:
        # as many as there are kinds: with and without a sliding window
        self._read: deque[tuple[Tensor, list[Block]]] = deque(maxlen=2)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float
    ) -> Tensor:
        """As `attend`."""
        blocks = next((blocks for known, blocks in self._read if known is mask), None)
        if blocks is None:
            blocks = [*_blocks(mask)]
            self._read.append((mask, blocks))
        out = query.new_empty([query.shape[i] for i in (0, 2, 1, 3)])
        for own, seen, part in blocks:
            found = nn.functional.scaled_dot_product_attention(
                *(query[:, :, own], key[:, :, seen], value[:, :, seen]),
                attn_mask=part,
                scale=scale,
                enable_gqa=query.shape[1] != key.shape[1],
            )
            out[:, own] = found.transpose(1, 2)
        return out


def _blocks(mask: Tensor) -> Iterator[Block]:
    for first in range(0, mask.shape[2], QUERIES):
        own = slice(first, first + QUERIES)
        shown = (mask[:, :, own] > torch.finfo(mask.dtype).min).any(2).any(0)[0]
        # any keys do for queries that see none
        seen = shown.nonzero()[:, 0] if shown.any() else torch.arange(len(shown))
        yield own, seen, mask[:, :, own, seen]


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(query @ key.T * scale + mask) @ value, for each head.

    Args:
        query: bfloat16, (batch, heads, length, width).
        key, value: bfloat16, (batch, heads of keys, seen, width). Each is for as many heads of
            queries, which follow each other.
        mask: bfloat16, (batch, 1, length, seen).

    Returns:
        bfloat16, (batch, length, heads, width).
    """
    batch, heads, length, width = query.shape
    out = torch.empty(batch, length, heads, width, dtype=query.dtype)
    q, k, v, m = (bits_of(x.contiguous()) for x in (query, key, value, mask))
    _attend(q, k, v, m, np.float32(scale), bits_of(out))
    return out


@njit(cache=True, nogil=True)
def _attend(query: Any, key: Any, value: Any, mask: Any, scale: Any, out: Any) -> None:
    """The same, of bits."""
    batch, heads, length, width = query.shape
    columns, depth = whole(key.shape[2], LANES), whole(width, LANES)
    queries = np.zeros((whole(length, ROWS), width), np.uint16)
    keys = np.zeros(columns * width // 2, np.uint32)
    values = np.zeros(depth * columns // 2, np.uint32)
    sharing = heads // key.shape[1]
    for b in range(batch):
        firsts, runs = _seen(mask[b, 0])
        added = _widen(mask[b, 0], firsts, runs)
        for h in range(heads):
            if h % sharing == 0:
                cpu_products.pack(key[b, h // sharing].view(np.uint32), keys, LANES)
                _pack_turned(value[b, h // sharing], values)
            queries[:length] = query[b, h]
            _attend_head(queries, keys, values, (firsts, runs, added), scale, out[b], h)


@njit(cache=True, nogil=True)
def _seen(mask: Any) -> Any:
    """The keys that each block of ROWS queries sees, as runs of a multiple of LANES.

    Returns:
        firsts (blocks + 1,): where the runs of a block begin among those of all.
        runs (all, 2): the first key of a run, and the one after its last.
    """
    length, seen = mask.shape
    firsts = np.zeros(whole(length, ROWS) // ROWS + 1, np.int64)
    runs = np.empty((len(firsts) * (seen // (2 * LANES) + 1), 2), np.int64)
    least = np.empty(whole(seen, LANES), np.uint16)
    count = 0
    for block in range(len(firsts) - 1):
        least[:] = HIDDEN
        for row in range(block * ROWS, min((block + 1) * ROWS, length)):
            for j in range(seen):
                least[j] = min(least[j], mask[row, j])
        for first in range(0, seen, LANES):
            shown = HIDDEN
            for j in range(LANES):
                shown = min(shown, least[first + j])
            # any keys do for queries that see none
            if shown == HIDDEN and (count > firsts[block] or first + LANES < seen):
                continue
            if count > firsts[block] and runs[count - 1, 1] == first:
                runs[count - 1, 1] += LANES
            else:
                runs[count] = first, first + LANES
                count += 1
        firsts[block + 1] = count
    return firsts, runs[:count]


@njit(cache=True, nogil=True)
def _widen(mask: Any, firsts: Any, runs: Any) -> Any:
    """Bits of float32 (ROWS, keys of all runs) of what a mask adds there, block by block."""
    total = 0
    for start, end in runs:
        total += end - start
    added = np.full((ROWS, total), HIDDEN_BITS, np.uint32)
    to = 0
    for block in range(len(firsts) - 1):
        rows = mask[block * ROWS : (block + 1) * ROWS]
        for start, end in runs[firsts[block] : firsts[block + 1]]:
            for i in range(len(rows)):
                for j in range(start, min(end, mask.shape[1])):
                    added[i, to + j - start] = np.uint32(rows[i, j]) << HALF
            to += end - start
    return added


@njit(cache=True)
def _pack_turned(value: Any, out: Any) -> None:
    """`pack` of the transpose of value (seen, width), whose pairs are of keys."""
    seen, width = value.shape
    pairs = whole(seen, LANES) // 2
    out[:] = 0
    for first in range(0, width, PANEL):
        panel = out[first * pairs :]
        wide = min(PANEL, whole(width, LANES) - first)
        for j in range(seen):
            half = HALF * np.uint32(j % 2)
            for k in range(min(PANEL, width - first)):
                panel[j // 2 * wide + k] |= np.uint32(value[j, first + k]) << half


@njit(cache=True, nogil=True)
def _attend_head(
    queries: Any, keys: Any, values: Any, shown: Any, scale: Any, out: Any, head: int
) -> None:
    """One head of out (length, heads, width), from bits of queries (rows, width) and packed others.

    Args:
        shown: what `_seen` and `_widen` made.
    """
    width, (firsts, runs, added) = out.shape[2], shown
    depth = whole(width, LANES)
    columns = len(values) // depth * 2
    stride = columns + 1  # one more for `_weigh`
    terms = np.empty((ROWS, stride), np.uint32)
    weights = np.zeros((ROWS, columns), np.uint16)
    results, part = np.empty((2, ROWS, depth), np.uint32)
    totals = np.empty(ROWS, np.float32)
    before = 0
    for block in range(len(firsts) - 1):
        top, own = block * ROWS, runs[firsts[block] : firsts[block + 1]]
        left, count = queries.ctypes.data + 2 * top * width, 0
        for start, end in own:
            for first in range(start, end, LANES):
                panel, to = keys.ctypes.data + 2 * first * width, terms.ctypes.data + 4 * count
                cpu_products.multiply_block(left, width // 2, panel, LANES, width // 2, to, stride)
                count += LANES
        _weigh(terms, added[:, before : before + count], scale, weights, totals)
        before += count
        _sum_values(weights, values, own, results, part)
        _divide(results, totals, out[top : top + ROWS, head])


@njit(cache=True, nogil=True)
def _sum_values(weights: Any, values: Any, runs: Any, results: Any, part: Any) -> None:
    """Weighed values of the keys in some runs: bits of float32 results and part (ROWS, depth)."""
    columns, depth = weights.shape[1], results.shape[1]
    used = 0
    for start, end in runs:
        out = part if used else results
        left = weights.ctypes.data + 2 * used
        for first in range(0, depth, PANEL):
            wide, to = min(PANEL, depth - first), out.ctypes.data + 4 * first
            panel = values.ctypes.data + 2 * (first * columns + start * wide)
            pairs = (end - start) // 2
            cpu_products.multiply_block(left, columns // 2, panel, wide, pairs, to, depth)
        if used:
            sums, terms = results.view(np.float32), part.view(np.float32)
            for i in range(ROWS):
                for k in range(depth):
                    sums[i, k] += terms[i, k]
        used += end - start


@njit(cache=True, fastmath={"reassoc", "contract"}, nogil=True)
def _weigh(terms: Any, added: Any, scale: Any, weights: Any, totals: Any) -> None:
    """Terms of softmaxes, which are bits of float32 and become powers, as bfloat16; their sums."""
    values, masks, signed = terms.view(np.float32), added.view(np.float32), terms.view(np.int32)
    for i in range(ROWS):
        # the greatest, by integers of the same order: of those, processors take vectors
        top = np.int32(-(2**31))
        for j in range(added.shape[1]):
            values[i, j] = values[i, j] * scale + masks[i, j]
        for j in range(added.shape[1]):
            top = max(top, _ordered(signed[i, j]))
        signed[i, added.shape[1]] = _ordered(top)
        greatest = values[i, added.shape[1]]
        for j in range(added.shape[1]):
            x = max((values[i, j] - greatest) * LOG2_E, LEAST)
            nearby = np.int32(x - np.float32(0.5))  # the nearest, as x is not above 0
            x -= np.float32(nearby)
            y = SERIES[6]
            y = y * x + SERIES[5]
            y = y * x + SERIES[4]
            y = y * x + SERIES[3]
            y = y * x + SERIES[2]
            y = y * x + SERIES[1]
            values[i, j] = y * x + SERIES[0]
            terms[i, j] += np.uint32(nearby) << EXPONENT
        total = np.float32(0)
        for j in range(added.shape[1]):
            total += values[i, j]
            weights[i, j] = nearest(terms[i, j])
        totals[i] = total


@njit(cache=True)
def _ordered(bits: Any) -> Any:
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(2**31 - 1)))


@njit(cache=True, nogil=True)
def _divide(rows: Any, totals: Any, out: Any) -> None:
    """Bits of float32 rows / totals, as bits of bfloat16 out (rows, width)."""
    values = rows.view(np.float32)
    for i in range(len(out)):
        factor = np.float32(1) / totals[i]
        for k in range(out.shape[1]):
            values[i, k] *= factor
        for k in range(out.shape[1]):
            out[i, k] = nearest(rows[i, k])
