"""Models in 4 bits: NF4 weights with double quantization (arXiv 2305.14314), by bitsandbytes.

Paper 2 only says "4 bits". The rest is our own design. We quantize the matrices of all layers,
including those of experts, but not embeddings, output head, routers and norms. Each multiplication
dequantizes its matrix to the model's dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multical.errors import InputError
from multical.models import checkpoints
from multical.patches.bitsandbytes import multiply_in_own_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(
    checkpoint: str | Path,
    dtype: str = "bfloat16",
    read: checkpoints.Loader = checkpoints.load,
    spread: Callable[[Any], dict[str, Any]] = lambda config: {},
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load by `read`, and quantize the weights one by one, on the GPU if possible.

    `spread` has the options that place a model on several GPUs. Raises `InputError` if bitsandbytes
    is not installed, or a layer cannot be quantized, or experts would be on several GPUs.
    """
    import torch
    from transformers import BitsAndBytesConfig

    from multical.patches.transformers import plain_linears

    try:
        import bitsandbytes.nn  # noqa: F401  # a module in it, so that it is read now
    except ImportError as error:
        raise InputError(
            f"quantization: found nf4, expected none, since bitsandbytes does not load ({error})"
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = checkpoints.fastest_dtype() if dtype == "auto" else dtype
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )

    def options(config: Any) -> dict[str, Any]:
        # transformers does not quantize experts, and all of them might not fit into a GPU
        has_experts = any(value for key, value in config.to_dict().items() if "experts" in key)
        place = "cpu" if has_experts else device
        places = spread(config)
        if places and has_experts:
            raise InputError(f"model type {config.model_type}: experts in 4 bits, expected 1 GPU")
        return {"quantization_config": quantization, "device_map": {"": place}, **places}

    with plain_linears():
        model, tokenizer = read(checkpoint, dtype, device, options)
    _finish(model, device)
    return model, tokenizer


def _finish(model: Any, device: str) -> None:
    """Quantize experts, which transformers does not; raises `InputError` for other such layers."""
    import torch
    from bitsandbytes.nn import Linear4bit
    from bitsandbytes.nn.parametrize import replace_parameter_4bit

    head = model.get_output_embeddings()
    for module in list(model.modules()):
        if isinstance(module, Linear4bit):
            multiply_in_own_dtype(module)
        elif isinstance(module, torch.nn.Linear) and module is not head:
            raise InputError(
                f"model type {model.config.model_type}: layers of class {type(module).__name__}, "
                "expected layers that can be quantized, or quantization: none"
            )
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.dim() == 3:  # all experts of a layer
                module.to(device)
                replace_parameter_4bit(module, name, compress_statistics=True, quant_type="nf4")
    if model.device.type != device:
        model.to(device)
