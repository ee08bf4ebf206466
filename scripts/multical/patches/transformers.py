"""transformers 5.23: a layer of its Falcon that cannot be quantized."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from transformers.models.falcon import modeling_falcon

from multical.patches.replace import replaced


def plain_linears() -> AbstractContextManager[None]:
    """Have Falcon made of torch's own linear layers, within: transformers quantizes no others.

    Falcon's own differ from them by rounding alone, and only where there is a bias.
    """
    return replaced(modeling_falcon, "FalconLinear", torch.nn.Linear)
