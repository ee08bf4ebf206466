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
from trl.kernels.chunked_logprob import _addmm_fp32  # sums of products, as in its NLL

from multical.errors import InputError

#: Logits that a soft-capped head has in memory at a time: tokens, times vocabulary entries
TILE = (1024, 32768)
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


def excess(
    hidden: Tensor, head: nn.Linear, targets: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """z_y - mean_v z_v of each token, and the head's weight for the NLL of the same tokens.

    The NLL must take that weight, not the head's own: then both gradients of it are added
    up in the matrix that the NLL's backward made, and no second one of (V, width) is.

    Args:
        hidden: last hidden states, (tokens, width), any floating type.
        head: the output embedding, V rows.
        targets: token ids, (tokens,).
        softcap: the logits are softcap * tanh(logits / softcap), unless None.

    Returns:
        (V, width), the head's weight;
        (tokens,) in nats, float32, differentiable in `hidden` and the head's parameters.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        if softcap is not None:
            return _CappedExcess.apply(hidden, head.weight, head.bias, targets, softcap, dtype)
        weight, difference = _LinearExcess.apply(hidden, head.weight, targets)
        if head.bias is not None:
            bias = head.bias.float()
            difference = difference + bias[targets] - bias.mean()
        return weight, difference


class _LinearExcess(torch.autograd.Function):
    """The weight as it is, and h . (W_y - mean W).

    Its backward is given the NLL's gradient for the weight, which nothing else holds, and
    adds its own in place. Autograd would build a matrix for the gather, one for the mean
    and one for each sum, which for large vocabularies costs more than the rest of the loss.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        mean = _mean(weight)
        ctx.save_for_backward(hidden, weight, targets, mean)
        centred = weight[targets].float() - mean
        return weight.view_as(weight), (hidden.float() * centred).sum(-1)

    @staticmethod
    def backward(ctx: Any, grad_weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, targets, mean = ctx.saved_tensors
        pulled = grad[:, None] * hidden.float()
        grad_weight.sub_(pulled.sum(0) / len(weight))
        grad_weight.index_add_(0, targets, pulled.to(grad_weight.dtype))
        centred = weight[targets].float() - mean
        return (grad[:, None] * centred).to(hidden.dtype), grad_weight, None


class _CappedExcess(torch.autograd.Function):
    """The same through a soft cap: tiles of logits, made again for the gradient.

    Products are of `dtype`, the NLL's, and sums in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        softcap: float,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        ctx.softcap, ctx.dtype = softcap, dtype
        mean = hidden.new_zeros(len(hidden), dtype=torch.float32)
        for rows in _tiles(weight, TILE[1]):
            part = weight[rows].to(dtype)
            for tokens in _tiles(hidden, TILE[0]):
                tile = _capped(hidden[tokens].to(dtype), part, bias, rows, softcap)
                mean[tokens] += tile.sum(-1)
        mean /= len(weight)
        label = (hidden.float() * weight[targets].float()).sum(-1)
        if bias is not None:
            label += bias[targets]
        label = torch.tanh(label / softcap)
        ctx.save_for_backward(hidden, weight, bias, targets, label)
        return weight.view_as(weight), softcap * (label - mean)

    @staticmethod
    def backward(
        ctx: Any, grad_weight: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, None, None, None]:
        hidden, weight, bias, targets, label = ctx.saved_tensors
        slope = grad * (1 - label * label)  # of softcap * tanh(z / softcap) in z
        grad_hidden = slope[:, None] * weight[targets].float()
        pulled = slope[:, None] * hidden.float()
        grad_weight.index_add_(0, targets, pulled.to(grad_weight.dtype))
        grad_bias = None
        if bias is not None:
            grad_bias = torch.zeros_like(bias).index_add_(0, targets, slope.to(bias.dtype))
        for rows in _tiles(weight, TILE[1]):
            part = weight[rows].to(ctx.dtype)
            total = grad_weight[rows].float()  # itself, where that is its type
            for tokens in _tiles(hidden, TILE[0]):
                some = hidden[tokens].to(ctx.dtype)
                tile = _capped(some, part, bias, rows, ctx.softcap)
                tile.square_().sub_(1).mul_(grad[tokens, None] / len(weight))
                if grad_bias is not None:
                    grad_bias[rows] += tile.sum(0).to(bias.dtype)
                tile = tile.to(ctx.dtype)
                _addmm_fp32(grad_hidden[tokens], tile, part)
                _addmm_fp32(total, tile.t(), some)
            if grad_weight.dtype != total.dtype:
                grad_weight[rows] = total.to(grad_weight.dtype)
        return grad_hidden.to(hidden.dtype), grad_weight, grad_bias, None, None, None


def _mean(weight: Tensor) -> Tensor:
    """mean_v W_v in float32, from sums that stay in a cache: on CPUs in half the time."""
    sums = [part.sum(0, dtype=torch.float32) for part in weight.split(TILE[0])]
    return torch.stack(sums).sum(0) / len(weight)


def _tiles(rows: Tensor, size: int) -> list[slice]:
    return [slice(at, at + size) for at in range(0, len(rows), size)]


def _capped(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, rows: slice, softcap: float
) -> Tensor:
    """tanh(logits / softcap) of a tile, float32."""
    logits = torch.mm(hidden, weight.t()).float()
    if bias is not None:
        logits += bias[rows].float()
    return logits.div_(softcap).tanh_()
