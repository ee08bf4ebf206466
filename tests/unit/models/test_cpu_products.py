"""Products of bfloat16 and float32 against float64, and the head of a scorer that uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from llvmlite import binding
from numba.core import config
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from multical.models import cpu_products
from multical.scoring.scorer import Head

runs = pytest.mark.skipif(
    not cpu_products.runnable(), reason="this CPU has no products of bfloat16 (AVX512_BF16)"
)
in_both = pytest.mark.parametrize(
    "dtype", [pytest.param(torch.bfloat16, marks=runs), torch.float32], ids=str
)

pytestmark = pytest.mark.usefixtures("one_thread")


def random(*shape: int) -> Tensor:
    return torch.randn(shape).bfloat16()


@in_both
@pytest.mark.parametrize("n", [1, 15, 16, 17, 33, 48, 64, 65, 130])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 13])
@pytest.mark.parametrize("width", [2, 6, 64])
def test_products_are_those_of_float64(n: int, rows: int, width: int, dtype: torch.dtype) -> None:
    left, right = torch.randn(rows, width).to(dtype), torch.randn(n, width).to(dtype)
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


@pytest.mark.parametrize("width", [1, 3, 2048])
def test_products_of_float32_have_any_width_and_number_of_rows(width: int) -> None:
    """Some rows are multiplied with all panels before others."""
    rows = 2 * cpu_products.CACHED // (4 * width) + 5 if width > 3 else 50
    left, right = torch.randn(rows, width), torch.randn(40, width)
    factor = cpu_products.Factor(right)
    found = factor.times(left, torch.empty(rows, factor.columns))
    exact, size = left.double() @ right.double().T, left.double().abs() @ right.double().abs().T
    assert ((found.double() - exact).abs() <= 1e-6 * size).all()
    alone = factor.times(left[7:8], torch.empty(cpu_products.ROWS, factor.columns))
    assert torch.equal(alone, found[7:8])  # whatever is multiplied beside it


@runs
def test_sums_stay_in_float32() -> None:
    """1 + 2^-10 has no bfloat16; a sum that was rounded to it would be 1."""
    left = torch.tensor([[1.0, 2.0**-10]]).bfloat16()
    factor = cpu_products.Factor(torch.ones(1, 2).bfloat16())
    out = torch.empty(cpu_products.ROWS, factor.columns)
    assert factor.times(left, out).item() == 1 + 2.0**-10


@in_both
def test_a_factor_need_not_be_contiguous(dtype: torch.dtype) -> None:
    right = torch.randn(6, 20).to(dtype).T[:, ::3]
    left = torch.randn(7, 2).to(dtype)
    out = torch.empty(7, 32)
    found = cpu_products.Factor(right).times(left, out)
    torch.testing.assert_close(found, left.float() @ right.float().T)


@pytest.mark.parametrize("size", [2**21, 700])
@pytest.mark.parametrize("bias", [False, True])
@in_both
def test_a_head_has_the_same_logits_with_them(
    size: int, bias: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, hidden = Head(model(bias).to(dtype)), torch.randn(37, 32).to(dtype)
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
    return made.requires_grad_(False)


def capable(monkeypatch: pytest.MonkeyPatch, cpu: str = "znver4", **found: bool) -> None:
    capabilities = {"avx512_bf16": True, "avx512_f": True, "fma3": True, "amx_tile": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities | found)
    monkeypatch.setattr(binding, "get_host_cpu_name", lambda: cpu)
    forget()


def forget() -> None:
    cpu_products.runnable.cache_clear()
    cpu_products.floats_faster.cache_clear()


@pytest.fixture
def uncached() -> Iterator[None]:
    yield
    forget()


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


@pytest.mark.usefixtures("uncached")
def test_those_of_float32_are_faster_on_amds_cpus_without_avx512(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = torch.randn(8, 5)
    old = {"avx512_bf16": False, "avx512_f": False}
    capable(monkeypatch, "znver3", **old)
    assert cpu_products.faster(weight)
    assert not cpu_products.faster(weight.bfloat16())
    assert not cpu_products.faster(weight.to("meta"))
    torch.set_num_threads(2)
    assert not cpu_products.faster(weight)
    torch.set_num_threads(1)
    capable(monkeypatch, "alderlake", **old)
    assert not cpu_products.faster(weight)
    capable(monkeypatch, "znver3", **old, fma3=False)
    assert not cpu_products.faster(weight)
    capable(monkeypatch, "znver3", **old)
    monkeypatch.setattr(config, "CPU_NAME", "generic")
    assert not cpu_products.floats_faster()
