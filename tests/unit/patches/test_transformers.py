"""Falcon's layers: are they still such that transformers quantizes none of them?"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, FalconConfig
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from multical.patches.transformers import plain_linears


def quantized_layers() -> set[str]:
    """Classes of the layers of a tiny Falcon that transformers has quantized."""
    model = AutoModelForCausalLM.from_config(
        FalconConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
    config = BitsAndBytesConfig(load_in_4bit=True)
    replace_with_bnb_linear(model.transformer, quantization_config=config)
    layers = [one for one in model.transformer.modules() if isinstance(one, torch.nn.Linear)]
    return {type(layer).__name__ for layer in layers}


def test_falcon_is_quantized_with_plain_layers_alone() -> None:
    """Else the patch is no longer needed."""
    assert quantized_layers() == {"FalconLinear"}
    with plain_linears():
        assert quantized_layers() == {"Linear4bit"}
    assert quantized_layers() == {"FalconLinear"}
