"""PyTorch and oneDNN keep what they compiled of a matrix product for the next one of its shape.

Each takes 0.5 MB, and each keeps 1,024 of them. A batch here rarely has the shape of another one:
what a training of Gemma held grew by 0.4 GB in 32 steps.

Until never: these are defaults that suit batches of one shape.
"""

from __future__ import annotations

import os

#: How many each of them keeps: at least those of one layer, forwards and backwards
KEPT = 32
#: Variables that they read at the first product
VARIABLES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")


def keep_few_primitives() -> None:
    """Have both keep the last `KEPT` alone, unless the environment says otherwise."""
    for name in VARIABLES:
        os.environ.setdefault(name, str(KEPT))
