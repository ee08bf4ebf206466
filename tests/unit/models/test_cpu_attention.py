"""Attention of bfloat16 and float32 against float64 and PyTorch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from multical.models import cpu_attention, cpu_kernels, cpu_products
from support.plain_scores import VOCABULARY, flat, plainly, questions, score

runs = pytest.mark.skipif(
    not cpu_products.runnable(), reason="this CPU has no products of bfloat16 (AVX512_BF16)"
)
LEAST = torch.finfo(torch.bfloat16).min


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU that has the products of bfloat16."""
    monkeypatch.setattr(cpu_products, "usable", lambda x: x.dtype == torch.bfloat16)


def random(*shape: int) -> Tensor:
    return torch.randn(shape).bfloat16()


def masked(batch: int, length: int, seen: int, hidden: float = LEAST) -> Tensor:
    """A mask that shows each query some keys up to its own place, and always the first."""
    shown = (torch.rand(batch, 1, length, seen) < 0.5).tril(seen - length)
    shown[..., 0] = True
    return torch.zeros(shown.shape).masked_fill(~shown, hidden).bfloat16()


def plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    return scaled_dot_product_attention(query, key, value, mask, scale=scale).transpose(1, 2)


@runs
@pytest.mark.parametrize("hidden", [LEAST, -torch.inf])
@pytest.mark.parametrize("width", [2, 18, 64, 80, 256])
@pytest.mark.parametrize(
    ("batch", "heads", "of_keys", "length", "seen"),
    [(1, 1, 1, 1, 1), (2, 3, 1, 5, 5), (2, 4, 2, 6, 23), (1, 6, 3, 40, 40), (3, 2, 2, 33, 150)],
)
def test_it_is_as_near_to_float64_as_pytorch(
    batch: int, heads: int, of_keys: int, length: int, seen: int, width: int, hidden: float
) -> None:
    query = random(batch, length, heads, width).transpose(1, 2)  # as models have it
    key, value = random(2, batch, of_keys, seen, width)
    given = query, key, value, masked(batch, length, seen, hidden)
    found = cpu_attention.attend(*given, scale=width**-0.5)
    assert found.shape == (batch, length, heads, width)
    assert found.dtype == torch.bfloat16
    own = plain(*given, scale=width**-0.5)
    query, key, value, mask = (x.double() for x in given)
    exact = plain(query, key, value, mask, scale=width**-0.5)
    assert (found - exact).abs().max() <= 1.5 * (own - exact).abs().max() + 1e-3
    torch.testing.assert_close(found, own, rtol=2**-6, atol=2**-8)


@runs
def test_what_a_mask_adds_counts() -> None:
    given = random(1, 2, 7, 16), random(1, 2, 9, 16), random(1, 2, 9, 16)
    mask = random(1, 1, 7, 9)
    found = cpu_attention.attend(*given, mask, scale=1.0)
    torch.testing.assert_close(found, plain(*given, mask, scale=1.0), rtol=2**-6, atol=2**-8)


@runs
def test_hidden_keys_count_for_nothing() -> None:
    query, key, value, mask = random(1, 1, 12, 16), *random(2, 1, 1, 70, 16), masked(1, 12, 70)
    found = cpu_attention.attend(query, key, value, mask, 1.0)
    nobody = (mask == LEAST).all(dim=2)[0, 0]
    value[:, :, nobody] = 1e30
    assert torch.equal(cpu_attention.attend(query, key, value, mask, 1.0), found)


def blocked(length: int, seen: int) -> Tensor:
    """A mask that shows blocks of queries some spans of keys, and a block in the middle none."""
    rows, columns = -(-length // cpu_products.ROWS), -(-seen // cpu_products.LANES)
    shown = torch.rand(rows, columns) < 0.4
    shown[:, -1] |= ~shown.any(1)
    shown[rows // 2] = False
    spread = shown.repeat_interleave(cpu_products.ROWS, 0).repeat_interleave(cpu_products.LANES, 1)
    shown = spread[:length, :seen] & (masked(1, length, seen)[0, 0] > LEAST)
    return torch.zeros(1, 1, length, seen).masked_fill(~shown, LEAST).bfloat16()


@runs
@pytest.mark.parametrize(("length", "seen"), [(6, 16), (45, 100), (100, 333)])
def test_queries_leave_out_spans_that_none_of_their_block_sees(length: int, seen: int) -> None:
    """NaN in what is hidden would spread from any product with it."""
    mask = blocked(length, seen)
    sighted = (mask[0, 0] > LEAST).any(1)
    given = random(1, 2, length, 16), random(1, 2, seen, 16), random(1, 2, seen, 16)
    found = cpu_attention.attend(*given, mask, 0.25)
    own = plain(*given, mask, 0.25)
    torch.testing.assert_close(found[:, sighted], own[:, sighted], rtol=2**-6, atol=2**-8)
    assert found.isfinite().all()
    for first in range(0, length, cpu_products.ROWS):
        block = slice(first, first + cpu_products.ROWS)
        spans = (mask[0, 0, block] > LEAST).any(0).split(cpu_products.LANES)
        unseen = torch.cat([(~span.any()).expand(len(span)) for span in spans])
        if unseen.all():
            continue
        query, key, value = (x.clone() for x in given)
        key[:, :, unseen] = value[:, :, unseen] = torch.nan
        again = cpu_attention.attend(query, key, value, mask, 0.25)
        assert torch.equal(again[:, block], found[:, block])


@runs
@pytest.mark.parametrize("sizes", [30.0, 1e-3])
def test_scores_may_be_large_and_small(sizes: float) -> None:
    given = sizes * random(1, 1, 8, 32), random(1, 1, 50, 32), random(1, 1, 50, 32)
    mask = masked(1, 8, 50)
    found, own = cpu_attention.attend(*given, mask, scale=1.0), plain(*given, mask, scale=1.0)
    torch.testing.assert_close(found, own, rtol=2**-6, atol=2**-8)


@pytest.mark.parametrize("hidden", [torch.finfo(torch.float32).min, -torch.inf])
@pytest.mark.parametrize(("heads", "of_keys"), [(1, 1), (4, 2)])
@pytest.mark.parametrize(("batch", "length", "seen"), [(1, 1, 1), (2, 64, 70), (1, 150, 333)])
def test_in_float32_it_is_that_of_float64(
    batch: int, heads: int, of_keys: int, length: int, seen: int, hidden: float
) -> None:
    mask = masked(batch, length, seen, hidden).float()
    query = torch.randn(batch, length, heads, 16).transpose(1, 2)
    key, value = torch.randn(2, batch, of_keys, seen, 16)
    found = cpu_attention.Blocks().attend(query, key, value, mask, 0.25)
    exact = plain(query.double(), key.double(), value.double(), mask.double(), 0.25)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_in_float32_blocks_leave_out_keys_that_they_do_not_see() -> None:
    """NaN in what is hidden would spread from any product with it."""
    size, least = cpu_attention.QUERIES, torch.finfo(torch.float32).min
    mask = torch.full((1, 1, 3 * size, 10), least)
    mask[:, :, :size, [0, 3]] = mask[:, :, 2 * size :, 4:] = 0  # a block in the middle sees none
    query, key, value = torch.randn(1, 2, 3 * size, 8), *torch.randn(2, 1, 2, 10, 8)
    blocks, own = cpu_attention.Blocks(), plain(query, key, value, mask, 1.0)
    assert blocks.attend(query, key, value, mask, 1.0).isfinite().all()
    key[:, :, [1, 2]] = value[:, :, [1, 2]] = torch.nan
    found = blocks.attend(query, key, value, mask, 1.0)
    for sighted in slice(size), slice(2 * size, None):
        torch.testing.assert_close(found[:, sighted], own[:, sighted])
    for _ in range(3):  # of other forwards
        assert blocks.attend(query, key, value, torch.zeros_like(mask), 1.0).isnan().all()
    again = blocks.attend(query, key, value, mask, 1.0)
    torch.testing.assert_close(again, found, rtol=0, atol=0, equal_nan=True)


def models() -> list[Any]:
    sizes: dict[str, Any] = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    return [LlamaConfig(**sizes), Gemma3TextConfig(**sizes, head_dim=16)]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [pytest.param(torch.bfloat16, 0.05, marks=runs), (torch.float32, 1e-5)]
)
@pytest.mark.parametrize("config", models(), ids=lambda config: config.model_type)
def test_models_use_it(
    config: Any, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForCausalLM.from_config(config).to(dtype).eval()
    ids = torch.arange(24).view(2, 12)
    mask = masked(1, 12, 12).to(dtype).expand(2, 1, 12, 12)
    given = dict.fromkeys(("full_attention", "sliding_attention"), mask)
    asked = given if config.model_type.startswith("gemma") else mask
    calls: list[int] = []
    home = cpu_attention.Blocks if dtype == torch.float32 else cpu_attention
    attend = home.attend

    def counted(*args: Any) -> Tensor:
        calls.append(1)
        return attend(*args)

    monkeypatch.setattr(home, "attend", counted)
    own = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with torch.inference_mode():
        expected = model(ids, attention_mask=asked).logits
        assert not calls
        with cpu_attention.used():
            found = model(ids, attention_mask=asked).logits
            assert len(calls) == config.num_hidden_layers
            model(ids)  # without a mask PyTorch has a faster one
            assert len(calls) == config.num_hidden_layers
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is own


@runs
@pytest.mark.parametrize("config", models(), ids=lambda config: config.model_type)
def test_scores_are_nearer_to_float64_than_those_of_plain_forwards(config: Any) -> None:
    """Of questions in rows of 200 tokens, where a question has 30. Others' logits are bfloat16."""
    config.vocab_size = VOCABULARY
    model = AutoModelForCausalLM.from_config(config).bfloat16().eval()
    asked = questions(12)
    own = np.array(flat([plainly(model, question) for question in asked]))
    with cpu_kernels.used_by(model):
        found = np.array(flat(score(model, asked, 200)))
    exact = np.array(flat([plainly(model.double(), question) for question in asked]))
    assert np.abs(found - exact).max() <= 0.2 * np.abs(own - exact).max()


@pytest.mark.parametrize("config", models(), ids=lambda config: config.model_type)
@pytest.mark.parametrize("fast", [False, True])
def test_scores_in_float32_are_those_of_plain_forwards(
    config: Any, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With PyTorch's linear layers and head, and with ours."""
    monkeypatch.setattr(cpu_products, "faster", lambda x: fast)
    config.vocab_size = VOCABULARY
    model = AutoModelForCausalLM.from_config(config).eval()
    asked = questions(12)
    with cpu_kernels.used_by(model) as count:
        found = np.array(flat(score(model, asked, 400)))
    assert count == fast * 7 * config.num_hidden_layers
    own = np.array(flat([plainly(model.double(), question) for question in asked]))
    np.testing.assert_allclose(found, own, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("usable")
def test_it_serves_models_that_ask_transformers_for_it() -> None:
    model = AutoModelForCausalLM.from_config(models()[0], attn_implementation="sdpa")
    assert cpu_attention.serves(model)
    torch.set_num_threads(2)
    assert not cpu_attention.serves(model)
    torch.set_num_threads(1)
    assert not cpu_attention.serves(model.double())
    assert cpu_attention.serves(model.bfloat16())
    assert not cpu_attention.serves(torch.nn.Linear(2, 2).bfloat16())
    model.set_attn_implementation("eager")
    assert not cpu_attention.serves(model)


@pytest.mark.usefixtures("usable")
@pytest.mark.parametrize(
    "changed",
    [
        {"attention_mask": None},
        {"attention_mask": torch.zeros(2, 4, 5, 9).bfloat16()},
        {"attention_mask": torch.ones(2, 1, 5, 9).bool()},
        {"query": torch.zeros(2, 4, 5, 16)},
        {"value": torch.zeros(2, 2, 9, 18).bfloat16()},
        {"softcap": 30.0},
        {"dropout": 0.1},
        {"position_bias": torch.zeros(2, 4, 5, 9).bfloat16()},
        {"scaling": None},
    ],
    ids=lambda changed: " ".join(changed),
)
def test_it_leaves_to_pytorch_what_it_does_not_have(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", lambda *args, **named: ("own", named))
    monkeypatch.setattr(cpu_attention, "attend", lambda *args: "ours")
    given: dict[str, Any] = {"query": random(2, 4, 5, 16), "key": random(2, 2, 9, 16)}
    given |= {"value": random(2, 2, 9, 16), "attention_mask": masked(2, 5, 9)}
    named: dict[str, Any] = {"scaling": 0.25, "dropout": 0.0, "softcap": None, "use_cache": True}

    def asked(changed: dict[str, Any]) -> Any:
        tensors = [changed.get(name, x) for name, x in given.items()]
        rest = named | {name: x for name, x in changed.items() if name not in given}
        return ALL_ATTENTION_FUNCTIONS["sdpa"](None, *tensors, **rest), rest

    with cpu_attention.used():
        assert asked({})[0] == ("ours", None)
        by_name = ALL_ATTENTION_FUNCTIONS["sdpa"](module=None, **given, **named)
        assert by_name == ("ours", None)
        found, rest = asked(changed)
        assert found == ("own", rest)
