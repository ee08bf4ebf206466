"""What a model's own forward does around its output head.

Before the head a model may transform or divide its hidden states; after it, scale or cap the
logits, or cut their padding off. Names of config keys tell this for some architectures only. So
the forward itself is asked: `states` leaves it at the head, `after_head` lets it go on with given
numbers, and `of` is the forward as it is, to compare with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from multical.errors import InputError

#: Given in place of logits: a small one and a huge one, and some between to verify with
SMALL, HUGE = 2.0**-30, 2.0**100
PROBES = (SMALL, HUGE, -HUGE, 0.0, 1.0, -3.0, 20.0, -150.0)
#: Numbers in float32 that differ by less are taken for rounded ones
ROUNDING = 1e-6
#: Powers of 2 instead of e: on AMD's processors torch's exp takes three times as long as its exp2,
#: and forty times where the result is nearly 0
LOG2_E = 1 / math.log(2)
#: Tokens of the text that a model is asked about, and how many of them it gets a second time
LENGTH, SHORTER = 64, 48


class AfterHead(NamedTuple):
    """The logits are cap * tanh(scale * z / cap) of the head's outputs z.

    Attributes:
        size: how many logits of a position the model returns, from token id 0 on.
        scale: 1 for none.
        cap: None for none: the logits are scale * z.
    """

    size: int
    scale: float
    cap: float | None

    def __call__(self, outputs: Tensor) -> Tensor:
        """Overwrite outputs (..., any) of the head with the model's logits."""
        if self.scale != 1:
            outputs.mul_(self.scale)
        if self.cap is not None:
            outputs.div_(self.cap).tanh_().mul_(self.cap)
        return outputs


class _AtHeadError(Exception):
    """Leaves a forward before its head runs."""


def head(model: Any) -> nn.Linear:
    """The output head; raises `InputError` if it is no linear layer."""
    layer = model.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        found = "none" if layer is None else type(layer).__name__
        raise _refusal(model, f"its output head is {found}, expected a linear layer")
    return layer


def states(model: Any, **inputs: Any) -> Tensor:
    """Hidden states (rows, length, width) that the model's own forward hands its head.

    Raises `InputError` if it does not call its head.
    """
    found: list[Tensor] = []

    def leave(module: nn.Module, given: tuple[Any, ...]) -> None:
        found.append(given[0])
        raise _AtHeadError

    hook = head(model).register_forward_pre_hook(leave)
    try:
        model(**inputs)
    except _AtHeadError:
        return found[0]
    finally:
        hook.remove()
    raise _refusal(model, "its forward does not call its output head, expected that it does")


def of(model: Any, ids: Tensor) -> Tensor:
    """The logits (length, size) of the model's own forward on ids (length,).

    Raises `InputError` if it has none for token ids alone.
    """
    try:
        logits: Tensor = model(input_ids=ids[None]).logits
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # architectures say in many ways that they want more than text
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise _refusal(
            model, f"its forward has no logits for token ids alone ({reason})"
        ) from error
    if logits.dim() != 3 or logits.shape[:2] != (1, len(ids)):
        shape = tuple(logits.shape)
        raise _refusal(model, f"logits of shape {shape}, expected (1, {len(ids)}, vocabulary)")
    return logits[0]


def sample(model: Any) -> Tensor:
    """Token ids (LENGTH,), or as many as the model takes, to ask it about."""
    ids = torch.arange(int(min(LENGTH, positions(model))), device=model.device)
    return (7 * ids + 3) % known_tokens(model)


def positions(model: Any) -> float:
    """The largest number of tokens that the model takes."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 0
    return most if most > 0 else math.inf


def known_tokens(model: Any) -> int:
    """The number of token ids that the model takes."""
    return len(model.get_input_embeddings().weight)


def check_tokens(what: str, ids: Iterable[int], known: int) -> None:
    """Raise `InputError` if any of the token ids of `what` is not among so many known ones."""
    if (largest := max(ids)) >= known:
        raise InputError(
            f"{what}: token id {largest}, but the model knows {known} tokens; expected the model's "
            "own tokenizer"
        )


@torch.no_grad()
def after_head(model: Any) -> AfterHead:
    """What the model's forward does with the outputs of its head, found by probing it.

    Raises `InputError` if that is more than to scale and cap them.
    """
    layer = head(model)
    probes = torch.tensor(PROBES, device=layer.weight.device)
    given = probes[:, None].repeat(1, len(layer.weight))[None]
    hook = layer.register_forward_hook(lambda *_: given.clone())
    try:
        found = of(model, sample(model)[: len(PROBES)]).float().to(probes.device)
    finally:
        hook.remove()
    first = found[:, 0].tolist()
    slope, top = first[0] / SMALL, first[1]
    if abs(slope - 1) < ROUNDING:
        slope = 1.0
    linear = abs(top - slope * HUGE) <= ROUNDING * HUGE
    after = AfterHead(found.shape[1], slope, None if linear else top)
    expected = after(probes)[:, None]
    if not (found - expected).abs().le(1e-5 * expected.abs()).all():
        raise _refusal(
            model,
            f"its forward turns outputs {list(PROBES)} of its head into {first}, expected that "
            "it scales or caps them",
        )
    return after


def exp_less(logits: Tensor, top: Tensor, out: Tensor | None = None) -> Tensor:
    """e^(logits - top), for logits (positions, any) and top (positions,), in `out` if given."""
    return torch.add(top[:, None] * -LOG2_E, logits, alpha=LOG2_E, out=out).exp2_()


@torch.no_grad()
def check_causal(model: Any) -> Tensor:
    """The logits of `sample`; raises `InputError` if they depend on later tokens."""
    ids = sample(model)
    whole, shorter = of(model, ids), of(model, ids[:SHORTER])
    same = whole[: len(shorter)].float()
    off = (shorter.float() - same).norm(dim=1) / same.norm(dim=1)
    # at most positions, since rounding may send a token to other experts
    if not off.quantile(0.75) <= (0.01 if model.dtype == torch.float32 else 0.1):
        raise _refusal(model, "its logits depend on later tokens, expected a causal model")
    return whole


def agree(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether logits are the same but for the rounding of a type, which the model multiplies in."""
    tolerance = 1e-3 if dtype == torch.float32 else 2e-2
    exact = expected.float()
    return bool((found.float() - exact).norm() <= tolerance * exact.norm())


def _refusal(model: Any, why: str) -> InputError:
    return InputError(f"model type {model.config.model_type}: {why}")
