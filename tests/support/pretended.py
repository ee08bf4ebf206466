"""Devices that torch has no hardware for, pretended on the CPU.

A tensor on one says that it is there, and an operation on tensors of two devices is an error, as on
GPUs. XLA's name stands for theirs, since torch would look for the hardware of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

ONE, OTHER = "xla:0", "xla:1"
#: Operations that take indices on the CPU for a tensor elsewhere
INDEXED = ("__getitem__", "__setitem__", "index", "index_put", "index_put_", "_index_put_impl_")
#: Operations that move
MOVES = ("to", "_to_copy", "copy_")


class Placed(Tensor):
    """A tensor on a pretended device; its numbers are in `own`, on the CPU."""

    own: Tensor

    @staticmethod
    def __new__(cls, own: Tensor, device: Any) -> Placed:
        made: Placed = torch.Tensor._make_wrapper_subclass(
            cls,
            own.shape,
            strides=own.stride(),
            storage_offset=own.storage_offset(),
            dtype=own.dtype,
            device=device,
        )
        made.own = own
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own stub lacks func
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class Devices(TorchDispatchMode):
    """Makes new tensors on pretended devices, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Python(TorchFunctionMode):
    """What torch does before it asks for an operation: indexing, and tensors of lists."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and "device" in kwargs:
            return func(*args, **kwargs | {"device": "cpu"}).to(kwargs["device"])
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            # torch has no guard for the device, or knows no subclass there
            if not any(words in str(error) for words in ("not linked", "tensor subclasses")):
                raise
            return _run(func, args, kwargs)


@contextmanager
def devices() -> Iterator[None]:
    """Pretend devices inside of the `with` block."""
    with Devices(), Python():
        yield


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation on the numbers, whose result is where its tensors are, or on a given device."""
    leaves, shape = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    name = func.__name__.partition(".")[0]
    weighty = [one for one in tensors if one.dim()] or tensors  # single numbers go everywhere
    if name in INDEXED:
        weighty = [one for one in weighty if isinstance(one, Placed)] or weighty
    found = {str(one.device) for one in weighty}
    if len(found) > 1 and name not in MOVES:
        raise RuntimeError(f"{name}: found tensors on {sorted(found)}, expected one device")
    device = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    if device is None and weighty:
        device = weighty[0].device
    originals = {id(one.own): one for one in tensors if isinstance(one, Placed)}

    def placed(result: Any) -> Any:
        if not isinstance(result, Tensor):
            return result
        original = originals.get(id(result), result)
        if device is None or original.device == device:
            return original
        moved = result.clone() if original is not result else result
        return moved if device.type == "cpu" else Placed(moved, device)

    plain_args, plain_kwargs = tree_unflatten([_plain(leaf) for leaf in leaves], shape)
    return tree_map(placed, func(*plain_args, **plain_kwargs))


def _plain(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("cpu")
    return leaf.own if isinstance(leaf, Placed) else leaf
