"""Adapters: low-rank updates (LoRA, arXiv 2106.09685) of a model's linear modules, by peft.

An adapted module has the weights W + (alpha / rank) B A. Training changes only B, which starts at
0, and A. W may be in 4 bits (QLoRA, arXiv 2305.14314). The weights of a run are these sums in
float32, with W as training had it. They are made at the end of the training, or each time that a
kept adapter is loaded, so that both have the same scores.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multical.errors import InputError
from multical.models import checkpoints, quantized
from multical.models.checkpoints import SAFE

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: The folder of a kept adapter, inside of the checkpoint, and its file that says what W is
FOLDER, BASE = "adapter", "base.json"
#: peft's name of the only adapter
NAME = "default"


def base(
    checkpoint: str | Path, quantization: str, precision: str, device: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model to adapt; in 4 bits, all else that is frozen has the `precision` of products."""
    if quantization == "nf4":
        return quantized.load(checkpoint, precision)
    return checkpoints.load(checkpoint, device=device)


def load(
    checkpoint: str | Path,
    dtype: str = "float32",
    device: str | None = None,
    options: Callable[[Any], dict[str, Any]] = lambda config: {},
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a folder as `checkpoints.load` does; its adapter, if it has one, is then merged."""
    import torch

    folder = Path(checkpoint) / FOLDER
    if not folder.is_dir():
        return checkpoints.load(checkpoint, dtype, device, options)
    try:
        about = json.loads((folder / BASE).read_text(encoding="utf-8"))
        model, tokenizer = base(checkpoint, about["quantization"], about["precision"], "cpu")
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: not an adapter ({error!r})") from error
    model.load_adapter(str(folder))
    made: Any = merged(model, checkpoints.fastest_dtype() if dtype == "auto" else dtype, options)
    if device is None and torch.cuda.is_available() and not hasattr(made, "hf_device_map"):
        made.cuda()
    return made, tokenizer


def merged(
    model: PreTrainedModel,
    dtype: str = "float32",
    options: Callable[[Any], dict[str, Any]] = lambda config: {},
) -> PreTrainedModel:
    """A plain model with the weights of an adapted one, on the CPU, in evaluation mode.

    `options` are those of `checkpoints.load`.
    """
    import torch

    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    loaded: Any = type(model).from_pretrained(
        None,
        config=config,
        state_dict=weights(model),
        dtype=getattr(torch, dtype),
        output_loading_info=True,
        **options(config),
        **SAFE,
    )
    made, loading_info = loaded
    checkpoints.check_weights(str(model.name_or_path), loading_info)
    made.generation_config = model.generation_config
    return made.eval()


def weights(model: Any) -> dict[str, Tensor]:
    """The weights of an adapted model by the names that it has without it, float32, on the CPU."""
    found: dict[str, Tensor] = {}
    saved = set(model.state_dict())  # without buffers that are computed anew
    for place, module in model.named_modules():
        if ".lora_" in place:
            continue
        layer = model.get_submodule(place.removesuffix(".base_layer"))
        own = dict(module.named_parameters(recurse=False))
        own |= {
            name: buffer
            for name, buffer in module.named_buffers(recurse=False)
            if f"{place}.{name}" in saved
        }
        for name, tensor in own.items():
            if state := getattr(tensor, "quant_state", None):
                from bitsandbytes.functional import dequantize_4bit

                tensor = dequantize_4bit(tensor.data, state)
            whole = tensor.detach().float().cpu()
            if layer is not module and name == "weight":
                # in float64, which no setting of precision rounds
                left, right = (
                    getattr(layer, part)[NAME].weight.detach().cpu().double()
                    for part in ("lora_B", "lora_A")
                )
                whole = (whole.double() + layer.scaling[NAME] * (left @ right)).float()
            found[".".join(filter(None, [place.removesuffix(".base_layer"), name]))] = whole
    return found
