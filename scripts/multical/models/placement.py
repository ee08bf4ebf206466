"""Models larger than one GPU: their layers on several GPUs of a machine, one after the other.

transformers and accelerate place the layers, and move the hidden states from GPU to GPU. All else
is as on one GPU, so that scores are the same but for what other kinds of GPU round differently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multical.errors import InputError

#: A function that maps the config of a model to options of transformers' `from_pretrained`
Options = Callable[[Any], dict[str, Any]]


def over(gpus: int) -> Options:
    """The `options` of `checkpoints.load` that place a model on so many GPUs, or on the CPU.

    Raises `InputError` if there are fewer, but not none.
    """
    import torch

    here = torch.cuda.device_count()
    if 0 < here < gpus:
        raise InputError(f"--gpus: {gpus}, but {here} GPUs here, expected so many or none at all")
    if gpus == 1 or not here:
        return lambda config: {}
    # with room on the CPU, so that `check` can say that the GPUs have too little
    room: dict[int | str, int] = {gpu: torch.cuda.mem_get_info(gpu)[0] for gpu in range(gpus)}
    room["cpu"] = 2**50
    return lambda config: {"device_map": "balanced", "max_memory": room}


def check(model: Any, gpus: int) -> None:
    """Raise `InputError` if some layers of a model found no place on the GPUs."""
    places = set(getattr(model, "hf_device_map", {}).values())
    if len(places) > 1 and places & {"cpu", "disk"}:
        raise InputError(
            f"models: gpus: found {gpus}, which have too little memory for this model, expected "
            "more GPUs, or ones with more memory"
        )
