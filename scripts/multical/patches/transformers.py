"""transformers 5.23 has a layer in Falcon that it cannot quantize.

Until transformers > 5.23.0: a Falcon of torch's own layers, or one whose layers are quantized.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from transformers.models.falcon import modeling_falcon

from multical.patches.replace import replaced


def plain_linears() -> AbstractContextManager[None]:
    """Build Falcon from torch's linear layers inside the `with` block, so that it can be quantized.

    Falcon's own linear layers differ from torch's by rounding alone, and only with a bias.
    """
    return replaced(modeling_falcon, "FalconLinear", torch.nn.Linear)
