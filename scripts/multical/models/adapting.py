"""Training of adapters (see `adapters`): to add one to a model, to resume, to save the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from multical.errors import InputError
from multical.files import write_json
from multical.models import adapters, checkpoints
from multical.models import logits as model_logits
from multical.models.params import Adapter


def add(model: PreTrainedModel, adapter: Adapter, seed: int) -> None:
    """Add an adapter to a model, in place, and freeze all else. A is drawn by `seed`.

    Raises `InputError` for modules that the model does not have, and for experts in 4 bits.
    """
    from peft import LoraConfig  # most trainings need none of it

    names = linear_modules(model)
    chosen = names if adapter.modules == "all" else adapter.modules
    if unknown := [name for name in chosen if name not in names]:
        raise InputError(f"training.adapter.modules: found {unknown}, expected some of {names}")
    if any("parametrizations" in name for name, _ in model.named_parameters()):
        raise InputError(
            f"model type {model.config.model_type}: experts in 4 bits, expected none, or "
            "training.adapter.quantization: none"
        )
    torch.manual_seed(seed)
    settings = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]  # peft only divides it by the rank
        lora_dropout=adapter.dropout,
        target_modules=list(chosen),
        task_type="CAUSAL_LM",
    )
    model.add_adapter(settings)
    settings.base_model_name_or_path = None  # a path of this machine


def linear_modules(model: Any) -> list[str]:
    """The last names of the linear modules that can be adapted: of all but the output head."""
    head = model_logits.head(model)
    names = [
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    return list(dict.fromkeys(names))


def is_adapted(model: Any) -> bool:
    """Whether the model has an adapter."""
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def train_in_float32(model: Any) -> None:
    """Undo that TRL 1.16 makes an adapter of a model in 4 bits bfloat16, which small steps skip."""
    if is_adapted(model):
        for weight in filter(lambda one: one.requires_grad, model.parameters()):
            weight.data = weight.data.float()


def restore(model: Any, folder: str | Path) -> None:
    """Give the adapter of a model the weights that transformers saved in a folder."""
    from peft import set_peft_model_state_dict

    saved = load_file(Path(folder) / "adapter_model.safetensors")
    weights = {name.removeprefix("base_model.model."): one for name, one in saved.items()}
    found: Any = set_peft_model_state_dict(model, weights, adapters.NAME)
    if found.unexpected_keys:
        raise InputError(f"{folder}: no adapter of this model: {sorted(found.unexpected_keys)[0]}")


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    origin: Path,
    folder: Path,
    adapter: Adapter,
    precision: str,
) -> None:
    """Save an adapted model: merged, or the adapter beside links to the base model in `origin`."""
    if adapter.merge:
        checkpoints.save(adapters.merged(model), tokenizer, folder)
        return
    checkpoints.link(origin, folder)
    model.save_pretrained(folder / adapters.FOLDER)
    about = {"quantization": adapter.quantization, "precision": precision}
    write_json(folder / adapters.FOLDER / adapters.BASE, about)
