"""One SFT run in several processes of one machine, a GPU each, through `accelerate launch`.

    process 0    reads, checks, prints and writes; the others only compute
    the rest     wait for it at `Group.first` and `Group.wait`

Where there is no GPU the processes share the processors: same code, same losses, slower.
If one process ends early, accelerate ends the others.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from accelerate import PartialState

from multical.errors import InputError
from multical.files import atomic

#: Set in processes that `accelerate launch` has started, its rank among them
RANK = "LOCAL_RANK"
PR_SET_PDEATHSIG = 1  # of Linux's prctl
#: Seconds that a process waits for process 0 to end the run before it does so itself
PATIENCE = 60


def launched() -> bool:
    """Whether this is a process that `accelerate launch` has started."""
    return RANK in os.environ


def accelerate_config(processes: int, sharding: str, precision: str, **_: bool) -> dict[str, Any]:
    """The config of `accelerate launch` for a run's `scale`: the same run, the same text.

    MULTI_GPU means several processes of torchrun; without a GPU they use gloo. FSDP's is
    its second version: weights, gradients and optimizer state lie in as many parts as
    there are processes, and each layer's weights are whole only while it computes.
    """
    sharded = sharding == "fsdp"
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if sharded else "MULTI_GPU",
        "mixed_precision": "bf16" if precision == "bfloat16" else "no",
        "num_processes": processes,
        "num_machines": 1,
        "machine_rank": 0,
        "main_process_port": 0,  # one that is free
        "use_cpu": False,
    }
    if sharded:
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_offload_params": False,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",  # each process saves its own part
            "fsdp_cpu_ram_efficient_loading": True,  # process 0 alone reads the weights
        }
    return config


def launch(config: dict[str, Any], file: Path) -> None:
    """Become `accelerate launch` of this very program, its config written to `file`.

    Does not return. Raises `InputError` where there are too few GPUs.
    """
    import torch

    processes, gpus = config["num_processes"], torch.cuda.device_count()
    if 0 < gpus < processes or (gpus == 0 and "fsdp_config" in config):
        # accelerate does not shard where there is no GPU: it would go on without a word
        either = "" if "fsdp_config" in config else ", or none at all"
        raise InputError(
            f"--params: scale: processes: {processes}, but {gpus} GPUs here, expected a GPU for "
            f"each process{either}"
        )
    with atomic(file) as temporary:
        temporary.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, *sys.argv])


class Group:
    """The processes of this run, one of them this one; alone, it is a group of one."""

    def __init__(self) -> None:
        import torch

        if launched():
            _end_with_parent()
            # before the model is loaded: its loader asks who reads the weights
            self.state = PartialState(cpu=not torch.cuda.is_available())
        self.main = not launched() or self.state.is_main_process

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if launched():
            self.state.wait_for_everyone()

    def leave_to_first(self) -> None:
        """Where all processes find the same fault: give process 0 the time to say it.

        Its end is the end of the others. One that is alone with its fault comes back.
        """
        if not self.main:
            time.sleep(PATIENCE)

    @contextmanager
    def first(self) -> Iterator[bool]:
        """Process 0 goes through the block before the others; yields whether this is it."""
        if not self.main:
            self.wait()
        yield self.main
        if self.main:
            self.wait()


def _end_with_parent() -> None:
    """Have Linux kill this process when its launcher is: it would train on, unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
