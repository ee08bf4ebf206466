"""What is overridden of trl, transformers and accelerate: is it still there, and still needed?"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import trl.trainer.utils
from accelerate.data_loader import SeedableRandomSampler, prepare_data_loader, skip_first_batches
from torch.utils.data import DataLoader
from transformers import Trainer
from trl import SFTTrainer
from trl.kernels import ChunkedLogProbFunction
from trl.kernels.chunked_logprob import OPTIONAL_OUTPUTS

from multical.patches import trl as patches


def test_trl_has_what_is_used_of_it() -> None:
    """Private names and the order of arguments; after an update of trl, read these anew."""
    used = "multical.patches.trl and multical.models.smoothing stand on this of trl"
    assert trl.trainer.utils._ChunkedLogProbFunction is ChunkedLogProbFunction, used
    assert list(inspect.signature(ChunkedLogProbFunction.forward).parameters) == [
        "ctx", "hidden", "weight", "bias", "targets", "temperature", "chunk_size",
        "final_logit_softcapping", "logit_scale", "outputs",
    ], used  # fmt: skip
    assert OPTIONAL_OUTPUTS == ("entropy", "log_sum_sq_probs", "mean_logits", "is_top1"), used


def test_the_head_has_its_own_function_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), patches.head_calls(lambda: 1 / 0):
        trl.trainer.utils._ChunkedLogProbFunction.apply()
    assert trl.trainer.utils._ChunkedLogProbFunction is ChunkedLogProbFunction


@pytest.mark.parametrize("name", ["_get_train_sampler", "_save_checkpoint", "_get_output_dir"])
def test_the_trainer_has_what_is_overridden(name: str) -> None:
    own, theirs = getattr(patches.Trainer, name), getattr(SFTTrainer, name)
    assert own is not theirs
    assert list(inspect.signature(own).parameters) == list(inspect.signature(theirs).parameters)
    assert f"self.{name}" in inspect.getsource(Trainer), "nothing calls it any more"


def test_checkpoints_of_transformers_are_written_in_place() -> None:
    """Else `Trainer` need not make them elsewhere."""
    save = inspect.getsource(Trainer._save_checkpoint)
    assert "output_dir = os.path.join(run_dir, checkpoint_folder)" in save
    assert "rename" not in save + inspect.getsource(Trainer.save_model)


def test_each_epoch_takes_the_order_of_one_process() -> None:
    order = SeedableRandomSampler(range(10), data_seed=3)
    filled = patches.Filled(10, 12, 3)
    assert len(filled) == 12
    for epoch in (0, 1, 5):
        order.set_epoch(epoch)
        filled.set_epoch(epoch)
        assert list(filled) == [*order, 10, 11]


def loader(sampler: Any, process: int = 0) -> Any:
    """The batches of one of two processes."""
    plain: DataLoader[int] = DataLoader(range(10), batch_size=2, sampler=sampler)  # type: ignore[arg-type]
    return prepare_data_loader(
        plain, torch.device("cpu"), num_processes=2, process_index=process, rng_types=[]
    )


def test_accelerate_alone_fills_with_rows_of_the_start() -> None:
    """Else no fillers are needed."""
    rows = [row for process in (0, 1) for batch in loader(range(10), process) for row in batch]
    assert sorted(map(int, rows)) == sorted([*range(10), 0, 1])


def test_accelerate_alone_hides_the_epoch_after_a_resume() -> None:
    """Else `Epochs` is not needed: this is all that transformers and accelerate do."""
    order = patches.Filled(10, 10, 3)
    resumed = skip_first_batches(loader(order), 1)
    resumed.set_epoch(5)
    assert not hasattr(resumed.batch_sampler.batch_sampler, "set_epoch")
    assert order.order.epoch == 0
    patches.Epochs(order).on_epoch_begin(None, type("State", (), {"epoch": 5.2}), None)
    assert order.order.epoch == 5
