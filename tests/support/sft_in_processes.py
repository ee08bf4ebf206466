"""SFT runs in the processes of one `accelerate launch`, for tests: CASES.json FOLDER.

Each case is {"name", "kind" (of tests/support/tiny.py), "params"}; what becomes of it is
FOLDER/NAME.jsonl, the loss log, FOLDER/NAME, the model, and FOLDER/NAME.whole.json, for
each smoothing term whether the weights of the head and of each layer are whole then.
FSDP runs on processors here, which accelerate itself refuses: it is told that these are
GPUs, and nothing else.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from multical.models import checkpoints, distributed, sft, smoothing
from multical.models.chat import Chat
from multical.models.params import TrainingJob
from support import tiny


def run(name: str, kind: str, params: dict[str, Any], folder: Path, again: bool = False) -> None:
    """Train a tiny model in this process, or in this one and its fellows.

    With `again` it goes on from the run's last checkpoint and makes "NAME again".
    """
    settings = TrainingJob(**params)
    group = distributed.Group()  # as in the program, before the model is loaded
    base = folder / f"base.{kind}" / "checkpoint"
    model, tokenizer = checkpoints.load(base, device="cpu")
    examples = sft.Examples.of(tiny.pairs(), Chat(tokenizer, "plain"), settings.max_length, "")
    scratch = folder / f"{name}.scratch"
    if again:
        assert sft.last_checkpoint(scratch, group.main)
        name = f"{name} again"
    backbone: Any = model.base_model
    whole = []

    def watched(*given: Any) -> Any:
        if torch.is_grad_enabled():  # in a step, not in the check before the first
            layers = [next(layer.mlp.parameters()) for layer in backbone.layers]
            weights = [model.get_output_embeddings().weight, *layers]
            whole.append([not isinstance(weight, DTensor) for weight in weights])
        return smoothed(*given)

    smoothed = smoothing.SmoothedLogProb.apply
    with patch.object(smoothing.SmoothedLogProb, "apply", watched):
        log, weights = sft.train(model, tokenizer, examples, settings, scratch, group)
    if group.main:
        (folder / f"{name}.whole.json").write_text(json.dumps(whole))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(step) + "\n" for step in log))
        model.save_pretrained(folder / name, state_dict=weights)
    group.wait()


def as_on_gpus(state: PartialState, *args: Any, **kwargs: Any) -> None:
    """`PartialState.__init__`, which takes gloo's processes for GPUs."""
    REAL(state, *args, **kwargs)
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


REAL = PartialState.__init__


def main() -> None:
    cases, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    torch.set_num_threads(1)
    gc.freeze()  # as tests/conftest.py does
    for case in cases:
        sharded = case["params"]["scale"].get("sharding") == "fsdp"
        os.environ["ACCELERATE_USE_FSDP"] = str(sharded).lower()
        PartialState._reset_state()
        PartialState.__init__ = as_on_gpus if sharded else REAL
        run(**case, folder=folder)


if __name__ == "__main__":
    main()
