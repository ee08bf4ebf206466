"""TRL 1.16's trainer and head, with the transformers 5.23 and accelerate 1.15 beneath them.

- Its fused head takes no other loss than the NLL: `head_calls` has it call another function.
- The trainer writes checkpoints where it looks for them: one that is cut off would pass for
  whole. `Trainer` makes them elsewhere and renames them.
- Where the last micro-batches of several processes lack rows, accelerate fills them with rows
  of the epoch's start, which would count twice, and no process draws the order that one
  process alone draws. `Trainer` draws that order, and takes rows that count for nothing.
- `Epochs` tells the sampler which epoch begins, also where several processes resume within an
  epoch: accelerate's `skip_first_batches` hides the sampler from `set_epoch`, so that they
  would take the order of epoch 0.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import trl.trainer.utils
from accelerate.data_loader import SeedableRandomSampler
from torch import nn
from torch.utils.data import Sampler
from transformers import TrainerCallback
from trl import SFTTrainer
from trl.kernels.chunked_logprob import _addmm_fp32

from multical.patches.replace import replaced

#: What TRL's head calls, by its name in trl.trainer.utils
HEAD = "_ChunkedLogProbFunction"
#: Where a checkpoint grows, inside the output folder, until it is whole
PARTIAL = "partial"

#: Adds the product of two matrices to a float32 one, in place, as TRL's NLL does
add_product = _addmm_fp32


@contextmanager
def head_calls(apply: Callable[..., Any]) -> Iterator[None]:
    """Have TRL's head call `apply`, within, in place of its function's own.

    Raises `RuntimeError` if no head does: its loss would be the NLL.
    """
    function = _Function(apply)
    with replaced(trl.trainer.utils, HEAD, function):
        yield
    if not function.calls:
        raise RuntimeError(f"expected TRL's head to call trl.trainer.utils.{HEAD}")


class _Function:
    """Stands in for TRL's autograd function."""

    def __init__(self, apply: Callable[..., Any]) -> None:
        self._apply = apply
        self.calls = 0

    def apply(self, *given: Any) -> Any:
        self.calls += 1
        return self._apply(*given)


class Processes(Protocol):
    """The processes of a run."""

    main: bool

    def wait(self) -> None:
        """Go on when all processes have come here."""


class Trainer(SFTTrainer):
    """TRL's trainer, whose checkpoints are whole, and whose batches are those of one process.

    Args:
        processes: those of this run.
        fillers: how many rows at the end of the data fill the last micro-batches.
    """

    def __init__(self, processes: Processes, fillers: int, **kwargs: Any) -> None:
        self.processes = processes
        self.fillers = fillers
        self.scratch = Path(kwargs["args"].output_dir)
        super().__init__(**kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        """The order of one process, then the fillers."""
        if self.args.world_size == 1:
            sampler: Sampler[int] | None = super()._get_train_sampler(train_dataset)
            return sampler
        rows: Any = self.train_dataset
        order = Filled(len(rows) - self.fillers, len(rows), self.args.seed)
        self.add_callback(Epochs(order))
        return order

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Make the checkpoint elsewhere, rename it when whole, then drop older ones."""
        step = self.state.global_step
        if step >= self.state.max_steps:
            return  # the run is over; its weights are the result
        super()._save_checkpoint(model, trial)
        self.processes.wait()  # for the parts of all processes
        if self.processes.main:
            older = list(self.scratch.glob("checkpoint-*"))
            name = f"checkpoint-{step}"
            (self.scratch / PARTIAL / name).rename(self.scratch / name)
            for folder in older:
                shutil.rmtree(folder)
        self.processes.wait()  # else one that is ahead could write into the next one's folder

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.scratch / PARTIAL)


class Filled(Sampler[int]):
    """Rows 0 to `real` in the order that a single process takes, then the rest, the fillers."""

    def __init__(self, real: int, rows: int, seed: int) -> None:
        self.order = SeedableRandomSampler(range(real), data_seed=seed)
        self.fillers = range(real, rows)

    def __iter__(self) -> Iterator[int]:
        yield from self.order
        yield from self.fillers

    def __len__(self) -> int:
        return len(self.order) + len(self.fillers)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of that epoch next."""
        self.order.set_epoch(epoch)


class Epochs(TrainerCallback):
    """Tells `Filled` which epoch begins."""

    def __init__(self, order: Filled) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.order.set_epoch(int(state.epoch or 0))
