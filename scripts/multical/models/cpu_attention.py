"""Attention with a mask in bfloat16, on one thread of a CPU where `cpu_products` are faster.

PyTorch rounds in the same places: it sums products in float32, and rounds the terms of the softmax
to bfloat16 before they weigh the values. Here a block of queries leaves out the keys after the last
one that any of them sees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from multical.models import cpu_products
from multical.models.bfloat16 import HALF, bits_of, nearest
from multical.models.cpu_products import LANES, PANEL, ROWS, whole

#: The name of PyTorch's attention in transformers
OWN = "sdpa"
#: What it may be asked for that `attend` does not have
MORE = ("dropout", "softcap", "output_attentions", "position_bias", "cache")
#: The least bfloat16, with which masks hide keys, and as a float32
HIDDEN = np.uint16(0xFF7F)
HIDDEN_BITS = np.uint32(HIDDEN) << HALF
#: Powers of 2 from 2^LEAST, which counts as nothing, on: the terms of their series, and the number
#: of bits after which float32 has its exponent
LEAST = np.float32(-126)
SERIES = tuple(np.float32(math.log(2) ** n / math.factorial(n)) for n in range(7))
EXPONENT = np.uint32(23)
LOG2_E = np.float32(1 / math.log(2))


@contextmanager
def used() -> Iterator[None]:
    """Have models of transformers use `attend` where it is faster than their own."""
    own = ALL_ATTENTION_FUNCTIONS[OWN]

    # with the names that models may call its parameters by
    def fast(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **named: Any
    ) -> tuple[Tensor, Any]:
        scale = named.get("scaling")
        more = any(isinstance(named.get(name), Tensor) or named.get(name) for name in MORE)
        if scale is None or more or not _fits(query, key, value, attention_mask):
            found: tuple[Tensor, Any] = own(module, query, key, value, attention_mask, **named)
            return found
        return attend(query, key, value, attention_mask, scale), None

    ALL_ATTENTION_FUNCTIONS[OWN] = fast
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[OWN] = own


def _fits(query: Tensor, key: Tensor, value: Tensor, mask: Any) -> bool:
    """Whether `attend` takes these tensors, and is faster."""
    same = key.shape == value.shape and len(key) == len(query) and query.dim() == 4
    return (
        same
        and isinstance(mask, Tensor)
        and mask.shape == (len(query), 1, query.shape[2], key.shape[2])
        and query.shape[3] == key.shape[3]
        and query.shape[1] % key.shape[1] == 0
        and all(cpu_products.faster(x) for x in (query, key, value))
        and mask.dtype == torch.bfloat16
    )


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
    rows, columns, depth = whole(length, ROWS), whole(key.shape[2], LANES), whole(width, LANES)
    queries = np.zeros((rows, width), np.uint16)
    keys = np.zeros(columns * width // 2, np.uint32)
    values = np.zeros(depth * columns // 2, np.uint32)
    added = np.empty((rows, columns), np.uint32)
    ends = np.empty(rows // ROWS, np.int64)
    sharing = heads // key.shape[1]
    for b in range(batch):
        _widen(mask[b, 0], added, ends)
        for h in range(heads):
            if h % sharing == 0:
                cpu_products.pack(key[b, h // sharing].view(np.uint32), keys)
                _pack_turned(value[b, h // sharing], values)
            queries[:length] = query[b, h]
            _attend_head(queries, keys, values, added, ends, scale, out[b, :, h])


@njit(cache=True)
def _widen(mask: Any, added: Any, ends: Any) -> None:
    """Make float32 of a mask, and find the end of the keys that each block of ROWS rows sees."""
    added[:] = HIDDEN_BITS
    ends[:] = LANES
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            added[i, j] = np.uint32(mask[i, j]) << HALF
            if mask[i, j] < HIDDEN:
                ends[i // ROWS] = max(ends[i // ROWS], whole(j + 1, LANES))


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
    queries: Any, keys: Any, values: Any, added: Any, ends: Any, scale: Any, out: Any
) -> None:
    """One head: queries (rows, width) and out (length, width) in bits, keys and values packed."""
    (length, width), columns = out.shape, added.shape[1]
    depth = whole(width, LANES)
    terms = np.empty((ROWS, columns), np.uint32)
    weights = np.zeros((ROWS, columns), np.uint16)
    results = np.empty((ROWS, depth), np.uint32)
    totals = np.empty(ROWS, np.float32)
    for top in range(0, length, ROWS):
        end = ends[top // ROWS]
        start = queries.ctypes.data + 2 * top * width
        for first in range(0, end, PANEL):
            panel = keys.ctypes.data + 2 * first * width
            wide, to = min(PANEL, columns - first), terms.ctypes.data + 4 * first
            cpu_products.multiply_block(start, width // 2, panel, wide, width // 2, to, columns)
        for i in range(ROWS):
            totals[i] = _weigh(terms[i, :end], added[top + i, :end], scale, weights[i, :end])
        for first in range(0, depth, PANEL):
            panel = values.ctypes.data + 2 * first * columns
            wide, to = min(PANEL, depth - first), results.ctypes.data + 4 * first
            cpu_products.multiply_block(
                weights.ctypes.data, columns // 2, panel, wide, end // 2, to, depth
            )
        for i in range(min(ROWS, length - top)):
            _divide(results[i, :width], totals[i], out[top + i])


@njit(cache=True, fastmath={"reassoc", "contract"}, nogil=True)
def _weigh(terms: Any, added: Any, scale: Any, weights: Any) -> Any:
    """Terms of a softmax, which are bits of float32 and become powers, as bfloat16; their sum."""
    values, masks = terms.view(np.float32), added.view(np.float32)
    for j in range(len(values)):
        values[j] = values[j] * scale + masks[j]
    top = _greatest(values)
    for j in range(len(values)):
        x = max((values[j] - top) * LOG2_E, LEAST)
        nearby = np.int32(x - np.float32(0.5))  # the nearest, as x is not above 0
        x -= np.float32(nearby)
        y = SERIES[6]
        y = y * x + SERIES[5]
        y = y * x + SERIES[4]
        y = y * x + SERIES[3]
        y = y * x + SERIES[2]
        y = y * x + SERIES[1]
        values[j] = y * x + SERIES[0]
        terms[j] += np.uint32(nearby) << EXPONENT
    total = np.float32(0)
    for j in range(len(values)):
        total += values[j]
        weights[j] = nearest(terms[j])
    return total


@njit(cache=True, nogil=True)
def _greatest(values: Any) -> Any:
    """The greatest float32, by integers of the same order: of those, processors take vectors."""
    bits, top = values.view(np.int32), np.int32(-(2**31))
    for j in range(len(bits)):
        top = max(top, _ordered(bits[j]))
    greatest = np.empty(1, np.int32)
    greatest[0] = _ordered(top)
    return greatest.view(np.float32)[0]


@njit(cache=True)
def _ordered(bits: Any) -> Any:
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(2**31 - 1)))


@njit(cache=True, nogil=True)
def _divide(row: Any, total: Any, out: Any) -> None:
    """Bits of float32 row / total, as bits of bfloat16."""
    values, factor = row.view(np.float32), np.float32(1) / total
    for k in range(len(row)):
        values[k] *= factor
    for k in range(len(row)):
        out[k] = nearest(row[k])
