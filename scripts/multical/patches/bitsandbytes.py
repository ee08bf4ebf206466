"""bitsandbytes 0.50 has a fast path on CPUs that gives other numbers.

Its import, and so that of peft, warns that a library for that path is missing.

Until bitsandbytes > 0.50.2: a layer that takes that path for bfloat16 alone.
"""

from __future__ import annotations

import logging
from typing import Any

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def multiply_in_own_dtype(layer: Any) -> None:
    """Have a `Linear4bit` on a CPU multiply in the type of its input.

    On processors with AVX512-BF16 it would multiply in bfloat16, which not all shapes support.
    """
    layer.support_avx512bf16_for_cpu = False
