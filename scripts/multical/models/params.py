"""How models are fine-tuned: the section `training` of config.yaml, and a run's parameters."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from multical.params import (
    Distinct,
    LearningRate,
    Name,
    Precision,
    Seed,
    Smoothing,
    Strict,
    TrainableFormat,
)


class Scale(Strict):
    """How an SFT run is spread over hardware; the batches of its steps stay the same."""

    processes: int = Field(
        default=1,
        ge=1,
        description="on one machine, a GPU each; they divide gradient_accumulation_steps",
    )
    sharding: Literal["none", "fsdp"] = Field(
        default="none",
        description="fsdp: a process holds its part of weights, gradients and optimizer state; "
        "needs GPUs",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="of products; weights, optimizer state and sums of gradients are float32",
    )
    activation_checkpointing: bool = Field(
        default=False, description="make activations again for the gradients, to save memory"
    )
    padding_free: bool = Field(
        default=False,
        description="the conversations of a forward pass in one row that no attention crosses",
    )


class TrainingRecipe(Strict):
    """What the section `training` and a run's parameters have in common."""

    warmup_ratio: float = Field(default=0.03, ge=0, lt=1, description="then linear decay to 0")
    weight_decay: float = Field(default=0.0, ge=0)
    batch_size: int = Field(ge=1, description="conversations per optimizer step")
    gradient_accumulation_steps: int = Field(
        default=1,
        ge=1,
        description="forward passes that a step is split into, those of all processes",
    )
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    max_length: int = Field(ge=8, description="tokens of a conversation")
    save_every: int = Field(
        default=500, ge=1, description="steps between checkpoints to resume from"
    )
    matmul_precision: Precision = Field(
        default="medium",
        description="of float32 matrix products: medium lets bfloat16 units do them",
    )
    scale: Scale = Field(
        default=Scale(), description="default: one process, float32, padded batches"
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


class Training(TrainingRecipe):
    """One SFT run; the same for all runs of a study but for smoothing and seed."""

    learning_rate: LearningRate | Annotated[Distinct[LearningRate], Field(min_length=2)] = Field(
        description="several: each is tried without smoothing, and the one whose loss on "
        "held-out conversations is least serves all runs of the model and the SFT data"
    )

    @property
    def tried(self) -> list[float]:
        """The learning rates to choose from; none where there is no choice."""
        return self.learning_rate if isinstance(self.learning_rate, list) else []


class TrainingJob(TrainingRecipe):
    """One SFT run to train."""

    run: Name
    smoothing: Smoothing
    seed: Seed
    chat_format: TrainableFormat
    learning_rate: LearningRate | None = Field(
        default=None, description="null: the one that choose_learning_rate chose"
    )
