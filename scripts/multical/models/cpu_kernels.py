"""What is faster on one CPU thread than a model's own code.

Norms and rotary embeddings of bfloat16: a model's own code turns its input into float32, and
multiplies, adds up and rounds in passes of their own, together a quarter of the time that a small
model takes to score. The functions here round where the model rounds. Rotary embeddings have the
same bits; so have norms but for one in ten thousand numbers, which differ in the last bit, since
they are summed in another order. Linear layers of float32: see `cpu_products`. Attention of both:
see `cpu_attention`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from multical.models import cpu_attention, cpu_products
from multical.models.bfloat16 import HALF, bits_of, nearest
from multical.patches.replace import replaced

#: Rows that norms are compared on, and their sizes: norms of small rows depend on epsilon
ROWS, SIZES = 32, (1.0, 1e-3, 30.0)
#: The least part of a norm's results that must have the bits of the model's own
SAME = 0.99
#: The function by which models of transformers turn queries and keys
ROTARY = "apply_rotary_pos_emb"


@contextmanager
def used_by(model: nn.Module) -> Iterator[int]:
    """Have a model use the functions here where they do what its own do; gives how many.

    Only for inference, on a CPU and in one thread; elsewhere torch's are as good.
    """
    with ExitStack() as stack:
        dtype = getattr(model, "dtype", None)
        if torch.get_num_threads() > 1 or dtype not in (torch.bfloat16, torch.float32):
            yield 0
            return
        places = _of_floats(model) if dtype == torch.float32 else _of_bfloat16(model)
        found = [place for place in places if place[2] is not None]
        for owner, name, fast in found:
            stack.enter_context(replaced(owner, name, fast))
        stack.enter_context(cpu_attention.used())
        yield len(found)


def _of_bfloat16(model: nn.Module) -> list[tuple[Any, str, Any]]:
    """Norms and functions for rotary embeddings: owner, name, and what is faster, if any."""
    homes = {sys.modules[type(module).__module__] for module in model.modules()}
    return [
        *((module, "forward", _norm_of(module)) for module in model.modules()),
        *((home, ROTARY, _rotary_of(getattr(home, ROTARY, None))) for home in homes),
    ]


def _of_floats(model: nn.Module) -> list[tuple[Any, str, Any]]:
    """Linear layers, but not the head, of which `scorer.Head` takes tiles."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear and layer is not head]
    return [(layer, "forward", _linear_of(layer)) for layer in layers]


@torch.no_grad()
def _linear_of(layer: nn.Linear) -> Callable[[Tensor], Tensor] | None:
    """The layer with a copy of its weight, if that is faster."""
    if not cpu_products.faster(layer.weight):
        return None
    factor, bias = cpu_products.Factor(layer.weight), layer.bias

    def fast(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out = rows.new_empty(max(len(rows), cpu_products.ROWS), factor.columns)
        found = factor.times(rows, out).reshape(*x.shape[:-1], factor.n)
        return found if bias is None else found.add_(bias)

    return fast


def rms_norm(x: Tensor, scale: np.ndarray, epsilon: float, rounded: bool) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) * scale, with the mean over the last dimension.

    Args:
        x: bfloat16, (..., width).
        scale: float32, (width,).
        rounded: whether to round to bfloat16 before multiplying by `scale`, too.
    """
    out = torch.empty_like(x)
    if x.stride(-1) != 1 or out.stride() != x.stride():
        x = x.contiguous()
        out = torch.empty_like(x)
    width = x.shape[-1]
    # rows in their order in memory, as those of queries and keys are transposed
    shape, strides = (x.numel() // width, width), (width, 1)
    rows, results = (bits_of(one.as_strided(shape, strides)) for one in (x, out))
    _rms_norm(rows, scale, np.float32(epsilon), rounded, results, np.empty(width, np.uint32))
    return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x * cos + (-b, a) * sin, with the halves (a, b) of x.

    Args:
        x: queries or keys in bfloat16, (batch, heads, length, width).
        cos, sin: bfloat16, (batch, length, width).
    """
    rows = x.transpose(1, 2).contiguous()
    out = torch.empty_like(rows)
    angles = [bits_of(one.expand(len(x), -1, -1).contiguous()) for one in (cos, sin)]
    _rotate(
        bits_of(rows), angles[0], angles[1], bits_of(out), np.empty((4, x.shape[-1]), np.uint32)
    )
    return out.transpose(1, 2)


@torch.no_grad()
def _norm_of(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """`rms_norm` with what makes it the same as the module, which may be anything, or None."""
    weights = [*module.parameters()]
    epsilon = getattr(module, "eps", getattr(module, "variance_epsilon", None))
    if len(weights) != 1 or weights[0].dim() != 1 or epsilon is None:
        return None
    (weight,) = weights
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return None
    sizes = torch.tensor(SIZES).repeat(ROWS)[:, None]
    sample = sizes * torch.randn(len(sizes), len(weight), generator=_seeded())
    own = module(sample.bfloat16())
    # Gemma's weights are differences from 1
    for offset, rounded in (0, True), (0, False), (1, True), (1, False):
        scale = (offset + weight.float()).numpy()
        fast = partial(rms_norm, scale=scale, epsilon=epsilon, rounded=rounded)
        ours = fast(sample.bfloat16())
        near = (ours.float() - own.float()).abs() <= 2**-7 * own.float().abs()
        if near.all() and (ours == own).float().mean() >= SAME:
            return fast
    return None


@torch.no_grad()
def _rotary_of(own: Any) -> Callable[..., Any] | None:
    """A function that rotates queries and keys as a model's own does, or None.

    It leaves all to the other that does not look like what they were compared on.
    """

    def fast(*args: Any, **named: Any) -> Any:
        plain = len(args) == 4 and not named and args[2].dim() == 3
        if not plain or any(one.shape[-1] != args[0].shape[-1] for one in args):
            return own(*args, **named)
        queries, keys, cos, sin = args
        return rotate(queries, cos, sin), rotate(keys, cos, sin)

    sample = torch.randn(4, 2, 3, 5, 8, generator=_seeded()).bfloat16()
    args = (sample[0], sample[1, :, :1], sample[2, :, 0], sample[3, :, 0])
    try:
        same = [torch.equal(*pair) for pair in zip(own(*args), fast(*args), strict=True)]
    except Exception:  # there is none, or one of another kind
        return None
    return fast if all(same) else None


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@njit(cache=True, fastmath={"reassoc", "contract"}, nogil=True)
def _rms_norm(x: Any, scale: Any, epsilon: Any, rounded: bool, out: Any, row: Any) -> None:
    """Bits of bfloat16 x, out (rows, width); row (width,) is for those of float32."""
    values = row.view(np.float32)
    for i in range(len(x)):
        total = np.float32(0)
        for j in range(len(row)):
            row[j] = np.uint32(x[i, j]) << HALF
        for j in range(len(row)):
            total += values[j] * values[j]
        factor = np.float32(1) / np.sqrt(total / np.float32(len(row)) + epsilon)
        for j in range(len(row)):
            values[j] *= factor
        if rounded:
            for j in range(len(row)):
                row[j] = nearest(row[j]) << HALF
        for j in range(len(row)):
            values[j] *= scale[j]
        for j in range(len(row)):
            out[i, j] = nearest(row[j])


@njit(cache=True, nogil=True)
def _rotate(x: Any, cos: Any, sin: Any, out: Any, rows: Any) -> None:
    """Bits of bfloat16 x, out (batch, length, heads, width); rows (4, width) are for float32's."""
    values = rows.view(np.float32)
    width, half = x.shape[3], x.shape[3] // 2
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            for j in range(width):
                rows[0, j] = np.uint32(cos[b, i, j]) << HALF
                rows[1, j] = np.uint32(sin[b, i, j]) << HALF
            for j in range(half):
                values[1, j] = -values[1, j]
            for head in range(x.shape[2]):
                for j in range(half):
                    rows[2, j] = np.uint32(x[b, i, head, j]) << HALF
                    rows[2, half + j] = np.uint32(x[b, i, head, half + j]) << HALF
                for j in range(half):
                    values[3, j] = values[2, half + j] * values[1, j]
                    values[3, half + j] = values[2, j] * values[1, half + j]
                for j in range(width):
                    values[2, j] *= values[0, j]
                for j in range(width):
                    rows[2, j] = nearest(rows[2, j]) << HALF
                    rows[3, j] = nearest(rows[3, j]) << HALF
                for j in range(width):
                    values[2, j] += values[3, j]
                for j in range(width):
                    out[b, i, head, j] = nearest(rows[2, j])
