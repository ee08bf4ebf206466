"""The label-smoothed loss of paper 1, exact and at little cost on top of TRL's fused NLL.

With V the height of the output embedding, z the logits of a position and y its label,

    (1 - b) * NLL + b * (1/V) * sum_v(-log p_v)  =  NLL + b * (z_y - mean_v z_v)

Adding b times the *excess* of the label's logit over the mean logit thus turns any NLL into the
smoothed loss. For a linear head the excess is h . (W_y - mean_v W_v), plus the same difference of
the biases. It takes one gather and one dot product per token, and no logits. With a soft cap
(Gemma 2), z is a nonlinear function of that product, so that the logits are needed: TRL's head
returns their mean, and the backward pass recomputes them in tiles.

The left side is the loss of arXiv 2601.01362, whose sum includes the label itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction

from multical.errors import InputError
from multical.patches.trl import add_product, head_calls

#: Vocabulary entries per tile of logits on CPUs, where TRL's 32768 take much more memory and are
#: not faster
ENTRIES = 8192
#: Tokens per tile of logits in the backward pass of a soft-capped head
TOKENS = 1024
#: Rows of the head that are summed at a time, few enough to stay in the CPU cache
ROWS = 1024
#: Keys of model configs that scale the logits
SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")


def check(smoothing: float, config: Any) -> None:
    """Raise `InputError` for a smoothing outside [0, 1), and for a head that scales its logits."""
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
    """In this context, TRL's head subtracts `smoothing` times the excess from log-probabilities."""

    def smoothed(*args: Any) -> Any:
        return SmoothedLogProb.apply(*args, smoothing)

    return head_calls(smoothed) if smoothing else nullcontext()


class SmoothedLogProb(ChunkedLogProbFunction):
    """TRL's autograd function of a head, with log-probabilities log p_y - b * excess.

    Its backward pass adds to the gradients of TRL's backward pass in place, since nothing else
    refers to them yet. Autograd would build a matrix of the weight's size, (V, width), for the
    gather, for the mean and for each sum. For large vocabularies that costs more than the rest of
    the loss. If TRL computes no gradient, for example for a frozen head, neither does this.

    Args:
        hidden: last hidden states, (tokens, width), any floating type.
        weight, bias: the output embedding, (V, width), and its bias, (V,) or None.
        targets: token ids, (tokens,).
        temperature, chunk_size: as in TRL; the temperature must be 1.
        softcap: the logits are softcap * tanh(logits / softcap), unless None.
        logit_scale: as in TRL; it must be 1, see `check`.
        outputs: names of the outputs of TRL besides log-probabilities.
        smoothing: b.

    Returns:
        the smoothed log-probabilities, (tokens,), in nats, float32, then TRL's other outputs.
    """

    @staticmethod
    def forward(  # type: ignore[override]  # the argument smoothing is ours
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
        if (temperature, logit_scale) != (1, 1):  # `check` should have found it
            raise RuntimeError(f"smoothing: logits scaled by {logit_scale} / {temperature}")
        if hidden.device.type == "cpu":
            chunk_size = min(chunk_size, ENTRIES)
        if softcap is not None:
            outputs = (*outputs, "mean_logits")
        settings = (temperature, chunk_size, softcap, logit_scale, outputs)
        rest: list[Any]
        logp, *rest = ChunkedLogProbFunction.forward(ctx, hidden, weight, bias, targets, *settings)
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
    """Add slope times the gradients of the excess h . (W_y - mean W), biases included."""
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
    """Add the same through a soft cap, from tiles of logits.

    Products have the type of the NLL. Sums are in float32, and rounded to the type of the
    gradients as in TRL: for half-precision weights, gradients have half precision.
    """
    hidden, weight, bias, targets, *_ = ctx.saved_tensors
    dtype, softcap = ctx.compute_dtype, ctx.softcap
    rows = weight[targets].float()
    label = (hidden.float() * rows).sum(-1)
    if bias is not None:
        label += bias[targets]
    pulled = slope * (
        1 - torch.tanh(label / softcap) ** 2
    )  # derivative of softcap * tanh(z / softcap)
    into_hidden = pulled[:, None] * rows
    if grad_weight is not None:
        into_rows = pulled[:, None] * hidden.float()
        grad_weight.index_add_(0, targets, into_rows.to(grad_weight.dtype))
    if grad_bias is not None:
        grad_bias.index_add_(0, targets, pulled.to(grad_bias.dtype))
    for entries in _tiles(weight, ctx.chunk_size):
        weight_tile = weight[entries].to(dtype)
        grad_tile = (
            None if grad_weight is None else grad_weight[entries].float()
        )  # no copy if it is float32
        for tokens in _tiles(hidden, TOKENS):
            hidden_tile = hidden[tokens].to(dtype)
            tile = torch.mm(hidden_tile, weight_tile.t()).float()
            if bias is not None:
                tile += bias[entries].float()
            tile.div_(softcap).tanh_().square_().sub_(1).mul_(slope[tokens, None] / len(weight))
            if grad_bias is not None:
                grad_bias[entries] += tile.sum(0).to(grad_bias.dtype)
            tile = tile.to(dtype)
            add_product(into_hidden[tokens], tile, weight_tile)
            if grad_tile is not None:
                add_product(grad_tile, tile.t(), hidden_tile)
        if (
            grad_weight is not None
            and grad_tile is not None
            and grad_tile.dtype != grad_weight.dtype
        ):
            grad_weight[entries] = grad_tile.to(grad_weight.dtype)
    if grad_hidden is not None:
        grad_hidden += into_hidden


def _mean(weight: Tensor) -> Tensor:
    """mean_v W_v in float32. Sums over a few rows at a time take half the time on CPUs."""
    sums = [part.sum(0, dtype=torch.float32) for part in weight.split(ROWS)]
    return torch.stack(sums).sum(0) / len(weight)


def _tiles(rows: Tensor, size: int) -> list[slice]:
    return [slice(at, at + size) for at in range(0, len(rows), size)]
