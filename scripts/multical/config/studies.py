"""The typed schema of the studies of config.yaml, and the runs that they have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from multical.config.chat_confidence import ChatConfidenceStudy, ReleasedStudy
from multical.metrics.params import Metrics, Readout, Recalibration
from multical.params import (
    Distinct,
    Dtype,
    Language,
    LearningRate,
    LocalPath,
    Name,
    Options,
    Precision,
    Seed,
    Smoothing,
    Strict,
    twice,
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


class Training(Strict):
    """One SFT run; the same for all runs of a study but for smoothing and seed."""

    learning_rate: LearningRate | Annotated[Distinct[LearningRate], Field(min_length=2)] = Field(
        description="several: each is tried without smoothing, and the one whose loss on "
        "held-out conversations is least serves all runs of the model and the SFT data"
    )
    warmup_ratio: float = Field(ge=0, lt=1, description="then linear decay to 0")
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1, description="conversations per optimizer step")
    gradient_accumulation_steps: int = Field(
        ge=1, description="forward passes that a step is split into, those of all processes"
    )
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    max_length: int = Field(ge=8, description="tokens of a conversation")
    save_every: int = Field(ge=1, description="steps between checkpoints to resume from")
    matmul_precision: Precision = Field(
        description="of float32 matrix products: medium lets bfloat16 units do them"
    )
    scale: Scale | None = Field(
        default=None, description="null: one process, float32, padded batches"
    )

    @property
    def tried(self) -> list[float]:
        """The learning rates to choose from; none where there is no choice."""
        return self.learning_rate if isinstance(self.learning_rate, list) else []

    @model_validator(mode="after")
    def _one_length(self) -> Training:
        if (self.epochs is None) == (self.steps is None):
            found = f"found epochs {self.epochs} and steps {self.steps}"
            raise ValueError(f"{found}, expected exactly one of them")
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"found batch_size {self.batch_size} and gradient_accumulation_steps "
                f"{self.gradient_accumulation_steps}, "
                "expected gradient_accumulation_steps to divide batch_size"
            )
        if self.scale and self.gradient_accumulation_steps % self.scale.processes:
            raise ValueError(
                f"found gradient_accumulation_steps {self.gradient_accumulation_steps} and "
                "scale.processes "
                f"{self.scale.processes}, expected processes to divide gradient_accumulation_steps"
            )
        if self.scale and self.scale.sharding == "fsdp" and self.scale.processes == 1:
            raise ValueError("found scale.sharding fsdp and 1 process, expected at least 2")
        return self


class Scoring(Strict):
    """How runs are scored."""

    prompt: Name
    multiple_choice_languages: Distinct[Language] | None = Field(
        description="languages that are shown the multiple-choice prompt too, which costs most of "
        "the tokens; null for all"
    )
    dtype: Dtype
    matmul_precision: Precision
    batch_tokens: int = Field(
        ge=1,
        description="upper bound of padded tokens in a batch; few-shot examples count in each "
        "question, since each holds their keys and values",
    )
    num_fewshot: int = Field(
        default=0,
        ge=0,
        le=100,
        description="answered examples before each question, in its language and, where they "
        "have any, of its subject",
    )
    languages_per_job: int | None = Field(
        default=None,
        ge=1,
        le=20,
        description="cuts a benchmark's languages, in their order, into jobs of so many; 1: a "
        "new language scores itself alone; null: all in one job",
    )


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
    """Study 1: base models, SFT runs with every smoothing and seed, all benchmarks."""

    kind: Literal["multilingual"]
    models: Distinct[Name] = Field(min_length=1)
    sft_data: Distinct[Name] = Field(min_length=1)
    smoothing: Distinct[Smoothing] = Field(min_length=1)
    seeds: Distinct[Seed] = Field(min_length=1)
    benchmarks: Distinct[Name] = Field(min_length=1)
    languages: Distinct[Language] | None = Field(description="null for all of a benchmark")
    questions_per_language: int | None = Field(ge=1, description="null for all")
    training: Training
    scoring: Scoring
    metrics: Metrics = Metrics()
    recalibration: Recalibration = Recalibration()
    figures: Figures

    @cached_property
    def by_id(self) -> dict[str, Run]:
        """All runs and trials."""
        return runs(self) | {run.id: run for run in trials(self)}


class HarnessRun(Strict):
    """One run on one benchmark, from sample logs of lm-evaluation-harness."""

    model: Name
    sft: Name | None = Field(default=None, description="SFT data; null for a base model")
    smoothing: Smoothing | None = None
    seed: Seed | None = None
    benchmark: Name
    prompt: Name = Field(description="what to call the harness's prompt")
    samples: dict[Language, LocalPath] = Field(
        min_length=1, description="the logs of each language, a path or a glob"
    )
    id_field: str | None = Field(
        default=None,
        description="field of the questions that names them, the same in all languages; null "
        "numbers them; several logs of one language need it",
    )
    subject_field: str | None = Field(default=None, description="field that holds the subject")

    @property
    def run(self) -> Run:
        """What was scored."""
        return Run(self.model, self.sft, self.smoothing, self.seed)

    @model_validator(mode="after")
    def _base_or_tuned(self) -> HarnessRun:
        _all_or_none(self)
        return self


class HarnessFigures(Strict):
    """What the figures show; with sft, smoothing and seed null, base models alone."""

    benchmark: Name
    readout: Readout
    sft: Name | None = None
    smoothing: Shown | None = None
    seed: Seed | None = None
    reference_language: Language
    options: Options = Field(
        default=None, description="of every question, for the chance lines; null where they vary"
    )

    @model_validator(mode="after")
    def _base_or_tuned(self) -> HarnessFigures:
        _all_or_none(self)
        return self


def _all_or_none(keys: HarnessRun | HarnessFigures) -> None:
    found = {"sft": keys.sft, "smoothing": keys.smoothing, "seed": keys.seed}
    if len({value is None for value in found.values()}) > 1:
        raise ValueError(f"found {found}, expected all three, or none for a base model")


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


class ApiScoring(Strict):
    """How models behind APIs are scored: by the multiple-choice prompt, in all languages."""

    prompt: Name
    num_fewshot: int = Field(default=0, ge=0, le=100, description="as for other studies")


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
    languages: Distinct[Language] | None = Field(description="null for all of a benchmark")
    questions_per_language: int | None = Field(ge=1, description="null for all")
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
#: Those that ask models: these, and study 2's own runs
Asking = Scored | ChatConfidenceStudy
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
