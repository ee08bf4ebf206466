"""Studies of paper 2 in config.yaml, from released outputs or from our own runs."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, get_args

from pydantic import Field, model_validator

from multical.data.release_params import DatasetId, Released
from multical.metrics.params import AnswerStatistics, Confidence, ReleasedAbstention
from multical.params import BenchmarkName, Distinct, Language, LocalPath, Name, Strict, twice
from multical.scoring.params import ChatConfidenceScoring


class ComparedWith(Strict):
    """A study that gave the same models the same questions, in another way."""

    study: str = Field(description="the other study; its phrasings are paired by their order")
    unpaired: Distinct[DatasetId] = Field(
        default=[], description="data sets of other questions, or the same in another order"
    )


class AnswerStudy(AnswerStatistics):
    """What both kinds of studies of paper 2 have."""

    expected: LocalPath | None = Field(
        default=None, description="file with the published numbers; null: no comparison"
    )
    compared_with: ComparedWith | None = Field(
        default=None, description="a study to compare with, question by question; null: none"
    )


class ReleasedStudy(Released, AnswerStudy):
    """Paper 2 from the authors' released per-question outputs."""

    kind: Literal["released"]
    abstention: ReleasedAbstention = ReleasedAbstention()

    @property
    def prompt_names(self) -> list[str]:
        """The phrasings by their names in records."""
        return self.prompts


class ChatConfidenceModel(Strict):
    """A model or SFT run to score."""

    run: Name = Field(description="name of a model, or id of an SFT run of the study `of`")
    of: str | None = Field(
        default=None, description="the study that trains the run; null: `run` names a model"
    )
    name: str = Field(description="the model's name in tables and figures")
    size: float | None = Field(
        gt=0, description="billions of parameters; null: unknown, so left out of fits on size"
    )


class ChatConfidenceDataset(Strict):
    """Questions of one benchmark in one language."""

    id: DatasetId
    name: str = Field(description="the data set's name in tables and figures")
    benchmark: BenchmarkName
    language: Language = Field(default="en", description="language of the questions")


class ChatConfidenceStudy(AnswerStudy):
    """Paper 2 from our own runs."""

    kind: Literal["chat_confidence"]
    models: list[ChatConfidenceModel] = Field(
        min_length=1, description="in the order of the tables"
    )
    datasets: list[ChatConfidenceDataset] = Field(min_length=1)
    questions_per_dataset: int | None = Field(default=None, ge=1, description="null: all")
    scoring: ChatConfidenceScoring
    confidences: Distinct[Confidence] = Field(
        default=list(get_args(Confidence)),
        min_length=1,
        description="the confidence measures to compare",
    )

    @model_validator(mode="after")
    def _names_are_distinct(self) -> ChatConfidenceStudy:
        for key, values in (
            ("models: run", [model.run for model in self.models]),
            ("models: name", [model.name for model in self.models]),
            ("datasets: id", [dataset.id for dataset in self.datasets]),
            (
                "datasets: benchmark and language",
                [(dataset.benchmark, dataset.language) for dataset in self.datasets],
            ),
        ):
            if repeated := twice(values):
                raise ValueError(f"{key}: found {repeated[0]!r} twice, expected different values")
        if "msp" not in self.confidences:
            raise ValueError(f"confidences: found {self.confidences}, expected msp among them")
        if "entropy" in self.confidences and self.abstention.grid == "zero":
            raise ValueError("abstention.grid: found zero, expected min: no entropy is above zero")
        return self

    @cached_property
    def by_run(self) -> dict[str, ChatConfidenceModel]:
        """The models by `run`."""
        return {model.run: model for model in self.models}

    @property
    def prompt_names(self) -> list[str]:
        """The phrasings by their names in records."""
        return self.scoring.prompts

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks of the data sets, each once."""
        return list(dict.fromkeys(dataset.benchmark for dataset in self.datasets))

    def languages(self, benchmark: str) -> list[str]:
        """The languages of the data sets with a benchmark, sorted."""
        return sorted(data.language for data in self.datasets if data.benchmark == benchmark)
