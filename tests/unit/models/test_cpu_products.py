"""Products of bfloat16 against float64, and the head of a scorer that uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numba.core import config
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from multical.models import cpu_products
from multical.scoring.scorer import Head

runs = pytest.mark.skipif(
    not cpu_products.runnable(), reason="this CPU has no products of bfloat16 (AVX512_BF16)"
)


pytestmark = pytest.mark.usefixtures("one_thread")


def random(*shape: int) -> Tensor:
    return torch.randn(shape).bfloat16()


@runs
@pytest.mark.parametrize("n", [1, 15, 16, 17, 33, 48, 64, 65, 130])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 13])
@pytest.mark.parametrize("width", [2, 6, 64])
def test_products_are_those_of_float64(n: int, rows: int, width: int) -> None:
    left, right = random(rows, width), random(n, width)
    factor = cpu_products.Factor(right)
    guard = 32
    memory = torch.full((max(rows, cpu_products.ROWS) * factor.columns + guard,), torch.nan)
    out = memory[:-guard].view(-1, factor.columns)
    found = factor.times(left, out)
    assert found.shape == (rows, n)
    exact = left.double() @ right.double().T
    size = left.double().abs() @ right.double().abs().T
    assert ((found.double() - exact).abs() <= 1e-6 * size).all()
    assert memory[-guard:].isnan().all()


@runs
def test_sums_stay_in_float32() -> None:
    """1 + 2^-10 has no bfloat16; a sum that was rounded to it would be 1."""
    left = torch.tensor([[1.0, 2.0**-10]]).bfloat16()
    factor = cpu_products.Factor(torch.ones(1, 2).bfloat16())
    out = torch.empty(cpu_products.ROWS, factor.columns)
    assert factor.times(left, out).item() == 1 + 2.0**-10


@runs
def test_a_factor_need_not_be_contiguous() -> None:
    right = random(6, 20).T[:, ::3]
    left = random(7, 2)
    out = torch.empty(7, 32)
    found = cpu_products.Factor(right).times(left, out)
    torch.testing.assert_close(found, left.float() @ right.float().T)


@pytest.mark.parametrize("size", [2**21, 700])
@pytest.mark.parametrize("bias", [False, True])
@runs
def test_a_head_has_the_same_logits_with_them(
    size: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, hidden = Head(model(bias)), random(37, 32)
    head.size = size  # tiles of the whole vocabulary, and of 18 rows and a last one of 11
    places, tokens = np.indices((37, 101)).reshape(2, -1)
    found = []
    for fast in True, False:
        monkeypatch.setattr(cpu_products, "faster", lambda weight, fast=fast: fast)
        found.append([torch.from_numpy(part) for part in head.read(hidden, places, tokens)])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-5)
    exact = hidden.double() @ head.weight.double().T
    if head.bias is not None:
        exact += head.bias.double()
    torch.testing.assert_close(found[0][1].view(37, 101).double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[0][0].double(), exact.logsumexp(-1), rtol=1e-5, atol=1e-5)


def model(bias: bool) -> Any:
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    made = AutoModelForCausalLM.from_config(
        LlamaConfig(vocab_size=101, num_hidden_layers=1, tie_word_embeddings=False, **sizes)
    )
    if bias:
        made.lm_head.bias = torch.nn.Parameter(torch.randn(101))
    return made.bfloat16().requires_grad_(False)


def capable(monkeypatch: pytest.MonkeyPatch, **found: bool) -> None:
    capabilities = {"avx512_bf16": True, "amx_tile": False} | found
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    cpu_products.runnable.cache_clear()


@pytest.fixture
def uncached() -> Iterator[None]:
    yield
    cpu_products.runnable.cache_clear()


@pytest.mark.usefixtures("uncached")
def test_they_are_used_only_where_they_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = random(8, 6)
    capable(monkeypatch)
    assert cpu_products.faster(weight)
    assert not cpu_products.faster(weight.float())
    assert not cpu_products.faster(random(8, 5))
    torch.set_num_threads(2)
    assert not cpu_products.faster(weight)
    torch.set_num_threads(1)
    capable(monkeypatch, amx_tile=True)
    assert cpu_products.usable(weight)
    assert not cpu_products.faster(weight)
    capable(monkeypatch, avx512_bf16=False)
    assert not cpu_products.usable(weight)
    assert not cpu_products.faster(weight)
    capable(monkeypatch)
    monkeypatch.setattr(config, "CPU_NAME", "generic")
    assert not cpu_products.runnable()
