"""The studies of config.yaml, and their runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from multical.config.chat_confidence import ChatConfidenceStudy, ReleasedStudy
from multical.data.harness_params import HarnessLogs
from multical.metrics.params import MetricsSection, Readout, Recalibration
from multical.models.params import Training
from multical.params import (
    BaseOrTuned,
    BenchmarkName,
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

ShownSmoothing = Annotated[
    float, Field(gt=0, lt=1, description="label smoothing (b) of the runs to show beside b = 0")
]
ModelNames = Annotated[Distinct[Name], Field(min_length=1, description="names of models")]
BenchmarkNames = Annotated[Distinct[Name], Field(min_length=1, description="names of benchmarks")]
Languages = Annotated[
    Annotated[Distinct[Language], Field(min_length=1)] | None,
    Field(description="null: all languages of each benchmark"),
]
QuestionLimit = Annotated[
    int | None,
    Field(ge=1, description="largest number of questions per language; null: all"),
]


class ModelFigures(Strict):
    """What the figures show of base models."""

    benchmark: BenchmarkName
    readout: Readout = Field(description="the readout to show")
    reference_language: Language = Field(description="language to compare the others with")


class Figures(ModelFigures):
    """What the figures show, where there is a choice."""

    sft: Name = Field(description="name of the SFT data")
    smoothing: ShownSmoothing
    seed: Seed | None = Field(
        default=None, description="a seed of the SFT runs; null: the mean over all seeds"
    )


class MultilingualStudy(Strict):
    """Paper 1: base models, and SFT runs with each smoothing and seed, on all benchmarks."""

    kind: Literal["multilingual"]
    models: ModelNames
    sft_data: Distinct[Name] = Field(min_length=1, description="names of SFT data")
    smoothing: Distinct[Smoothing] = Field(
        min_length=1, description="label smoothings (b) of SFT runs; 0 is none"
    )
    seeds: Distinct[Seed] = Field(min_length=1, description="seeds of SFT runs")
    benchmarks: BenchmarkNames
    languages: Languages = None
    questions_per_language: QuestionLimit = None
    training: Training
    scoring: Scoring
    metrics: MetricsSection = MetricsSection()
    recalibration: Recalibration = Recalibration()
    figures: Figures

    @cached_property
    def by_id(self) -> dict[str, Run]:
        """All runs and trials, by id."""
        return runs(self) | {run.id: run for run in trials(self)}

    @cached_property
    def trials_of(self) -> dict[tuple[str, str | None], list[Run]]:
        """The trials of learning rates, by model and SFT data."""
        found: dict[tuple[str, str | None], list[Run]] = {}
        for trial in trials(self):
            found.setdefault((trial.model, trial.sft), []).append(trial)
        return found


class HarnessRun(HarnessLogs):
    """Sample logs of lm-evaluation-harness from one run on one benchmark."""

    samples: dict[Language, LocalPath] = Field(
        min_length=1, description="the logs of each language: a path or glob pattern"
    )

    @property
    def run(self) -> Run:
        """The run that was scored."""
        return Run(self.model, self.sft, self.smoothing, self.seed)


class HarnessFigures(BaseOrTuned, ModelFigures):
    """What the figures show. If sft, smoothing and seed are null, they show only base models."""

    smoothing: ShownSmoothing | None = None
    options: Options = Field(
        default=None,
        description="number of options per question, for the chance lines; null: it varies",
    )


class HarnessStudy(Strict):
    """Runs of lm-evaluation-harness, from their sample logs."""

    kind: Literal["harness"]
    runs: list[HarnessRun] = Field(min_length=1)
    metrics: MetricsSection = MetricsSection()
    recalibration: Recalibration = Recalibration()
    figures: HarnessFigures

    @model_validator(mode="after")
    def _figures_name_runs_of_the_study(self) -> HarnessStudy:
        if repeated := twice([(logs.run.id, logs.benchmark) for logs in self.runs]):
            raise ValueError(f"runs: {' on '.join(repeated[0])} twice, expected once")
        figures = self.figures
        logs_by_run = {
            logs.run.id: logs for logs in self.runs if logs.benchmark == figures.benchmark
        }
        smoothings = [] if figures.sft is None else [0.0, figures.smoothing]
        shown_runs = [
            run.id
            for model in dict.fromkeys(logs.model for logs in logs_by_run.values())
            for run in (Run(model), *(Run(model, figures.sft, b, figures.seed) for b in smoothings))
        ]
        languages = {language for logs in logs_by_run.values() for language in logs.samples}
        for key, names, known in (
            ("benchmark", [figures.benchmark], {logs.benchmark for logs in self.runs}),
            ("readout", [figures.readout], self.metrics.readouts),
            ("sft, smoothing, seed", shown_runs, logs_by_run),
            ("reference_language", [figures.reference_language], languages),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"figures.{key}: found {name!r}, expected one of {sorted(known)}"
                    )
        return self


#: Readouts of the log-probabilities of letters. A maximum logit needs logits, which no API gives
API_READOUTS = ("letter", "letter_full", "msp", "margin", "entropy")


class ApiFigures(ModelFigures):
    """What the figures show, which are only base models."""

    sft: ClassVar[None] = None
    smoothing: ClassVar[None] = None
    seed: ClassVar[None] = None


class ApiStudy(Strict):
    """Models behind APIs on all benchmarks."""

    kind: Literal["api"]
    models: ModelNames
    benchmarks: BenchmarkNames
    languages: Languages = None
    questions_per_language: QuestionLimit = None
    scoring: ApiScoring
    metrics: MetricsSection = MetricsSection()
    recalibration: Recalibration = Recalibration()
    figures: ApiFigures

    @model_validator(mode="after")
    def _readouts_need_only_letters(self) -> ApiStudy:
        for name in self.metrics.readouts:
            if name not in API_READOUTS:
                raise ValueError(
                    f"metrics.readouts: found {name!r}, expected some of {list(API_READOUTS)}: an "
                    "API gives only the log-probabilities of letters"
                )
        return self


#: Studies with records per run and benchmark; they have the metrics and figures of paper 1
Measured = MultilingualStudy | HarnessStudy | ApiStudy
#: Studies of paper 1 that score models here
Scored = MultilingualStudy | ApiStudy
#: All studies that score models
ModelStudy = Scored | ChatConfidenceStudy
Study = Annotated[Measured | ReleasedStudy | ChatConfidenceStudy, Field(discriminator="kind")]


@dataclass(frozen=True)
class Run:
    """A base model, or an SFT run on it. Paths and tables name it by its `id`.

    A run with a `learning_rate` is a trial of that learning rate.
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
    """The runs that `runs` returns by id, before a check that the ids differ."""
    grid = product(study.models, study.sft_data, study.smoothing, study.seeds)
    return [*map(Run, study.models), *(Run(*cell) for cell in grid)]


def trials(study: MultilingualStudy) -> list[Run]:
    """The runs that choose the learning rate: no smoothing, the first seed."""
    grid = product(study.models, study.sft_data, study.training.tried)
    return [Run(model, sft, 0.0, study.seeds[0], rate) for model, sft, rate in grid]


def scored(study: Measured | ChatConfidenceStudy) -> list[tuple[str, str]]:
    """The (run id, benchmark) of all records of a study."""
    if isinstance(study, HarnessStudy):
        return [(logs.run.id, logs.benchmark) for logs in study.runs]
    if isinstance(study, ChatConfidenceStudy):
        return list(product(study.by_run, study.benchmarks))
    names = study.models if isinstance(study, ApiStudy) else runs(study)
    return list(product(names, study.benchmarks))
