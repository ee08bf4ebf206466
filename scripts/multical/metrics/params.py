"""What can be computed from answers, as config.yaml and the jobs' parameters say it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from multical.params import Distinct, Name, Number, Seed, Strict

# The keys of metrics.readouts.READOUTS and metrics.definitions.METRICS, which would load numpy
# and pandas at each start of Snakemake; a test compares them.
Readout = Literal[
    "letter", "letter_full", "text_ppl", "text_sum", "msp", "max_logit", "margin", "entropy"
]
Metric = Literal[
    "accuracy", "confidence", "gap", "ece", "ece_equal_mass", "rmsce", "mce", "debiased_ece2",
    "ece_classwise", "ece_all", "brier", "nll", "entropy", "auroc", "aurc",
]  # fmt: skip
#: Readouts that are a softmax of option scores, the keys of multical.metrics.readouts.SCORES
Distribution = Literal["letter", "text_ppl", "text_sum"]
#: Readouts that paper 2 compares
Confidence = Literal["msp", "max_logit", "margin", "entropy"]


class Interval(Strict):
    """An interval from random draws."""

    seed: Seed = 0
    level: float = Field(default=0.95, gt=0, lt=1)


class Bootstrap(Interval):
    """Question-clustered bootstrap."""

    replicates: int = Field(default=1000, ge=0)


class Binned(Strict):
    """Readouts, and the bins of their confidences."""

    readouts: Distinct[Readout] = Field(default=["text_ppl", "text_sum", "letter"], min_length=1)
    bins: int = Field(default=15, ge=1)


class Metrics(Binned):
    """What is computed from records."""

    metrics: Distinct[Metric] = Field(default=list(get_args(Metric)), min_length=1)
    bootstrap: Bootstrap = Bootstrap()


class Recalibration(Strict):
    """How confidences are recalibrated: fitted on some questions, judged on others."""

    folds: int = Field(
        default=5, ge=2, le=100, description="parts of the questions, the same in all languages"
    )
    seed: Seed = 0


class Split(Strict):
    """Which answers train a threshold or a scaling, and which test it."""

    seed: Seed = Field(
        default=2549900867, description="of the split that the published tables show"
    )
    main_k: int = Field(
        default=20, ge=1, description="labelled questions a data set in the main tables"
    )


class Abstention(Split):
    """How thresholds are chosen, and answers below them scored."""

    seeds: int = Field(default=100, ge=0, description="splits of the spread")
    ks: list[Annotated[int, Field(ge=1)] | Literal["half"]] = Field(
        default=[1, 2, 5, 10, 20, 50, 100, 200, 500], min_length=1
    )
    schemes: dict[Name, Annotated[float, Field(ge=0)]] = Field(
        default={"balanced": 1, "conservative": 2}, description="loss of a wrong answer"
    )
    grid: Literal["zero", "min"] = Field(
        default="min", description="start of the thresholds: as in v2, or in v4"
    )


class ReleasedAbstention(Abstention):
    """Abstention as in v2 of the paper, whose outputs were released."""

    ks: list[Annotated[int, Field(ge=1)] | Literal["half"]] = Field(
        default=[1, 2, 5, 10, 20, 50, 100, 200, 500, "half"], min_length=1
    )
    grid: Literal["zero", "min"] = Field(
        default="zero", description="start of the thresholds: as in v2, or in v4"
    )


class AnswerStatistics(Strict):
    """What paper 2 computes from answers."""

    significance: Number = Field(
        default=1e-4, gt=0, lt=1, description="a p-value below it is counted"
    )
    bins: int = Field(default=10, ge=1)
    bootstrap: Bootstrap = Bootstrap()
    abstention: Abstention = Abstention()


class Coverage(Bootstrap):
    """Simulated benchmarks, and what is computed from each."""

    simulations: int = Field(default=1000, ge=1)
    replicates: int = Field(default=200, ge=1)
    bins: int = Field(default=15, ge=1)
    languages: int = Field(default=4, ge=1)
    questions: list[Annotated[int, Field(ge=1)]] = Field(default=[100, 1000], min_length=1)
    powers: list[Annotated[float, Field(ge=1)]] = Field(default=[1.0, 1.5, 2.5], min_length=1)
