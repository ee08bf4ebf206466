"""Models of the papers' shapes with random weights, made on the device; tiny ones likewise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from gpu_pack.machine import Machine

CONFIGS: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
TINY = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "vocab_size": 400,
    "max_position_embeddings": 1024,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


def config(name: str, machine: Machine, layers: int | None = None, **more: Any) -> Any:
    """The config of one of the papers' models; `more` replaces values.

    Args:
        name: a model of shapes.json.
        machine: has shapes that are true or tiny.
        layers: how many layers to keep; None for all.
    """
    given = dict(CONFIGS[name]["config"])
    if machine.tiny:
        given |= {key: value for key, value in TINY.items() if key in given or key == "head_dim"}
    if layers is not None:
        given["num_hidden_layers"] = layers
    return CONFIG_MAPPING[given.pop("model_type")](**given | more)


def size(settings: Any) -> int:
    """Number of weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(settings).num_parameters()


def model(settings: Any, machine: Machine, dtype: torch.dtype, seed: int = 0) -> PreTrainedModel:
    """A model with random weights, in evaluation mode.

    Weights of a tiny one are wide, so that its logits differ enough.
    """
    torch.manual_seed(seed)
    with torch.device(machine.device):
        made = AutoModelForCausalLM.from_config(
            settings, dtype=dtype, attn_implementation=attention(settings)
        )
    if machine.tiny:
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return made.eval()


def attention(settings: Any) -> str:
    """The implementation that multical.models.checkpoints takes, too."""
    return "eager" if getattr(settings, "attn_logit_softcapping", None) else "sdpa"


def in_four_bits(settings: Any, machine: Machine) -> PreTrainedModel:
    """A Llama with random weights as multical.models.quantized has them, made layer by layer."""
    import bitsandbytes as bnb

    from multical.patches.bitsandbytes import multiply_in_own_dtype

    torch.manual_seed(0)
    dtype = torch.bfloat16
    with torch.device("meta"):
        made: Any = AutoModelForCausalLM.from_config(
            settings, dtype=dtype, attn_implementation=attention(settings)
        )
    for name, layer in list(made.named_modules()):
        if isinstance(layer, nn.Linear) and layer is not made.get_output_embeddings():
            given = {"compute_dtype": dtype, "quant_type": "nf4", "device": "meta"}
            packed = bnb.nn.Linear4bit(layer.in_features, layer.out_features, False, **given)
            weight = drawn(layer.weight.shape, machine)
            values: Any = bnb.nn.Params4bit(
                weight, requires_grad=False, quant_type="nf4", compress_statistics=True
            )
            packed.weight = values.to(machine.device)  # which packs them
            multiply_in_own_dtype(packed)
            made.set_submodule(name, packed)
    for name, weight in list(made.named_parameters()):
        if weight.is_meta:
            new = drawn(weight.shape, machine)
            owner, _, last = name.rpartition(".")
            setattr(made.get_submodule(owner), last, nn.Parameter(new, requires_grad=False))
    inner = made.base_model
    inner.rotary_emb = type(inner.rotary_emb)(config=settings).to(machine.device)
    return made.eval()


def drawn(shape: Any, machine: Machine) -> torch.Tensor:
    """Weights as transformers draws them; those of norms are 1."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16, device=machine.device)
    return torch.randn(shape, dtype=torch.bfloat16, device=machine.device).mul_(0.02)
