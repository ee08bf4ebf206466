"""The typed schema of paper 2 in config.yaml: from released outputs, or from runs of our own."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, get_args

from pydantic import Field, model_validator

from multical.data.release_params import DatasetId, Released
from multical.metrics.params import AnswerStatistics, Confidence, ReleasedAbstention
from multical.params import (
    Distinct,
    Language,
    LocalPath,
    Name,
    Strict,
    twice,
)
from multical.scoring.params import ChatConfidenceScoring


class ReleasedStudy(Released, AnswerStatistics):
    """Paper 2 from the authors' released per-question outputs."""

    kind: Literal["released"]
    expected: LocalPath = Field(description="file of the published numbers")
    abstention: ReleasedAbstention = ReleasedAbstention()


class ChatConfidenceModel(Strict):
    """A run whose answers are looked at."""

    run: Name = Field(description="a model of `models`, or an SFT run of the study `of`")
    of: str | None = Field(default=None, description="study that trains the run; null: a model")
    name: str = Field(description="as in tables and figures")
    size: float | None = Field(
        gt=0, description="billions of parameters; null: unknown, and not in fits on size"
    )


class ChatConfidenceDataset(Strict):
    """Questions of one benchmark in one language."""

    id: DatasetId
    name: str = Field(description="as in tables and figures")
    benchmark: Name
    language: Language = "en"


class ChatConfidenceStudy(AnswerStatistics):
    """Paper 2 from runs of our own."""

    kind: Literal["chat_confidence"]
    models: list[ChatConfidenceModel] = Field(
        min_length=1, description="in the order of the tables"
    )
    datasets: list[ChatConfidenceDataset] = Field(min_length=1)
    questions_per_dataset: int | None = Field(default=None, ge=1, description="null for all")
    scoring: ChatConfidenceScoring
    confidences: Distinct[Confidence] = Field(default=list(get_args(Confidence)), min_length=1)
    expected: LocalPath | None = Field(default=None, description="file of the published numbers")

    @model_validator(mode="after")
    def _names_are_distinct(self) -> ChatConfidenceStudy:
        for key, values in (
            ("models: run", [model.run for model in self.models]),
            ("models: name", [model.name for model in self.models]),
            ("datasets: id", [dataset.id for dataset in self.datasets]),
            (
                "datasets: benchmark and language",
                [(x.benchmark, x.language) for x in self.datasets],
            ),
        ):
            if again := twice(values):
                raise ValueError(f"{key}: found {again[0]!r} twice, expected different values")
        if "msp" not in self.confidences:
            raise ValueError(f"confidences: found {self.confidences}, expected msp among them")
        if "entropy" in self.confidences and self.abstention.grid == "zero":
            raise ValueError("abstention.grid: found zero, expected min: no entropy is above zero")
        return self

    @cached_property
    def by_run(self) -> dict[str, ChatConfidenceModel]:
        """The models by their runs."""
        return {model.run: model for model in self.models}

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks of the data sets, each once."""
        return list(dict.fromkeys(dataset.benchmark for dataset in self.datasets))

    def languages(self, benchmark: str) -> list[str]:
        """The languages that a benchmark is asked in."""
        return sorted(x.language for x in self.datasets if x.benchmark == benchmark)
