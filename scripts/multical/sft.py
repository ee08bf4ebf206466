"""Supervised fine-tuning with TRL: settings, examples, the smoothed trainer, resuming."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProgressCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from multical import smoothing
from multical.conversations import Conversation
from multical.errors import InputError
from multical.prompts import IGNORED, Chat

#: Where a checkpoint grows, inside the scratch folder, until it is whole
PARTIAL = "partial"
#: What is kept of each step's log: no timings, and not TRL's own token count, which
#: starts anew after a resume
LOGGED = ["step", "epoch", "loss", "learning_rate", "grad_norm", "entropy"]
LOGGED += ["mean_token_accuracy", "num_input_tokens_seen"]


class Settings(BaseModel):
    """The canonical parameters of one SFT run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str = Field(min_length=1)
    smoothing: float
    seed: int = Field(ge=0, lt=2**32)
    chat_format: Literal["plain", "tulu", "template"]
    learning_rate: float = Field(gt=0, lt=1)
    warmup_ratio: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1)
    accumulation: int = Field(ge=1)
    epochs: float | None = Field(gt=0)
    steps: int | None = Field(ge=1)
    max_length: int = Field(ge=2)
    save_every: int = Field(ge=1)
    matmul_precision: Literal["highest", "high", "medium"]

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("expected exactly one of epochs and steps")
        if self.batch_size % self.accumulation:
            raise ValueError("expected a batch_size that accumulation divides")
        return self

    @classmethod
    def of(cls, params: dict[str, Any]) -> Settings:
        """Check parameters; raises `InputError` naming the first key that is wrong."""
        try:
            return cls.model_validate(params)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "together"
            raise InputError(f"--params: {key}: {first['input']!r}: {first['msg']}") from error


@dataclass(frozen=True)
class Examples:
    """Tokenised conversations, and how many were changed on the way."""

    rows: list[dict[str, list[int]]]  # input_ids and labels, IGNORED where not trained
    truncated: int  # cut to max_length
    dropped: int  # left without a token to train

    @property
    def trained_tokens(self) -> int:
        """Labels that count, over all examples."""
        return sum(label != IGNORED for row in self.rows for label in row["labels"])

    @classmethod
    def of(cls, conversations: Sequence[Conversation], chat: Chat, max_length: int) -> Examples:
        """Tokenise; raises `InputError` if no token is left to train."""
        rows, truncated = [], 0
        for conversation in conversations:
            ids, labels = chat.encode_for_training(conversation["messages"])
            truncated += len(ids) > max_length
            # nothing precedes the first token, so nothing predicts it
            labels = [IGNORED, *labels[1:max_length]]
            rows.append({"input_ids": ids[:max_length], "labels": labels})
        kept = [row for row in rows if any(label != IGNORED for label in row["labels"])]
        if not kept:
            raise InputError(
                f"no token to train in {len(rows)} conversations, {truncated} of them cut to "
                f"max_length {max_length}; expected answers within that length"
            )
        return cls(kept, truncated, len(rows) - len(kept))


class SmoothedTrainer(SFTTrainer):
    """TRL's trainer with the loss of multical.smoothing, on trained positions only."""

    def __init__(self, smoothing_factor: float, **kwargs: Any) -> None:
        smoothing.check(smoothing_factor, kwargs["model"].config)
        self.smoothing_factor = smoothing_factor
        self.scratch = Path(kwargs["args"].output_dir)
        text_config = kwargs["model"].config.get_text_config()
        self.softcap = getattr(text_config, "final_logit_softcapping", None)
        super().__init__(**kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """TRL's loss of log-probabilities from which smoothing has been taken off.

        So TRL's own normalisation, over tokens, micro-batches and processes, holds for
        both terms. Its head is given trained positions only: on CPUs it would score all.
        """

        inner: Any = self.model  # without what accelerate wraps around it

        def smoothed(labels: Tensor, **rest: Any) -> Any:
            following = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
            trained = following != IGNORED
            targets = following[trained]
            captured = []

            def keep_trained(module: nn.Module, args: Any, output: Any) -> Any:
                output.last_hidden_state = output.last_hidden_state[trained][None]
                captured.append(output.last_hidden_state[0])
                return output

            # hooked, since a backbone called from here would escape autocast
            with inner.base_model.register_forward_hook(keep_trained):
                outputs = model(**rest, shift_labels=targets[None])
            if self.smoothing_factor:
                head = inner.get_output_embeddings()
                term = smoothing.excess(captured[0], head, targets, self.softcap)
                outputs.log_probs = outputs.log_probs - self.smoothing_factor * term
            return outputs

        return super().compute_loss(smoothed, inputs, return_outputs, num_items_in_batch)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Make the checkpoint elsewhere, rename it when whole, then drop older ones."""
        step = self.state.global_step
        if step >= self.state.max_steps:
            return  # the run is over; its weights are the result
        super()._save_checkpoint(model, trial)
        older = list(self.scratch.glob("checkpoint-*"))
        name = f"checkpoint-{step}"
        (self.scratch / PARTIAL / name).rename(self.scratch / name)
        for folder in older:
            shutil.rmtree(folder)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.scratch / PARTIAL)


class Progress(ProgressCallback):
    """A bar on stderr with the loss beside it; a loss that is no number ends the run."""

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
    settings: Settings,
    scratch: Path,
) -> list[dict[str, float]]:
    """Train `model` in place, from the last whole checkpoint in `scratch` if there is one.

    AdamW with transformers' defaults (betas 0.9 and 0.999, gradients clipped to norm 1),
    linear warm-up, then linear decay to 0. On one machine the result is the same bit for
    bit, however often the run was interrupted.

    Returns:
        the loss log: for each optimizer step the fields `LOGGED`; loss and entropy in
        nats a token, the loss with its smoothing.
    """
    torch.set_float32_matmul_precision(settings.matmul_precision)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA asks for it, to be
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    arguments = SFTConfig(
        output_dir=str(scratch),
        per_device_train_batch_size=settings.batch_size // settings.accumulation,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_ratio,  # a fraction, since it is less than 1
        weight_decay=settings.weight_decay,
        num_train_epochs=settings.epochs or 1,
        max_steps=settings.steps or -1,
        seed=settings.seed,
        bf16=False,
        activation_checkpointing=False,
        max_length=None,  # cut already
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=torch.cuda.is_available(),
        save_steps=settings.save_every,
        logging_steps=1,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        report_to="none",
    )
    trainer = SmoothedTrainer(
        settings.smoothing,
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(examples.rows),
        processing_class=tokenizer,
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Progress)
    last = last_checkpoint(scratch)
    if last:
        print(f"{settings.run}: goes on from {Path(last).name} in {scratch}", file=sys.stderr)
    try:
        trainer.train(resume_from_checkpoint=last)
    except InputError:
        shutil.rmtree(scratch)  # resumed, it would end the same way
        raise
    steps = [log for log in trainer.state.log_history if "loss" in log]
    return [{key: log[key] for key in LOGGED} for log in steps]


def last_checkpoint(scratch: Path) -> str | None:
    """The newest whole checkpoint; what a killed run left half-written is removed."""
    if not scratch.is_dir():
        return None
    shutil.rmtree(scratch / PARTIAL, ignore_errors=True)
    found: str | None = get_last_checkpoint(str(scratch))
    return found
