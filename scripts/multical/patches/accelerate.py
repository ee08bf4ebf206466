"""accelerate 1.15 adds up sharded gradients in the type of the forward pass.

Until accelerate > 1.15.0: a setting for the type of these sums.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy


def add_gradients_in_float32(accelerator: Any, precision: str) -> None:
    """Have FSDP add up the gradients of all processes in float32, as one process does.

    accelerate has no setting for it: its mixed precision in bfloat16 also adds up in bfloat16.
    """
    accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
        param_dtype=getattr(torch, precision), reduce_dtype=torch.float32
    )
