"""The sums of sharded gradients: does accelerate still take the type of the forward pass?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin

from multical.patches.accelerate import add_gradients_in_float32


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_gradients_are_added_up_in_float32(precision: str) -> None:
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    plugin.set_mixed_precision("bf16")
    assert plugin.mixed_precision_policy.reduce_dtype == torch.bfloat16, "no longer needed"
    accelerator = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin))
    add_gradients_in_float32(accelerator, precision)
    assert plugin.mixed_precision_policy.param_dtype == getattr(torch, precision)
    assert plugin.mixed_precision_policy.reduce_dtype == torch.float32
