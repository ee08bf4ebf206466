"""bfloat16 as integers, of which numpy has those of 16 bits, for functions that numba compiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

#: A bfloat16 is the upper half of the bits of a float32
HALF = np.uint32(16)


def bits_of(x: Tensor) -> np.ndarray:
    """The same memory as integers of 16 bits."""
    return x.detach().view(torch.uint16).numpy()


@njit(cache=True)
def nearest(bits: Any) -> Any:
    """The upper half of a float32's bits, rounded to the nearest, and to the even one of two."""
    return (bits + np.uint32(0x7FFF) + ((bits >> HALF) & np.uint32(1))) >> HALF
