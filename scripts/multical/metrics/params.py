"""Parameters in config.yaml and of the jobs that say what to compute from answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

from pydantic import Field

from multical.metrics import declared
from multical.params import Distinct, Name, Number, Seed, Strict

if TYPE_CHECKING:  # names that only the running program knows
    Readout: TypeAlias = str
    Metric: TypeAlias = str
    Distribution: TypeAlias = str
else:
    Readout = Literal[declared.READOUTS]
    Metric = Literal[declared.METRICS]
    Distribution = Literal[declared.DISTRIBUTIONS]
#: Bins of calibration errors, and numbers of draws: more would fill the memory, or take for ever
Bins = Annotated[int, Field(ge=1, le=10_000)]
Draws = Annotated[int, Field(ge=1, le=1_000_000)]
#: Readouts that paper 2 compares
Confidence = Literal["msp", "max_logit", "margin", "entropy"]


class Interval(Strict):
    """Parameters of an interval that is computed from random draws."""

    seed: Seed = 0
    level: float = Field(default=0.95, gt=0, lt=1, description="level of confidence intervals")


class Bootstrap(Interval):
    """Parameters of the bootstrap over questions."""

    replicates: int = Field(default=1000, ge=0, le=1_000_000, description="number of resamplings")


class Binned(Strict):
    """Readouts, and the number of bins for their confidences."""

    readouts: Distinct[Readout] = Field(
        default=["text_ppl", "text_sum", "letter"],
        min_length=1,
        description="how to read answers and confidences off the scores",
    )
    bins: Bins = Field(default=15, description="number of bins of calibration errors")
    least_questions: int = Field(
        default=1,
        ge=1,
        description="least number of questions of a language that counts in means over languages",
    )


class Diagrams(Binned):
    """How answers are binned for reliability diagrams."""

    least: int = Field(
        default=10,
        ge=1,
        description="least number of questions in a point of a reliability diagram; neighbouring "
        "bins with fewer are joined",
    )


class Metrics(Binned):
    """Metrics and intervals to compute from records."""

    metrics: Distinct[Metric] = Field(
        default=list(get_args(Metric)), min_length=1, description="the metrics to compute"
    )
    bootstrap: Bootstrap = Bootstrap()


class MetricsSection(Metrics, Diagrams):
    """The metrics and reliability diagrams of a study."""


class Recalibration(Strict):
    """How to recalibrate confidences: fit on some questions, evaluate on others."""

    folds: int = Field(
        default=5, ge=2, le=100, description="folds of the questions, the same in all languages"
    )
    seed: Seed = 0


class Split(Strict):
    """Which answers train a threshold or a scaling, and which test it."""

    seed: Seed = Field(
        default=2549900867, description="seed of the split; the default is the published tables'"
    )
    main_k: int = Field(
        default=20, ge=1, description="labelled questions for each data set in the main tables"
    )


class Abstention(Split):
    """How to choose thresholds, and how to score with abstention."""

    seeds: int = Field(default=100, ge=0, le=100_000, description="number of splits for the spread")
    ks: list[Annotated[int, Field(ge=1)] | Literal["half"]] = Field(
        default=[1, 2, 5, 10, 20, 50, 100, 200, 500],
        min_length=1,
        description="numbers of labelled questions for each data set; half: half of them",
    )
    schemes: dict[Name, Annotated[float, Field(ge=0)]] = Field(
        default={"balanced": 1, "conservative": 2}, description="penalty of a wrong answer"
    )
    grid: Literal["zero", "min"] = Field(
        default="min", description="start of the thresholds: as in v2, or in v4"
    )


class ReleasedAbstention(Abstention):
    """Abstention as in v2 of paper 2, whose outputs were released."""

    ks: list[Annotated[int, Field(ge=1)] | Literal["half"]] = Field(
        default=[1, 2, 5, 10, 20, 50, 100, 200, 500, "half"],
        min_length=1,
        description="numbers of labelled questions for each data set; half: half of them",
    )
    grid: Literal["zero", "min"] = Field(
        default="zero", description="start of the thresholds: as in v2, or in v4"
    )


class AnswerStatistics(Strict):
    """Paper 2's statistics of answers."""

    significance: Number = Field(
        default=1e-4, gt=0, lt=1, description="cells with a p-value below it are counted"
    )
    bins: Bins = Field(default=10, description="number of bins of calibration errors")
    bootstrap: Bootstrap = Bootstrap()
    abstention: Abstention = Abstention()


class Procedures(Bootstrap):
    """Parameters of simulated tests."""

    simulations: Draws = 1000
    replicates: Draws = 200
    bins: Bins = 10


class Coverage(Bootstrap):
    """Parameters of simulated benchmarks, and of the metrics computed from each."""

    simulations: Draws = 300
    replicates: Draws = 200
    bins: Bins = 15
    languages: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 4, 40], min_length=1)
    questions: list[Annotated[int, Field(ge=2)]] = Field(default=[20, 100, 1000], min_length=1)
    powers: list[Annotated[float, Field(ge=1)]] = Field(default=[1.0, 1.5, 2.5], min_length=1)
    shared: list[Annotated[float, Field(ge=0, le=1)]] = Field(default=[0.3, 0.5], min_length=1)
