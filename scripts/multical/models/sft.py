"""Supervised fine-tuning with TRL: a trainer with label smoothing, and resuming."""

from __future__ import annotations

import math
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProgressCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig

from multical import digests, files
from multical.errors import InputError
from multical.models import adapting, checkpoints, prefixes, smoothing
from multical.models import logits as model_logits
from multical.models.chat import IGNORED
from multical.models.distributed import Group
from multical.models.examples import Examples, Row, row_of
from multical.models.params import Scale, TrainingJob
from multical.patches.accelerate import add_gradients_in_float32
from multical.patches.trl import CHECKPOINTS, Trainer, discard
from multical.provenance.usage import Clock

#: Conversations that are converted to a table at a time
PART = 10_000
#: Fields of the loss log. They exclude timings, and TRL's own token count, which restarts after a
#: resume
LOGGED = ["step", "epoch", "loss", "learning_rate", "grad_norm", "entropy"]
LOGGED += ["mean_token_accuracy", "num_input_tokens_seen"]


class SmoothedTrainer(Trainer):
    """TRL's trainer with the loss of multical.models.smoothing, on trained positions only.

    If `summed`, gradients are those of the sum over the tokens of a step. The loss itself remains
    their mean.
    """

    def __init__(
        self,
        smoothing_factor: float,
        group: Group | None = None,
        fillers: int = 0,
        summed: bool = False,
        changed: smoothing.Logits = smoothing.AS_GIVEN,
        **kwargs: Any,
    ) -> None:
        smoothing.check(smoothing_factor)
        self.smoothing_factor = smoothing_factor
        self.summed = summed
        self.changed = changed
        super().__init__(group or Group(), fillers, **kwargs)
        adapting.train_in_float32(self.model)
        smoothing.check_head(self.model)
        self.alone = self.args.world_size == 1
        self.uses = self._uses()
        self.shares = self.alone and not self.aux_loss_enabled and prefixes.shareable(self.model)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """TRL's loss, computed from smoothed log-probabilities.

        TRL's normalisation over tokens, micro-batches and processes thus applies to both terms of
        the loss. TRL's head gets the trained positions only, since on CPUs it would score all. The
        model gets common beginnings of conversations once.
        """

        inner: Any = self.model  # without the wrappers of accelerate
        labels = inputs["labels"]
        count: Any = num_items_in_batch
        if count is None:
            count = (labels[:, 1:] != IGNORED).sum()
        count = torch.as_tensor(count, device=labels.device).clamp(min=1)

        def smoothed(labels: Tensor, **rest: Any) -> Any:
            following = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
            trained = following != IGNORED
            targets = following[trained]
            kept: Any = trained
            if shared := self.tree(rest):
                rest |= shared.inputs
                kept = 0, shared.nodes[trained]

            def keep_trained(module: nn.Module, args: Any, output: Any) -> Any:
                output.last_hidden_state = output.last_hidden_state[kept][None]
                return output

            share = 1.0 if self.summed else 1 / count
            given = self.smoothing_factor, share, self.uses, self.changed
            # a hook, since autocast would not apply to a backbone that is called from here
            hook = inner.base_model.register_forward_hook(keep_trained)
            with hook, smoothing.smoothed_head(*given):
                return model(**rest, shift_labels=targets[None])

        result = super().compute_loss(smoothed, inputs, return_outputs, num_items_in_batch)
        if not self.summed:
            return result
        loss, *outputs = result if return_outputs else (result,)
        loss = Times.apply(loss, count)
        return (loss, *outputs) if return_outputs else loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """As in transformers, whose trainer does not know adapters that are inside of a model."""
        if adapting.is_adapted(self.model):
            adapting.restore(self.model, resume_from_checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def tree(self, inputs: dict[str, Any]) -> prefixes.Tree | None:
        """The tree of a padded batch, if it is worth it."""
        if not self.shares or "attention_mask" not in inputs or "position_ids" in inputs:
            return None
        return prefixes.tree(self.model, inputs["input_ids"], inputs["attention_mask"])

    def _uses(self) -> smoothing.Uses | None:
        """Of the head's weight, if that is the input embedding too, and all in this process."""
        model: Any = self.model
        weight: nn.Parameter = model.get_output_embeddings().weight
        if not self.alone or weight is not model.get_input_embeddings().weight:
            return None
        return smoothing.Uses(weight) if weight.requires_grad else None


class Times(torch.autograd.Function):
    """A loss whose gradients are `factor` times larger."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, factor: Tensor) -> Tensor:
        ctx.factor = factor
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class Saved(TrainerCallback):
    """Saves the elapsed time with each checkpoint, so that a resumed run counts it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.save()


class Savable(TrainerCallback):
    """Raises `InputError` before the first step if transformers would not save the result.

    Only then has the trainer made its changes to the generation config, after which transformers
    no longer saves one that it only warned about.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        checkpoints.check_saving(self.model, self.tokenizer, args.output_dir)


class Progress(ProgressCallback):
    """A progress bar with the loss; raises `InputError` if the loss is not finite."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or self.training_bar is None:
            return
        if not math.isfinite(loss):
            raise InputError(
                f"loss is {loss} at step {state.global_step}: expected a finite one; "
                "try a smaller learning_rate"
            )
        self.training_bar.set_postfix(loss=f"{loss:.4f}", refresh=False)


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Examples,
    job: TrainingJob,
    scratch: Path,
    group: Group | None = None,
    clock: Clock | None = None,
    report_to: str = "none",
) -> tuple[list[dict[str, float]], dict[str, Any] | None]:
    """Train `model` in place, from the last complete checkpoint in `scratch` if there is one.

    The optimizer is AdamW with the defaults of transformers (betas 0.9 and 0.999), after gradients
    are clipped. The learning rate rises linearly, then decays linearly to 0. On one machine the
    result is bit-identical, however often the run was interrupted. `report_to` is the tool that
    also gets the losses of each step.

    Returns:
        the loss log: the fields `LOGGED` of each optimizer step. Loss and entropy are in nats per
        token, and the loss includes smoothing. The gradient norm is that before the clip.
        the full weights for process 0 to save if the model is sharded, else None.
    """
    group = group or Group()
    scale = job.scale
    torch.set_float32_matmul_precision(job.matmul_precision)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA needs it to be deterministic
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    largest = (int(row["input_ids"].max()) for row in examples.rows)
    model_logits.check_tokens("conversations", largest, model_logits.known_tokens(model))
    fillers = _fillers(examples, job, tokenizer)
    trainer = SmoothedTrainer(
        job.smoothing,
        group,
        len(fillers),
        summed=job.loss_reduction == "sum",
        changed=smoothing.Logits(job.soft_cap, job.temperature),
        model=model,
        args=_arguments(job, scratch, report_to),
        train_dataset=_dataset(examples.rows + fillers),
        processing_class=tokenizer,
    )
    if scale.sharding == "fsdp":
        add_gradients_in_float32(trainer.accelerator, scale.precision)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Progress)
    trainer.add_callback(Savable(model, tokenizer))
    if clock is not None and group.main:
        trainer.add_callback(Saved(clock))
    with group.first():
        last = last_checkpoint(scratch, group.main)
    if clock is not None and last is None:
        clock.before = 0.0
    if last and group.main:
        print(f"{job.run}: goes on from {Path(last).name} in {scratch}", file=sys.stderr)
    try:
        trainer.train(resume_from_checkpoint=last)
    except InputError:
        files.remove(scratch)  # a resumed run would fail again
        raise
    steps = [log for log in trainer.state.log_history if "loss" in log]
    weights: dict[str, Any] | None = None
    if scale.sharding == "fsdp":
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights = get_model_state_dict(model, options=options)
        for tied in model.all_tied_weights_keys:
            weights.pop(tied, None)  # transformers, too, saves tied weights once
    return [{key: log[key] for key in LOGGED} for log in steps], weights


def check_tool(report_to: str) -> None:
    """Raise `InputError` unless the tool that shows losses is installed."""
    if report_to != "none" and find_spec(report_to) is None:
        raise InputError(
            f"--report-to: {report_to} is not installed, expected it beside the environment (pip "
            f"install {report_to}), or training.report_to: none"
        )


def _arguments(job: TrainingJob, scratch: Path, report_to: str) -> SFTConfig:
    """TRL's config. The batch of a step does not depend on the number of processes."""
    scale = job.scale
    assert job.learning_rate is not None  # train_sft.py fills in the chosen rate
    cpu = not torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(scratch),
        per_device_train_batch_size=job.batch_size // job.gradient_accumulation_steps,
        gradient_accumulation_steps=job.gradient_accumulation_steps // scale.processes,
        learning_rate=job.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=job.warmup_ratio,  # a fraction, since it is less than 1
        weight_decay=job.weight_decay,
        max_grad_norm=job.max_grad_norm,
        num_train_epochs=job.epochs or 1,
        max_steps=job.steps or -1,
        seed=job.seed,
        use_cpu=cpu and scale != Scale(),  # else transformers may take another accelerator
        bf16=scale.precision == "bfloat16",
        activation_checkpointing=scale.activation_checkpointing,
        padding_free=scale.padding_free,
        ddp_backend="gloo" if cpu and scale.processes > 1 else None,
        ddp_find_unused_parameters=False,
        # keep gradients sharded between forward passes, since full ones may not fit
        accelerator_config={
            "gradient_accumulation_kwargs": {"sync_each_batch": scale.sharding == "fsdp"}
        },
        max_length=None,  # conversations are cut already
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=not cpu,
        save_steps=job.save_every,
        logging_steps=1,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        report_to=report_to,
        run_name=job.run,
    )


def _fillers(examples: Examples, job: TrainingJob, tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """Rows with one token and no label that complete the last micro-batches of an epoch.

    Otherwise accelerate would repeat conversations from the start of the epoch, which would then
    count twice. `num_input_tokens_seen` counts the token of each filler.
    """
    processes = job.scale.processes
    rows_at_a_time = job.batch_size // job.gradient_accumulation_steps * processes
    missing = -len(examples.rows) % rows_at_a_time if processes > 1 else 0
    return [row_of([tokenizer.eos_token_id], [IGNORED])] * missing


def _dataset(rows: list[Row]) -> Dataset:
    """The rows as a table, made in parts, since a conversion at once takes six times the memory."""
    starts = range(0, len(rows), PART)
    return concatenate_datasets([Dataset.from_list(rows[at : at + PART]) for at in starts])


def last_checkpoint(scratch: Path, main: bool = True) -> str | None:
    """The newest complete checkpoint, or None. Process 0, `main`, first removes all others."""
    if not scratch.is_dir():
        return None
    if main:
        discard(scratch, [])
        for folder in sorted(scratch.glob(CHECKPOINTS)):
            if fault := digests.fault(folder):
                print(f"{folder}: {fault}: does not go on from there", file=sys.stderr)
                discard(scratch, [folder])
    newest: str | None = get_last_checkpoint(str(scratch))
    return newest
