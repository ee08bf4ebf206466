"""bfloat16 and powers of 2 as integers, for functions that numba compiles.

numpy has no bfloat16 but integers of 16 bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

#: A bfloat16 is the upper half of the bits of a float32
HALF = np.uint32(16)
#: Bits of a float32 after its exponent, and the terms of a series of 2^x
EXPONENT = np.uint32(23)
SERIES = tuple(np.float32(math.log(2) ** n / math.factorial(n)) for n in range(7))
#: The least x, where 2^x counts as nothing, and the greatest, where float32 has but infinity
LEAST, MOST = np.float32(-126), np.float32(128)
#: 2^(x LOG2_E) = exp(x)
LOG2_E = np.float32(1 / math.log(2))


def bits_of(x: Tensor) -> np.ndarray:
    """The same memory as integers of 16 bits."""
    return x.detach().view(torch.uint16).numpy()


@njit(cache=True)
def nearest(bits: Any) -> Any:
    """The upper half of a float32's bits, rounded to the nearest, and to the even one of two."""
    return (bits + np.uint32(0x7FFF) + ((bits >> HALF) & np.uint32(1))) >> HALF


@njit(cache=True)
def power(x: Any) -> Any:
    """2^x of a float32 from LEAST to MOST: a float32, and what is to be added to its bits."""
    nearby = np.floor(x + np.float32(0.5))
    x -= nearby
    y = SERIES[6]
    y = y * x + SERIES[5]
    y = y * x + SERIES[4]
    y = y * x + SERIES[3]
    y = y * x + SERIES[2]
    y = y * x + SERIES[1]
    return y * x + SERIES[0], np.uint32(np.int32(nearby)) << EXPONENT
