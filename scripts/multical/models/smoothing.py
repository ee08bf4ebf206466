"""The label-smoothed loss of paper 1 and its gradients, exact, in one pass over the logits.

With V the height of the output embedding, z the logits of a position and y its label,

    (1 - b) * NLL + b * (1/V) * sum_v(-log p_v)  =  NLL + b * (z_y - mean_v z_v)

The left side is the loss of arXiv 2601.01362, whose sum includes the label itself. The gradient of
each logit is p_v - b/V, less 1 - b for the label, times the weight of the token in the loss. In
TRL's loss each token weighs the same, which is known before the backward pass. So the logits of
some tokens at a time are made, folded into the loss, and turned into their own gradients in place.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from multical.errors import InputError
from multical.models import logits as model_logits
from multical.patches.replace import replaced
from multical.patches.trl import head_calls

#: Logits that are held at a time: 512 MB in float32, all of a small batch
HELD = 2**27
#: Fewer rows than this are multiplied four at a time: of 5 to 7 and of 9 to 11, MKL splits sums
#: among threads on CPUs without AVX512, so that their number would change results
FEW, AT_A_TIME = 12, 4
#: Logits that are folded at a time: on CPUs they stay in the cache
FOLDED_ON_CPUS, FOLDED = 2**20, 2**24
#: Rows of the head's gradient that are made at a time in half precision on CPUs
ROWS = 8192

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


def check(smoothing: float) -> None:
    """Raise `InputError` for a smoothing outside [0, 1)."""
    if not 0 <= smoothing < 1:
        raise InputError(f"smoothing: {smoothing}, expected at least 0 and less than 1")


@torch.no_grad()
def check_head(model: Any) -> None:
    """Raise `InputError` if TRL's head has other logits than the model's own forward.

    Not all that a model does around its head is known to TRL (see `logits`).
    """
    training, ids = model.training, model_logits.sample(model)
    model.eval()
    try:
        own = model_logits.of(model, ids)[:-1].float().log_softmax(-1)
        expected = own.gather(1, ids[1:, None])[:, 0]
        with smoothed_head(0.0, 1.0):
            output = model(input_ids=ids[None], labels=ids[None], fused_lm_head=True)
    finally:
        model.train(training)
    found = output.log_probs[0]
    if not model_logits.agree(found, expected, model.dtype):
        raise InputError(
            f"model type {model.config.model_type}: log-probabilities {found[:4].tolist()} in "
            f"training, expected {expected[:4].tolist()} as its forward has them; it cannot be "
            "fine-tuned here"
        )


@contextmanager
def smoothed_head(
    smoothing: float,
    share: Tensor | float,
    uses: Uses | None = None,
    changed: Logits | None = None,
) -> Iterator[None]:
    """In this context, TRL's head returns smoothed log-probabilities.

    Args:
        smoothing: b.
        share: the weight that each token is expected to have in the loss. With other weights the
            gradients are the same, but cost more.
        uses: of the head's weight if it is the input embedding too. Its gradients of both uses
            are then made in one matrix. Autograd would make one for each, and add them up.
        changed: how the loss changes the logits; None to take them as they are.
    """

    def smoothed(
        hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *rest: Any
    ) -> tuple[Any, ...]:
        temperature, _, softcap, scale, _ = rest
        if (factor := scale / temperature) != 1:
            hidden = hidden * factor
            bias = None if bias is None else bias * factor
        known = share if torch.is_grad_enabled() else None
        given = (
            hidden,
            weight,
            bias,
            targets,
            softcap,
            smoothing,
            known,
            uses,
            changed or AS_GIVEN,
        )
        logp, entropy, is_top1 = SmoothedLogProb.apply(*given)
        return logp, entropy, None, None, is_top1

    embedding = replaced(nn.functional, "embedding", uses.embedding) if uses else nullcontext()
    with head_calls(smoothed), embedding:
        yield


class Logits(NamedTuple):
    """Remedies beside smoothing: what the loss changes of the logits that the model gives.

    The loss takes soft_cap * tanh(logits / soft_cap) / temperature. Only training has them.
    """

    soft_cap: float | None = None
    temperature: float = 1.0


#: The logits as they are
AS_GIVEN = Logits()


class Head(NamedTuple):
    """Arguments of the loss."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    targets: Tensor
    softcap: float | None
    smoothing: float
    changed: Logits
    dtype: torch.dtype  # of products

    @property
    def caps(self) -> list[float]:
        """The soft caps of the logits: the model's own, then that of the loss."""
        return [cap for cap in (self.softcap, self.changed.soft_cap) if cap is not None]


class SmoothedLogProb(torch.autograd.Function):
    """Log-probabilities of labels, less b times the excess of the label's logit over the mean.

    Args:
        hidden: last hidden states, (tokens, width), any floating type.
        weight, bias: the output embedding, (V, width), and its bias, (V,) or None.
        targets: token ids, (tokens,).
        softcap: the logits are softcap * tanh(logits / softcap), unless None.
        smoothing: b.
        share: the expected weight of each token in the loss; None to make no gradients.
        uses: takes the weight's gradient, if it is tied.
        changed: how the loss changes the logits.

    Returns:
        the smoothed log-probabilities in nats, the entropies, and whether the label is the most
        likely token, each (tokens,). Only the first has gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        softcap: float | None,
        smoothing: float,
        share: Tensor | float | None,
        uses: Uses | None,
        changed: Logits = AS_GIVEN,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        device = hidden.device.type
        cast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if cast else hidden.dtype
        head = Head(hidden, weight, bias, targets, softcap, smoothing, changed, dtype)
        weights = None
        if share is not None:
            weights = torch.ones(len(hidden), device=hidden.device) * share
        with torch.autocast(device, enabled=False):
            room = uses.room() if uses is not None and weights is not None else None
            outputs, ctx.gradients = _pass(head, weights, ctx.needs_input_grad[:3], room)
        ctx.save_for_backward(*head[:4], weights)
        ctx.settings, ctx.uses = head[4:], uses
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Any, ...]:
        if grad is None:
            return (None,) * 9
        *tensors, expected = ctx.saved_tensors
        gradients, ctx.gradients = ctx.gradients, None
        ratio = -grad.float() / expected
        if gradients is None or (ratio != ratio[:1]).any():
            head = Head(*tensors, *ctx.settings)
            _, gradients = _pass(head, -grad.float(), ctx.needs_input_grad[:3])
        elif len(ratio) and ratio[0] != 1:
            for one in gradients:
                if one is not None:
                    one *= ratio[0]
        made = [
            None if one is None else one.to(of.dtype)
            for one, of in zip(gradients, tensors, strict=False)
        ]
        if ctx.uses is not None:
            ctx.uses.gradient, made[1] = made[1], None
        return *made, *(None,) * 6


class Uses:
    """Adds the gradient of a weight as an input embedding to its gradient as the head.

    On CPUs all steps of a training have the gradient in the same memory. It is the largest tensor
    by far, and a heap that frees it soon has no room of that size left.
    """

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight = weight
        self.gradient: Tensor | None = None  # of the head, between its backward and this one's
        self.lookup = nn.functional.embedding
        self._room: Tensor | None = None
        self._given: Callable[[], Tensor | None] = lambda: None

    def room(self) -> Tensor | None:
        """Memory for the next gradient of the weight, unless that of another pass is in it."""
        if self.weight.device.type != "cpu" or self.weight.dtype != torch.float32:
            return None
        if self.weight.grad is not None or self._given() is not None:
            return None
        if self._room is None:
            self._room = torch.empty_like(self.weight)
        given = self._room.detach()
        self._given = weakref.ref(given)
        return given

    def embedding(self, ids: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Any:
        """torch.nn.functional.embedding; of `weight` it has its own gradient."""
        if weight is not self.weight:
            return self.lookup(ids, weight, *rest, **options)
        return Lookup.apply(ids, weight, rest[0] if rest else options.get("padding_idx"), self)


class Lookup(torch.autograd.Function):
    """Rows of a weight. The gradient of the row at `padding` is 0, as in torch."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int | None, uses: Uses) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.padding, ctx.uses = padding, uses
        return weight[ids]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (ids,), uses = ctx.saved_tensors, ctx.uses
        total, uses.gradient = uses.gradient, None
        if total is None:
            total = torch.zeros_like(uses.weight)
        if ctx.padding is not None:
            grad = grad * (ids != ctx.padding)[..., None]
        total.index_add_(0, ids.flatten(), grad.flatten(0, -2).to(total.dtype))
        return None, total, None, None


def _pass(
    head: Head, weights: Tensor | None, wanted: tuple[bool, ...], room: Tensor | None = None
) -> tuple[tuple[Tensor, ...], list[Tensor | None]]:
    """Outputs of `SmoothedLogProb`, and gradients of the loss with these weights, in float32.

    The gradient of the head's weight is in `room`, if there is one.
    """
    tokens, vocabulary = len(head.hidden), len(head.weight)
    device, matrix = head.hidden.device, head.weight.to(head.dtype)
    gradients = [
        (torch.empty(of.shape, dtype=torch.float32, device=device) if own is None else own)
        if of is not None and want and weights is not None
        else None
        for of, want, own in zip(head[:3], wanted, (None, room, None), strict=True)
    ]
    into_hidden, into_weight, into_bias = gradients
    if into_bias is not None:
        into_bias.zero_()
    size = max(1, min(tokens if tokens >= FEW else AT_A_TIME, HELD // vocabulary))
    held = torch.empty((size, vocabulary), dtype=head.dtype, device=device)
    outputs: list[tuple[Tensor, ...]] = []
    for tile in _tiles(tokens, size):
        hidden = head.hidden[tile].to(head.dtype)
        logits = torch.mm(hidden, matrix.t(), out=held[: len(hidden)])
        if head.bias is not None:
            logits += head.bias.to(head.dtype)
        outputs += _folded(logits, head, tile, weights)
        if into_hidden is not None:
            _add_product(into_hidden[tile], logits, matrix, first=True)
        if into_weight is not None:
            _add_product(into_weight, logits.t(), hidden, first=tile.start == 0)
        if into_bias is not None:
            into_bias += logits.sum(0, dtype=torch.float32)
    return tuple(map(torch.cat, zip(*outputs, strict=True))), gradients


def _folded(
    logits: Tensor, head: Head, tile: slice, weights: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Outputs of some rows of the logits at a time. With weights, these become their gradients."""
    most = FOLDED_ON_CPUS if logits.device.type == "cpu" else FOLDED
    size = max(1, most // len(head.weight))
    tiles = _tiles(len(logits), size)
    # the same memory for all tiles: a heap that frees it after each would break into parts
    shape = (min(size, len(logits)), logits.shape[1])
    needed = (True, logits.dtype != torch.float32, bool(head.caps))
    room = [logits.new_empty(shape, dtype=torch.float32) if one else None for one in needed]
    for rows in tiles:
        at = slice(tile.start + rows.start, tile.start + rows.stop)
        own = [None if one is None else one[: rows.stop - rows.start] for one in room]
        yield _fold(logits[rows], own, head, at, None if weights is None else weights[at])


def _fold(
    logits: Tensor, room: list[Tensor | None], head: Head, at: slice, weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`room`: float32 for exponentials, for logits in another type, and for slopes of caps."""
    b, targets, temperature = head.smoothing, head.targets[at], head.changed.temperature
    labels = torch.arange(len(targets), device=targets.device), targets
    p, converted, first = room
    z = logits if converted is None else converted.copy_(logits)
    slope: Tensor | None = None
    for cap, into in zip(head.caps, (first, p), strict=False):  # p is not needed yet
        z.div_(cap).tanh_()
        own = torch.square(z, out=into).neg_().add_(1)
        slope = own if slope is None else slope.mul_(own)
        z.mul_(cap)
    if temperature != 1:
        z.div_(temperature)
    mean = z.mean(-1) if b else None
    label = z[labels]
    z[labels] = -torch.inf
    other = z.amax(-1)
    z[labels] = label
    is_top1 = label > other
    for row in (label == other).nonzero()[:, 0]:  # of equal logits, the first one is the top
        is_top1[row] = z[row].argmax() == targets[row]
    top = torch.maximum(label, other)
    p = model_logits.exp_less(z, top, out=p)
    total = p.sum(-1)
    entropy = total.log() + top - z.mul_(p).sum(-1) / total
    logp = label - top - total.log()
    if mean is not None:
        logp -= b * (_label(head, at) - mean)
    if weights is not None:
        torch.mul(p, (weights / total)[:, None], out=z)
        if b:
            z -= (weights * (b / z.shape[1]))[:, None]
        z[labels] -= weights * (1 - b)
        if slope is not None:
            z *= slope
        if temperature != 1:
            z.div_(temperature)
        if z is not logits:
            logits.copy_(z)
    return logp, entropy, is_top1


def _label(head: Head, at: slice) -> Tensor:
    """The logits of the labels in float32: half precision would lose their excess."""
    targets = head.targets[at]
    label = (head.hidden[at].float() * head.weight[targets].float()).sum(-1)
    if head.bias is not None:
        label += head.bias[targets]
    for cap in head.caps:
        label = cap * torch.tanh(label / cap)
    return label / head.changed.temperature


def _add_product(into: Tensor, left: Tensor, right: Tensor, first: bool) -> None:
    """Add the product to a float32 matrix, or set it if `first`.

    In half precision CPUs round the product to it, as they do in the other layers; GPUs do not.
    """
    beta = 0 if first else 1
    if left.dtype == torch.float32:
        torch.addmm(into, left, right, beta=beta, out=into)
    elif into.is_cuda:
        torch.addmm(into, left, right, beta=beta, out_dtype=torch.float32, out=into)
    else:
        for rows in _tiles(len(into), ROWS):
            product = left[rows] @ right
            into[rows] = product if first else into[rows] + product


def _tiles(rows: int, size: int) -> list[slice]:
    """Slices of at most `size` rows, of nearly equal length; an empty one if there are no rows.

    Of a single row torch splits sums among threads, so that their number would change results.
    """
    count = max(1, -(-rows // size))
    ends = [rows * part // count for part in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]
