"""The label-smoothed loss of paper 1, exact and nearly free on top of TRL's fused NLL.

With V the height of the output embedding, z the logits of a position and y its label,

    (1 - b) * NLL + b * (1/V) * sum_v(-log p_v)  =  NLL + b * (z_y - mean_v z_v)

so that any NLL becomes a smoothed one by adding b times the *excess* of the label's
logit over the mean logit. For a linear head the excess is h . (W_y - mean_v W_v), plus
the same of the biases: one gather and one dot product for each token, and no logits.
A soft cap (Gemma 2) stands between that product and z, so there the logits are
needed: TRL's head tells their mean, and the gradient makes them again, a tile at a time.

The left side is the loss of arXiv 2601.01362, the label itself included in the sum.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction

from multical.errors import InputError
from multical.patches.trl import add_product, head_calls

#: Entries of the vocabulary in one tile of logits on CPUs, where TRL's own 32768 take many
#: times the memory and are no faster
ENTRIES = 8192
#: Tokens in one tile of logits of a soft-capped head's gradient
TOKENS = 1024
#: Rows of the head that are added up at a time: few enough to stay in a cache
ROWS = 1024
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


def smoothed_head(smoothing: float) -> AbstractContextManager[None]:
    """Have TRL's head, within, take `smoothing` times the excess off its log-probabilities."""

    def smoothed(*given: Any) -> Any:
        return SmoothedLogProb.apply(*given, smoothing)

    return head_calls(smoothed) if smoothing else nullcontext()


class SmoothedLogProb(ChunkedLogProbFunction):
    """TRL's function of a head, whose log-probabilities are log p_y - b * excess.

    Its backward adds to the gradients that TRL's has just made, which nothing else holds
    yet. Autograd would build a matrix of the weight's size, (V, width), for the gather, one
    for the mean and one for each sum, which for large vocabularies costs more than the rest
    of the loss. Where TRL has no gradient, as for a frozen head, none is made.

    Args:
        hidden: last hidden states, (tokens, width), any floating type.
        weight, bias: the output embedding, (V, width), and its (V,) or None.
        targets: token ids, (tokens,).
        temperature, chunk_size: TRL's; the temperature is 1.
        softcap: the logits are softcap * tanh(logits / softcap), unless None.
        logit_scale: TRL's, 1, see `check`.
        outputs: names of what TRL computes besides log-probabilities.
        smoothing: b.

    Returns:
        (tokens,) in nats, float32; then TRL's other outputs, not smoothed.
    """

    @staticmethod
    def forward(  # type: ignore[override]  # one more, the smoothing
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None,
        logit_scale: float,
        outputs: tuple[str, ...],
        smoothing: float,
    ) -> tuple[Any, ...]:
        if (temperature, logit_scale) != (1, 1):  # `check` knows the models that have any
            raise RuntimeError(f"smoothing: logits scaled by {logit_scale} / {temperature}")
        if hidden.device.type == "cpu":
            chunk_size = min(chunk_size, ENTRIES)
        if softcap is not None:
            outputs = (*outputs, "mean_logits")
        trl = (temperature, chunk_size, softcap, logit_scale, outputs)
        given = (hidden, weight, bias, targets, *trl)
        rest: list[Any]
        logp, *rest = ChunkedLogProbFunction.forward(ctx, *given)
        ctx.smoothing, ctx.softcap = smoothing, softcap
        ctx.mean = _mean(weight) if softcap is None else None
        rows = weight[targets].float()
        excess = (hidden.float() * (rows if ctx.mean is None else rows - ctx.mean)).sum(-1)
        if bias is not None:
            excess += bias[targets]
        if softcap is not None:
            excess = softcap * torch.tanh(excess / softcap) - rest[2]  # mean_logits
        elif bias is not None:
            excess -= bias.float().mean()
        return logp - smoothing * excess, *rest

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *others: Any) -> tuple[Any, ...]:
        grads = ChunkedLogProbFunction.backward(ctx, grad, *others)
        if grad is not None:
            add = _add_linear if ctx.softcap is None else _add_capped
            add(ctx, -ctx.smoothing * grad.float(), *grads[:3])
        return *grads, None


def _add_linear(
    ctx: Any,
    slope: Tensor,
    grad_hidden: Tensor | None,
    grad_weight: Tensor | None,
    grad_bias: Tensor | None,
) -> None:
    """Add slope times the gradients of h . (W_y - mean W), and of the biases."""
    hidden, weight, _, targets, *_ = ctx.saved_tensors
    if grad_hidden is not None:
        grad_hidden += slope[:, None] * (weight[targets].float() - ctx.mean)
    if grad_weight is not None:
        pulled = slope[:, None] * hidden.float()
        grad_weight -= pulled.sum(0) / len(weight)
        grad_weight.index_add_(0, targets, pulled.to(grad_weight.dtype))
    if grad_bias is not None:
        grad_bias -= slope.sum() / len(weight)
        grad_bias.index_add_(0, targets, slope.to(grad_bias.dtype))


def _add_capped(
    ctx: Any,
    slope: Tensor,
    grad_hidden: Tensor | None,
    grad_weight: Tensor | None,
    grad_bias: Tensor | None,
) -> None:
    """The same through a soft cap, from tiles of logits.

    Products are of the NLL's type, sums in float32, rounded to the gradients' own type as
    TRL's are: with half-precision weights the gradients have the precision of these.
    """
    hidden, weight, bias, targets, *_ = ctx.saved_tensors
    dtype, softcap = ctx.compute_dtype, ctx.softcap
    rows = weight[targets].float()
    label = (hidden.float() * rows).sum(-1)
    if bias is not None:
        label += bias[targets]
    pulled = slope * (1 - torch.tanh(label / softcap) ** 2)  # softcap * tanh(z / softcap) in z
    into_hidden = pulled[:, None] * rows
    if grad_weight is not None:
        into_rows = pulled[:, None] * hidden.float()
        grad_weight.index_add_(0, targets, into_rows.to(grad_weight.dtype))
    if grad_bias is not None:
        grad_bias.index_add_(0, targets, pulled.to(grad_bias.dtype))
    for entries in _tiles(weight, ctx.chunk_size):
        part = weight[entries].to(dtype)
        into = None if grad_weight is None else grad_weight[entries].float()  # itself, if float32
        for tokens in _tiles(hidden, TOKENS):
            some = hidden[tokens].to(dtype)
            tile = torch.mm(some, part.t()).float()
            if bias is not None:
                tile += bias[entries].float()
            tile.div_(softcap).tanh_().square_().sub_(1).mul_(slope[tokens, None] / len(weight))
            if grad_bias is not None:
                grad_bias[entries] += tile.sum(0).to(grad_bias.dtype)
            tile = tile.to(dtype)
            add_product(into_hidden[tokens], tile, part)
            if into is not None:
                add_product(into, tile.t(), some)
        if grad_weight is not None and into is not None and into.dtype != grad_weight.dtype:
            grad_weight[entries] = into.to(grad_weight.dtype)
    if grad_hidden is not None:
        grad_hidden += into_hidden


def _mean(weight: Tensor) -> Tensor:
    """mean_v W_v in float32, from sums that stay in a cache: on CPUs in half the time."""
    sums = [part.sum(0, dtype=torch.float32) for part in weight.split(ROWS)]
    return torch.stack(sums).sum(0) / len(weight)


def _tiles(rows: Tensor, size: int) -> list[slice]:
    return [slice(at, at + size) for at in range(0, len(rows), size)]
