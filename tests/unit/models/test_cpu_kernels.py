"""Norms, rotary embeddings and linear layers against those of transformers, and against float64."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, PhiConfig
from transformers.models.gemma3 import modeling_gemma3
from transformers.models.glm import modeling_glm
from transformers.models.llama import modeling_llama
from transformers.models.t5.modeling_t5 import T5LayerNorm

from multical.models import cpu_kernels, cpu_products

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
NORMS = [modeling_llama.LlamaRMSNorm, modeling_gemma3.Gemma3RMSNorm, T5LayerNorm]


pytestmark = pytest.mark.usefixtures("one_thread")


def random(*shape: int) -> Tensor:
    return torch.randn(shape).bfloat16()


def built(kind: Any, width: int, **settings: Any) -> nn.Module:
    module: nn.Module = kind(width, **settings).bfloat16()
    nn.init.normal_(next(module.parameters()))
    return module


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("width", [1, 7, 64, 640])
def test_norms_are_those_of_the_model(kind: Any, width: int) -> None:
    module = built(kind, width, eps=1e-3)
    rows = 4096 // width + 1
    inputs = [random(3, rows, width), random(3, 5, 2, width).transpose(1, 2), random(0, width)]
    inputs += [random(rows, 2, width)[:, 1], 1e-3 * random(rows, width)]
    offset = 1.0 if "Gemma" in kind.__name__ else 0.0
    scale = next(module.parameters()).double() + offset
    with torch.inference_mode(), cpu_kernels.used_by(Holder(module)) as count:
        found = [module(x) for x in inputs]
    assert count == 1 + hasattr(sys.modules[kind.__module__], cpu_kernels.ROTARY)
    with torch.inference_mode():
        for x, ours in zip(inputs, found, strict=True):
            own = module(x)
            assert (ours.shape, ours.dtype) == (own.shape, own.dtype)
            assert ours.eq(own).float().sum() >= 0.99 * ours.numel()
            exact = x.double()
            exact = exact / (exact.pow(2).mean(-1, keepdim=True) + 1e-3).sqrt() * scale
            torch.testing.assert_close(ours.double(), exact, rtol=2**-7, atol=0)


class Holder(nn.Module):
    """A model of one module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.dtype = torch.bfloat16


class Clipped(modeling_llama.LlamaRMSNorm):
    """A norm that is none of those which are known."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return super().forward(hidden_states).clamp(-1, 1)


class OtherEpsilon(modeling_llama.LlamaRMSNorm):
    """Its attribute is not the epsilon that it takes."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        self.variance_epsilon = 1e-5
        normed = super().forward(hidden_states)
        self.variance_epsilon = 1e-6
        return normed


@pytest.mark.parametrize(
    "module",
    [
        nn.LayerNorm(16).bfloat16(),
        nn.RMSNorm(16).bfloat16(),
        modeling_llama.LlamaRMSNorm(16),
        built(Clipped, 16),
        built(OtherEpsilon, 16),
        nn.Linear(16, 16).bfloat16(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_other_modules_are_left_alone(module: nn.Module) -> None:
    assert cpu_kernels._norm_of(module) is None


@pytest.mark.parametrize("home", [modeling_llama, modeling_gemma3])
@pytest.mark.parametrize(("heads", "width"), [((4, 1), 8), ((9, 3), 64), ((2, 2), 2)])
def test_rotary_embeddings_have_the_same_bits(home: Any, heads: Any, width: int) -> None:
    own = home.apply_rotary_pos_emb
    fast = cpu_kernels._rotary_of(own)
    assert fast is not None
    queries, keys = (random(3, 5, count, width).transpose(1, 2) for count in heads)
    cos, sin = random(3, 5, width), random(3, 5, width)
    for args in (
        (queries, keys, cos, sin),
        (queries.contiguous(), keys, cos, sin),
        (queries, keys, cos[:1], sin[:1]),  # the same places in all rows
    ):
        for ours, theirs in zip(fast(*args), own(*args), strict=True):
            assert torch.equal(ours, theirs)
    # called in another way, it is the model's own
    for ours, theirs in zip(
        fast(queries, keys, cos, sin, unsqueeze_dim=1), own(queries, keys, cos, sin), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_other_rotary_embeddings_are_left_alone() -> None:
    assert (
        cpu_kernels._rotary_of(modeling_glm.apply_rotary_pos_emb) is None
    )  # neighbours, no halves
    assert cpu_kernels._rotary_of(None) is None


@pytest.mark.parametrize(
    ("config", "replaced"),
    [
        (LlamaConfig(**SIZES), 2 * 2 + 1 + 1),
        (Gemma3TextConfig(**SIZES, num_key_value_heads=1, head_dim=8), 2 * 6 + 1 + 1),
        (PhiConfig(**SIZES), 1),  # LayerNorm; a part of each head is rotated, by the same function
    ],
    ids=["llama", "gemma3", "phi"],
)
@torch.inference_mode()
def test_models_give_the_same_logits(config: Any, replaced: int) -> None:
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    ids = torch.randint(50, (2, 20))
    own = model(ids).logits.float()
    with cpu_kernels.used_by(model) as count:
        ours = model(ids).logits.float()
    assert count == replaced
    assert (ours - own).norm() <= 0.01 * own.norm()
    assert torch.equal(model(ids).logits.float(), own)  # its own again


@pytest.mark.parametrize(
    ("config", "replaced"),
    [
        (LlamaConfig(**SIZES), 2 * 7),
        (Gemma3TextConfig(**SIZES, num_key_value_heads=1, head_dim=8), 2 * 7),
        (PhiConfig(**SIZES), 2 * 6),  # with a bias
    ],
    ids=["llama", "gemma3", "phi"],
)
@torch.inference_mode()
def test_linear_layers_of_float32_give_the_same_logits(
    config: Any, replaced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        weight += 0.1 * torch.randn_like(weight)  # biases are 0 at first
    exact = copy.deepcopy(model).double()
    monkeypatch.setattr(cpu_products, "faster", lambda x: True)
    for ids in torch.randint(50, (2, 20)), torch.randint(50, (1, 3)):
        own = model(ids).logits
        with cpu_kernels.used_by(model) as count:
            ours = model(ids).logits
        assert count == replaced
        assert (ours - exact(ids).logits).norm() <= 1e-5 * own.norm()
        assert torch.equal(model(ids).logits, own)


def test_nothing_is_replaced_where_torch_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_products, "faster", lambda x: False)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))
    with cpu_kernels.used_by(model) as count:
        assert count == 0
    torch.set_num_threads(2)
    for dtype in torch.float32, torch.bfloat16:
        with cpu_kernels.used_by(model.to(dtype)) as count:
            assert count == 0
