"""The typed schema of the studies of config.yaml, and the runs that they have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from multical.config.chat_confidence import ChatConfidenceStudy, ReleasedStudy
from multical.data.harness_params import HarnessLogs
from multical.metrics.params import Metrics, Readout, Recalibration
from multical.models.params import Training
from multical.params import (
    BaseOrTuned,
    Distinct,
    Language,
    LocalPath,
    Name,
    Options,
    Seed,
    Smoothing,
    Strict,
    twice,
)
from multical.scoring.api_params import ApiScoring
from multical.scoring.params import Scoring

Shown = Annotated[float, Field(gt=0, lt=1, description="beside 0, that of SFT")]


class Figures(Strict):
    """What the figures show where there is a choice."""

    benchmark: Name
    readout: Readout
    sft: Name
    smoothing: Shown
    seed: Seed
    reference_language: Language


class MultilingualStudy(Strict):
    """Paper 1: base models, SFT runs with every smoothing and seed, all benchmarks."""

    kind: Literal["multilingual"]
    models: Distinct[Name] = Field(min_length=1)
    sft_data: Distinct[Name] = Field(min_length=1)
    smoothing: Distinct[Smoothing] = Field(min_length=1)
    seeds: Distinct[Seed] = Field(min_length=1)
    benchmarks: Distinct[Name] = Field(min_length=1)
    languages: Distinct[Language] | None = Field(
        default=None, description="null for all of a benchmark"
    )
    questions_per_language: int | None = Field(default=None, ge=1, description="null for all")
    training: Training
    scoring: Scoring
    metrics: Metrics = Metrics()
    recalibration: Recalibration = Recalibration()
    figures: Figures

    @cached_property
    def by_id(self) -> dict[str, Run]:
        """All runs and trials."""
        return runs(self) | {run.id: run for run in trials(self)}


class HarnessRun(HarnessLogs):
    """One run on one benchmark, from sample logs of lm-evaluation-harness."""

    samples: dict[Language, LocalPath] = Field(
        min_length=1, description="the logs of each language, a path or a glob"
    )

    @property
    def run(self) -> Run:
        """What was scored."""
        return Run(self.model, self.sft, self.smoothing, self.seed)


class HarnessFigures(BaseOrTuned):
    """What the figures show; with sft, smoothing and seed null, base models alone."""

    benchmark: Name
    readout: Readout
    smoothing: Shown | None = None
    reference_language: Language
    options: Options = Field(
        default=None, description="of every question, for the chance lines; null where they vary"
    )


class HarnessStudy(Strict):
    """Anyone's runs of lm-evaluation-harness, from their sample logs."""

    kind: Literal["harness"]
    runs: list[HarnessRun] = Field(min_length=1)
    metrics: Metrics = Metrics()
    recalibration: Recalibration = Recalibration()
    figures: HarnessFigures

    @model_validator(mode="after")
    def _figures_show_what_there_is(self) -> HarnessStudy:
        if again := twice([(one.run.id, one.benchmark) for one in self.runs]):
            raise ValueError(f"runs: {' on '.join(again[0])} twice, expected once")
        shown = self.figures
        drawn = {one.run.id: one for one in self.runs if one.benchmark == shown.benchmark}
        tuned = [] if shown.sft is None else [0.0, shown.smoothing]
        wanted = [
            run.id
            for model in dict.fromkeys(one.model for one in drawn.values())
            for run in (Run(model), *(Run(model, shown.sft, b, shown.seed) for b in tuned))
        ]
        languages = {language for one in drawn.values() for language in one.samples}
        for key, names, known in (
            ("benchmark", [shown.benchmark], {one.benchmark for one in self.runs}),
            ("readout", [shown.readout], self.metrics.readouts),
            ("sft, smoothing, seed", wanted, drawn),
            ("reference_language", [shown.reference_language], languages),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"figures.{key}: found {name!r}, expected one of {sorted(known)}"
                    )
        return self


#: What can be read off the letters' log-probabilities: the logits of a maximum logit are not told
API_READOUTS = ("letter", "letter_full", "msp", "margin", "entropy")


class ApiFigures(Strict):
    """What the figures show: base models alone."""

    benchmark: Name
    readout: Readout
    reference_language: Language
    sft: ClassVar[None] = None
    smoothing: ClassVar[None] = None
    seed: ClassVar[None] = None


class ApiStudy(Strict):
    """Models behind APIs, on all benchmarks."""

    kind: Literal["api"]
    models: Distinct[Name] = Field(min_length=1)
    benchmarks: Distinct[Name] = Field(min_length=1)
    languages: Distinct[Language] | None = Field(
        default=None, description="null for all of a benchmark"
    )
    questions_per_language: int | None = Field(default=None, ge=1, description="null for all")
    scoring: ApiScoring
    metrics: Metrics = Metrics()
    recalibration: Recalibration = Recalibration()
    figures: ApiFigures

    @model_validator(mode="after")
    def _reads_what_is_told(self) -> ApiStudy:
        for name in self.metrics.readouts:
            if name not in API_READOUTS:
                raise ValueError(
                    f"metrics.readouts: found {name!r}, expected some of {list(API_READOUTS)}: an "
                    "API tells the log-probabilities of letters alone"
                )
        return self


#: Studies with records per run and benchmark, which share metrics and figures
Measured = MultilingualStudy | HarnessStudy | ApiStudy
#: Those that are scored here
Scored = MultilingualStudy | ApiStudy
#: Those that ask models: these, and paper 2's own runs
ModelStudy = Scored | ChatConfidenceStudy
Study = Annotated[Measured | ReleasedStudy | ChatConfidenceStudy, Field(discriminator="kind")]


@dataclass(frozen=True)
class Run:
    """A base model, or one SFT run on it; `id` is what paths and tables call it.

    A run with a learning rate of its own is a trial of it.
    """

    model: str
    sft: str | None = None
    smoothing: float | None = None
    seed: int | None = None
    learning_rate: float | None = None

    @property
    def id(self) -> str:
        if self.sft is None:
            return self.model
        if self.learning_rate is not None:
            return f"{self.model}.{self.sft}.lr{self.learning_rate:g}"
        return f"{self.model}.{self.sft}.ls{self.smoothing:g}.s{self.seed}"


def runs(study: MultilingualStudy) -> dict[str, Run]:
    """All runs of a study by id: the base models, then the grid of SFT runs."""
    return {run.id: run for run in grid_of(study)}


def grid_of(study: MultilingualStudy) -> list[Run]:
    """The runs of `runs`, of which two may have one id."""
    grid = product(study.models, study.sft_data, study.smoothing, study.seeds)
    return [*map(Run, study.models), *(Run(*cell) for cell in grid)]


def trials(study: MultilingualStudy) -> list[Run]:
    """The runs that learning rates are chosen by: no smoothing, the first seed."""
    grid = product(study.models, study.sft_data, study.training.tried)
    return [Run(model, sft, 0.0, study.seeds[0], rate) for model, sft, rate in grid]


def scored(study: Measured | ChatConfidenceStudy) -> list[tuple[str, str]]:
    """(run id, benchmark) of all records of a study."""
    if isinstance(study, HarnessStudy):
        return [(one.run.id, one.benchmark) for one in study.runs]
    if isinstance(study, ChatConfidenceStudy):
        return list(product(study.by_run, study.benchmarks))
    names = study.models if isinstance(study, ApiStudy) else runs(study)
    return list(product(names, study.benchmarks))
