"""Changes to TRL 1.16's trainer and head, with transformers 5.23 and accelerate 1.15 beneath them.

- TRL's fused head computes no other loss than the NLL. `head_calls` has it call another function.
  Until trl > 1.16.0: a head that takes a loss, or label smoothing.
- The trainer writes checkpoints into the folder where it looks for them, so that it would take an
  incomplete checkpoint for a complete one; and it goes on from one that lacks the optimizer, with
  another result. `Trainer` writes them elsewhere, lists their digests, and renames them.
  Until transformers > 5.23.0: checkpoints that have their name only when they are complete, and
  an error for one that is not.
- With several processes, accelerate fills the last micro-batches with rows from the start of the
  epoch, which would count twice, and the order of rows is not that of a single process. `Trainer`
  draws the order of a single process, and fills up with rows that do not count.
  Until accelerate > 1.15.0: the order of one process for all, and rows that do not count.
- When several processes resume within an epoch, accelerate's `skip_first_batches` hides the
  sampler from `set_epoch`, so that they would take the order of epoch 0. `Epochs` tells the
  sampler which epoch begins.
  Until accelerate > 1.15.0: a loader of skipped batches whose `set_epoch` reaches the sampler.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import trl.trainer.utils
from accelerate.data_loader import SeedableRandomSampler
from torch import nn
from torch.utils.data import Sampler
from transformers import TrainerCallback
from trl import SFTTrainer

from multical import digests
from multical.patches.replace import replaced

#: The name, in trl.trainer.utils, of the function that TRL's head calls
HEAD = "_ChunkedLogProbFunction"
#: Complete checkpoints, and the folder beside them for one that is not complete, or no longer
CHECKPOINTS, PARTIAL = "checkpoint-*", "partial"


@contextmanager
def head_calls(apply: Callable[..., Any]) -> Iterator[None]:
    """Have TRL's head call `apply` instead of its own function inside the `with` block.

    Raises `RuntimeError` if no head called it, since the loss would be the NLL.
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

    def apply(self, *arguments: Any) -> Any:
        self.calls += 1
        return self._apply(*arguments)


class Processes(Protocol):
    """The processes of a run."""

    main: bool

    def wait(self) -> None:
        """Wait until all processes have called this."""


class Trainer(SFTTrainer):
    """TRL's trainer with complete checkpoints, and with the batches of a single process.

    Args:
        processes: the processes of this run.
        fillers: how many rows at the end of the data fill the last micro-batches.
    """

    def __init__(self, processes: Processes, fillers: int, **kwargs: Any) -> None:
        self.processes = processes
        self.fillers = fillers
        self.scratch = Path(kwargs["args"].output_dir)
        super().__init__(**kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        """The order of a single process, then the fillers."""
        if self.args.world_size == 1:
            return super()._get_train_sampler(train_dataset)
        rows: Any = self.train_dataset
        order = Filled(len(rows) - self.fillers, len(rows), self.args.seed)
        self.add_callback(Epochs(order))
        return order

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write the checkpoint elsewhere, rename it when complete, then remove older ones."""
        step = self.state.global_step
        if step >= self.state.max_steps:
            return  # the run is over; its weights are the result
        super()._save_checkpoint(model, trial)
        self.processes.wait()  # until all processes have written their parts
        if self.processes.main:
            older = list(self.scratch.glob(CHECKPOINTS))
            name = f"checkpoint-{step}"
            digests.write(self.scratch / PARTIAL / name)
            (self.scratch / PARTIAL / name).rename(self.scratch / name)
            discard(self.scratch, older)
        self.processes.wait()  # otherwise a process could start to write the next checkpoint

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.scratch / PARTIAL)


def discard(scratch: Path, checkpoints: Iterable[Path]) -> None:
    """Remove checkpoints, and what is not complete: none has its name while its files go."""
    partial = scratch / PARTIAL
    partial.mkdir(exist_ok=True)
    for folder in checkpoints:
        folder.rename(partial / folder.name)
    shutil.rmtree(partial)


class Filled(Sampler[int]):
    """Rows 0 to `real` in the order of a single process, then the remaining rows, the fillers."""

    def __init__(self, real: int, rows: int, seed: int) -> None:
        self.order = SeedableRandomSampler(range(real), data_seed=seed)
        self.fillers = range(real, rows)

    def __iter__(self) -> Iterator[int]:
        yield from self.order
        yield from self.fillers

    def __len__(self) -> int:
        return len(self.order) + len(self.fillers)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch next."""
        self.order.set_epoch(epoch)


class Epochs(TrainerCallback):
    """Tells `Filled` which epoch begins."""

    def __init__(self, order: Filled) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.order.set_epoch(int(state.epoch or 0))
