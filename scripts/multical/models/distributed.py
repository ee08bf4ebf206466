"""One SFT run in several processes on one machine, with a GPU each, through `accelerate launch`.

    process 0        reads, checks, prints and writes
    other processes  only compute, and wait for process 0 at `Group.first` and `Group.wait`

Without a GPU the processes share the CPU cores, which is slower and gives the same losses. If one
process ends early, accelerate ends the others.
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

#: Environment variable with the rank of a process that `accelerate launch` has started
RANK = "LOCAL_RANK"
PR_SET_PDEATHSIG = 1  # of Linux's prctl
#: Seconds that another process waits for process 0 to report an error and end the run
PATIENCE = 60


def launched() -> bool:
    """Whether `accelerate launch` has started this process."""
    return RANK in os.environ


def accelerate_config(processes: int, sharding: str, precision: str, **_: bool) -> dict[str, Any]:
    """The config of `accelerate launch` for the `scale` of a run.

    MULTI_GPU means several processes of torchrun, which use gloo without a GPU. FSDP is version 2:
    each process holds a part of the weights, gradients and optimizer state, and a layer's weights
    are complete only while the layer computes.
    """
    sharded = sharding == "fsdp"
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if sharded else "MULTI_GPU",
        "mixed_precision": "bf16" if precision == "bfloat16" else "no",
        "num_processes": processes,
        "num_machines": 1,
        "machine_rank": 0,
        "main_process_port": 0,  # any free port
        "use_cpu": False,
    }
    if sharded:
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_offload_params": False,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",  # each process saves its part
            "fsdp_cpu_ram_efficient_loading": True,  # only process 0 reads the weights
        }
    return config


def launch(config: dict[str, Any], file: Path) -> None:
    """Replace this process by `accelerate launch` of the same program. Does not return.

    Writes `config` to `file`. Raises `InputError` if there are too few GPUs.
    """
    import torch

    processes, gpus = config["num_processes"], torch.cuda.device_count()
    if 0 < gpus < processes or (gpus == 0 and "fsdp_config" in config):
        # without a GPU, accelerate would silently not shard
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
    """The processes of this run, seen from this process. A run may have just one process."""

    def __init__(self) -> None:
        import torch

        if launched():
            _end_with_parent()
            # before the model is loaded, since the loader asks which process reads the weights
            self.state = PartialState(cpu=not torch.cuda.is_available())
        self.main = not launched() or self.state.is_main_process

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        if launched():
            self.state.wait_for_everyone()

    def leave_to_first(self) -> None:
        """Give process 0 the time to report an error that all processes find.

        When process 0 ends, the others end too. If only this process has the error, it returns.
        """
        if not self.main:
            time.sleep(PATIENCE)

    @contextmanager
    def first(self) -> Iterator[bool]:
        """Run the block in process 0 before the others; yields whether this is process 0."""
        if not self.main:
            self.wait()
        yield self.main
        if self.main:
            self.wait()


def _end_with_parent() -> None:
    """Have Linux kill this process when its launcher ends, so that it does not train on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
