"""The label-smoothed loss of study 1, exact and nearly free on top of a fused NLL.

With V the height of the output embedding, z the logits of a position and y its label,

    (1 - b) * NLL + b * (1/V) * sum_v(-log p_v)  =  NLL + b * (z_y - mean_v z_v)

so that any NLL becomes a smoothed one by adding b times the *excess* of the label's
logit over the mean logit. For a linear head the excess is h . (W_y - mean_v W_v), plus
the same of the biases: one gather and one dot product for each token, and no logits.
A soft cap (Gemma 2) stands between that product and z, so there the logits are
needed, and made a tile at a time.

The left side is the loss of arXiv 2601.01362, the label itself included in the sum.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from multical.errors import InputError

#: Logits that a soft-capped head has in memory at a time: tokens, times vocabulary entries
TILE = (4096, 32768)
#: Keys of model configurations that multiply or divide the logits
SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")


def check(smoothing: float, config: Any) -> None:
    """Refuse a smoothing outside [0, 1), and a head whose logits are scaled."""
    if not 0 <= smoothing < 1:
        raise InputError(f"smoothing: {smoothing}, expected at least 0 and less than 1")
    text = config.get_text_config()
    for key in SCALES:
        if (scale := getattr(text, key, None)) not in (None, 1):
            raise InputError(
                f"{config.name_or_path}: {key} is {scale}, expected a head that does not scale "
                "its logits"
            )


def excess(hidden: Tensor, head: nn.Linear, targets: Tensor, softcap: float | None) -> Tensor:
    """z_y - mean_v z_v of each token.

    Args:
        hidden: last hidden states, (tokens, width), any floating type.
        head: the output embedding, V rows.
        targets: token ids, (tokens,).
        softcap: the logits are softcap * tanh(logits / softcap), unless None.

    Returns:
        (tokens,) in nats, float32, differentiable in `hidden` and the head's parameters.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        if softcap is not None:
            return _capped_excess(hidden.float(), head, targets, softcap)
        difference = _LinearExcess.apply(hidden, head.weight, targets)
        if head.bias is not None:
            bias = head.bias.float()
            difference = difference + bias[targets] - bias.mean()
        return difference


class _LinearExcess(torch.autograd.Function):
    """h . (W_y - mean W), whose gradient for W is one matrix, not a sum of several.

    Autograd would build a (V, width) matrix for the gather and one more for the mean,
    which for large vocabularies costs more time than the rest of the loss.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        centred = weight[targets].float() - weight.mean(0, dtype=torch.float32)
        ctx.save_for_backward(hidden, centred, targets)
        ctx.weight = weight.shape, weight.dtype
        return (hidden.float() * centred).sum(-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, centred, targets = ctx.saved_tensors
        shape, dtype = ctx.weight
        pulled = grad[:, None] * hidden.float()
        grad_weight = (-pulled.sum(0) / shape[0]).repeat(shape[0], 1)
        grad_weight.index_add_(0, targets, pulled)
        return (grad[:, None] * centred).to(hidden.dtype), grad_weight.to(dtype), None


def _capped_excess(hidden: Tensor, head: nn.Linear, targets: Tensor, softcap: float) -> Tensor:
    """The same through a soft cap: tiles of logits, made again for the gradient."""
    weight = head.weight.float()
    bias = weight.new_zeros(len(weight)) if head.bias is None else head.bias.float()
    tokens, entries = TILE
    parts = list(zip(weight.split(entries), bias.split(entries), strict=True))
    rows = []
    for some, labels in zip(hidden.split(tokens), targets.split(tokens), strict=True):
        target = (some * weight[labels]).sum(-1) + bias[labels]
        tiles = (
            checkpoint(_capped_sum, some, *part, softcap, use_reentrant=False) for part in parts
        )
        rows.append(_cap(target, softcap) - sum(tiles) / len(weight))
    return torch.cat(rows)


def _capped_sum(hidden: Tensor, weight: Tensor, bias: Tensor, softcap: float) -> Tensor:
    return _cap(nn.functional.linear(hidden, weight, bias), softcap).sum(-1)


def _cap(logits: Tensor, softcap: float) -> Tensor:
    return softcap * torch.tanh(logits / softcap)
