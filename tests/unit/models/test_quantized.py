"""Models in 4 bits against themselves in float32: the families of paper 2, made tiny."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
)

from multical.errors import InputError
from multical.models import checkpoints, quantized
from multical.patches import transformers as patches
from multical.scoring.scorer import Group, Scorer
from multical.scoring.tokenized import TokenizedQuestion
from support import tiny

LETTERS = [[10 + i, 50 + i] for i in range(4)]
SHARED: dict[str, Any] = {"vocab_size": 400, "hidden_size": 64, "num_hidden_layers": 2}
SHARED |= {"num_attention_heads": 4, "max_position_embeddings": 128}
SIZES = {**SHARED, "intermediate_size": 128, "num_key_value_heads": 2}
FALCON = {**SHARED, "ffn_hidden_size": 256, "bias": False}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=6),
    "mixtral": MixtralConfig(**SIZES, num_local_experts=4),
    "falcon": FalconConfig(**FALCON, multi_query=True),
    "falcon 40b": FalconConfig(**FALCON, new_decoder_architecture=True, num_kv_heads=2),
    "gemma2": Gemma2Config(**SIZES, head_dim=16),
}


def folder(path: Path, kind: str) -> Path:
    """A checkpoint whose logits differ by some nats."""
    torch.manual_seed(0)
    attention = "eager" if kind == "gemma2" else "sdpa"
    model = AutoModelForCausalLM.from_config(CONFIGS[kind], attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    model.save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return path


def logprobs(model: Any) -> torch.Tensor:
    """(questions, letters) of questions that share a prefix, in nats."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 400, (24, 20), generator=generator)
    drawn[:, :8] = drawn[0, :8]
    asked = [TokenizedQuestion(row[: 12 + row[-1] % 9].tolist(), [], [[]] * 4) for row in drawn]
    found = Scorer(model, LETTERS, 150).score(Group.of(asked))
    logits = torch.tensor([one.letter_logits for one in found])
    return logits - torch.tensor([one.logsumexp for one in found])[:, None]


def restored(model: Any, whole: Any) -> Iterator[tuple[str, float]]:
    """Give `whole` the weights of `model`; the relative error of each, by its name."""
    from bitsandbytes.functional import dequantize_4bit

    for place, module in whole.named_modules():
        for name, weight in module.named_parameters(recurse=False):
            own = getattr(model.get_submodule(place), name)
            if state := getattr(own, "quant_state", None):
                own = dequantize_4bit(own.data, state)
            own = own.detach().float().cpu()
            yield f"{place}.{name}", ((own - weight).norm() / weight.norm()).item()
            weight.data.copy_(own)


@pytest.mark.parametrize(("kind", "dtype"), [*((k, "float32") for k in CONFIGS), ("llama", "auto")])
def test_scores_are_those_of_the_4_bit_weights(tmp_path: Path, kind: str, dtype: str) -> None:
    """Each matrix of a layer is near its own, and all else as it was."""
    pytest.importorskip("bitsandbytes")
    path = folder(tmp_path, kind)
    whole, _ = checkpoints.load(path, "float32", "cpu")
    model, _ = quantized.load(path, dtype)
    assert str(model.dtype) == f"torch.{checkpoints.fastest_dtype() if dtype == 'auto' else dtype}"
    before, errors = logprobs(whole), dict(restored(model, whole))
    stays = r"embed|lm_head|norm|ln_|router|mlp\.gate\."
    for name, error in errors.items():
        low, high = (0, 0.01) if re.search(stays, name) else (0.05, 0.12)
        assert low <= error <= high, name
    found, expected = logprobs(model).cpu(), logprobs(whole)
    near = 1e-4 if model.dtype == torch.float32 else 0.2
    assert (found - expected).abs().max() < near
    assert (before - expected).abs().max() > 0.2


def test_layers_that_cannot_be_quantized_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(patches, "plain_linears", nullcontext)
    with pytest.raises(InputError, match="model type falcon: layers of class FalconLinear"):
        quantized.load(folder(tmp_path, "falcon"), "float32")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(InputError, match="found nf4, expected none, since bitsandbytes does not"):
        quantized.load(tmp_path)
