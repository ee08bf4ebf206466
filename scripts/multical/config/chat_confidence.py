"""The typed schema of study 2 in config.yaml: from released outputs, or from runs of our own."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from multical.params import (
    Bootstrap,
    Distinct,
    Language,
    LocalPath,
    Name,
    Seed,
    Strict,
    twice,
)
from multical.scoring.params import ChatConfidenceScoring


def _not_all(name: str) -> str:
    if name == "all":
        raise ValueError("found 'all', which means all data sets, expected another name")
    return name


#: What the figures of one data set have after their name and a dot
DatasetId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$"), AfterValidator(_not_all)]
#: The readouts of multical.metrics.readouts that study 2 compares
Confidence = Literal["msp", "max_logit", "margin", "entropy"]


class Release(Strict):
    """Where the released outputs are; $MSP_V2_ARCHIVE goes before `archive`."""

    archive: LocalPath | None = Field(
        description="local archive or folder; null downloads the commit"
    )
    repository: str = Field(pattern=r"^https://[^\s@]+$")  # no login: it is recorded with the job
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    folder: str = Field(description="folder of the outputs in the repository")
    manifest: LocalPath | None = Field(description="file of SHA-256 sums, one a released file")


class ReleasedModel(Strict):
    """A model of a release."""

    file: Name = Field(description="as in the names of files")
    name: str = Field(description="as in the study's tables")
    size: float | None = Field(gt=0, description="billions of parameters; null if not known")
    max_logit: bool = Field(description="whether maximum logits were released")


class ReleasedDataset(Strict):
    """A data set of a release."""

    id: DatasetId
    name: str
    questions: int = Field(ge=1)


class Abstention(Strict):
    """How thresholds are chosen, and answers below them scored."""

    seed: Seed = Field(description="of the split that the published tables show")
    seeds: int = Field(ge=1, description="splits of the spread")
    ks: list[Annotated[int, Field(ge=1)] | Literal["half"]] = Field(min_length=1)
    main_k: int = Field(ge=1, description="labelled questions a data set in the main tables")
    schemes: dict[Name, Annotated[float, Field(ge=0)]] = Field(description="loss of a wrong answer")
    grid: Literal["zero", "min"] = Field(description="start of the thresholds: as in v2, or in v4")


class ReleasedStudy(Strict):
    """Study 2 from the authors' released per-question outputs."""

    kind: Literal["released"]
    source: Release
    expected: LocalPath = Field(description="file of the published numbers")
    models: list[ReleasedModel] = Field(min_length=1)
    datasets: list[ReleasedDataset] = Field(min_length=1)
    prompts: list[Name] = Field(min_length=1)
    significance: float = Field(gt=0, lt=1)
    bins: int = Field(ge=1)
    bootstrap: Bootstrap
    abstention: Abstention


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


class ChatConfidenceStudy(Strict):
    """Study 2 from runs of our own."""

    kind: Literal["chat_confidence"]
    models: list[ChatConfidenceModel] = Field(
        min_length=1, description="in the order of the tables"
    )
    datasets: list[ChatConfidenceDataset] = Field(min_length=1)
    questions_per_dataset: int | None = Field(default=None, ge=1, description="null for all")
    scoring: ChatConfidenceScoring
    confidences: Distinct[Confidence] = Field(min_length=1)
    significance: float = Field(gt=0, lt=1)
    bins: int = Field(ge=1)
    bootstrap: Bootstrap
    abstention: Abstention
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
