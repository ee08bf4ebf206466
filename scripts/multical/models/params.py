"""How to fine-tune models: `training` in config.yaml, and the parameters of train_sft."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from multical.params import (
    ChatDate,
    Distinct,
    LearningRate,
    Name,
    Number,
    Precision,
    Seed,
    Smoothing,
    Strict,
    TrainableFormat,
)


class Scale(Strict):
    """How to spread an SFT run over hardware. The batches of its steps stay the same."""

    processes: int = Field(
        default=1,
        ge=1,
        description="processes on one machine, a GPU for each; must divide "
        "gradient_accumulation_steps",
    )
    sharding: Literal["none", "fsdp"] = Field(
        default="none",
        description="fsdp: each process holds a part of the weights, gradients and optimizer "
        "state; needs GPUs",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="precision of products; weights, optimizer state and gradient sums are float32",
    )
    activation_checkpointing: bool = Field(
        default=False, description="save memory: recompute activations for the gradients"
    )
    padding_free: bool = Field(
        default=False,
        description="concatenate the conversations of a forward pass into one row; attention "
        "stays within each conversation",
    )


class Adapter(Strict):
    """Low-rank updates (LoRA) of linear modules; all other weights stay as they are."""

    rank: int = Field(ge=1, le=65_536, description="rank of the updates")
    alpha: Number = Field(gt=0, description="an update is multiplied by alpha / rank")
    dropout: Number = Field(
        default=0.0, ge=0, lt=1, description="dropout of the inputs of the updates"
    )
    modules: Literal["all"] | Annotated[Distinct[Name], Field(min_length=1)] = Field(
        default="all",
        description="last names of linear modules, such as q_proj; all: all but the output head",
    )
    quantization: Literal["none", "nf4"] = Field(
        default="none", description="nf4: train on 4-bit weights (QLoRA, bitsandbytes)"
    )
    merge: bool = Field(
        default=True,
        description="true: add the updates to the weights at the end; false: keep them beside "
        "the base model's files, which are linked; the scores are the same",
    )


def _new(default: Any, **options: Any) -> Any:
    """A key that manifests have only if it is not `default`: those before it keep their bytes."""
    return Field(default=default, exclude_if=lambda value: value == default, **options)


class TrainingRecipe(Strict):
    """Keys that the section `training` and the parameters of a run share."""

    warmup_ratio: float = Field(
        default=0.03,
        ge=0,
        lt=1,
        description="fraction of the steps with a rising learning rate, before linear decay to 0",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay of AdamW")
    loss_reduction: Literal["mean", "sum"] = _new(
        "mean",
        description="loss of an optimizer step: the mean or the sum over its tokens. Before the "
        "clip a sum has gradients as many times larger as there are tokens, so that it is nearly "
        "always clipped. The loss log has means",
    )
    max_grad_norm: float = _new(
        1.0,
        gt=0,
        description="largest norm of the gradients of a step; larger ones are scaled down to it",
    )
    soft_cap: float | None = _new(
        None,
        gt=0,
        description="the loss takes soft_cap * tanh(logits / soft_cap) for the logits that the "
        "model gives; only in training, so that the model is scored without it",
    )
    temperature: float = _new(
        1.0,
        gt=0,
        description="the loss takes logits / temperature, after any soft cap; only in training",
    )
    batch_size: int = Field(ge=1, le=1_000_000, description="conversations per optimizer step")
    gradient_accumulation_steps: int = Field(
        default=1,
        ge=1,
        description="forward passes per optimizer step, summed over all processes",
    )
    epochs: float | None = Field(
        default=None, gt=0, description="passes over the data; give either this or `steps`"
    )
    steps: int | None = Field(
        default=None, ge=1, description="optimizer steps; give either this or `epochs`"
    )
    max_length: int = Field(ge=8, description="largest number of tokens per conversation")
    save_every: int = Field(
        default=500, ge=1, description="steps between checkpoints, from which training resumes"
    )
    matmul_precision: Precision = "medium"
    scale: Scale = Field(
        default=Scale(), description="default: one process, float32, padded batches"
    )
    adapter: Adapter | None = _new(
        None, description="train low-rank updates alone; null: train all weights"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            found = f"found epochs {self.epochs} and steps {self.steps}"
            raise ValueError(f"{found}, expected exactly one of them")
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"found batch_size {self.batch_size} and gradient_accumulation_steps "
                f"{self.gradient_accumulation_steps}, "
                "expected gradient_accumulation_steps to divide batch_size"
            )
        if self.gradient_accumulation_steps % self.scale.processes:
            raise ValueError(
                f"found gradient_accumulation_steps {self.gradient_accumulation_steps} and "
                f"scale.processes {self.scale.processes}, "
                "expected processes to divide gradient_accumulation_steps"
            )
        if self.scale.sharding == "fsdp" and self.scale.processes == 1:
            raise ValueError("found scale.sharding fsdp and 1 process, expected at least 2")
        return self

    @model_validator(mode="after")
    def _adapts_what_a_process_holds(self) -> Self:
        if self.adapter is None:
            return self
        if self.scale.sharding != "none":
            raise ValueError(
                f"found adapter and scale.sharding {self.scale.sharding}, expected sharding none"
            )
        if self.adapter.quantization != "none" and self.scale.processes > 1:
            raise ValueError(
                f"found adapter.quantization {self.adapter.quantization} and scale.processes "
                f"{self.scale.processes}, expected 1 process"
            )
        return self


class Training(TrainingRecipe):
    """How to train SFT runs; runs differ only in model, data, smoothing and seed."""

    learning_rate: LearningRate | Annotated[Distinct[LearningRate], Field(min_length=2)] = Field(
        description="a list: each is tried without smoothing, and all runs of the same model and "
        "SFT data use the one with the lowest loss on held-out conversations"
    )

    report_to: Literal["none", "tensorboard", "trackio", "wandb"] = Field(
        default="none",
        description="tool that shows losses while models train, which you install beside the "
        "environment; a change of it trains nothing again",
    )

    @property
    def tried(self) -> list[float]:
        """The learning rates to choose from; empty if the config gives only one."""
        return self.learning_rate if isinstance(self.learning_rate, list) else []


class TrainingJob(TrainingRecipe):
    """One SFT run to train."""

    run: Name
    smoothing: Smoothing
    seed: Seed
    chat_format: TrainableFormat
    chat_date: ChatDate | None = None
    learning_rate: LearningRate | None = Field(
        default=None, description="null: the rate that choose_learning_rate chose"
    )
