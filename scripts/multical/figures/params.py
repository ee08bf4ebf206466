"""The parameters of the jobs that make tables and figures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from multical.data.release_params import DatasetId
from multical.metrics.params import Abstention, Bootstrap, Readout, Split
from multical.params import Distinct, Language, Name, Options, Seed, Strict

Smoothed = Annotated[float, Field(gt=0, lt=1, description="beside 0, that of SFT")]


class Product(Strict):
    """A figure or table of one study."""

    study: str


class Panel(Product):
    """Of one benchmark, readout, SFT set and seed; the last two are null for base models alone."""

    benchmark: Name
    readout: Readout
    sft: Name | None
    seed: Seed | None


class Conditions(Panel):
    """The base model, SFT, and SFT with a smoothing; null for base models alone."""

    smoothing: Smoothed | None


class Guess(Panel):
    """What a random guess gets; null where questions differ in their number of options."""

    options: Options


class Reference(Panel):
    """The language that others are compared with."""

    reference_language: Language


class OfModel(Panel):
    """A figure of one model."""

    model: Name


class ByLanguage(Conditions, Reference):
    """Conditions by language."""


class Entropies(ByLanguage, Guess):
    """Entropies by language, and a guess's."""


class ConditionsAndGuess(Conditions, Guess):
    """Conditions, and what a guess gets."""


class ModelByLanguage(ByLanguage, OfModel):
    """Conditions of one model by language."""


class ModelConditions(Conditions, OfModel):
    """Conditions of one model."""


class Simulated(Product):
    """What was simulated with a seed."""

    seed: Seed


class SettingsRun(Strict):
    """A run in the table of settings."""

    run: Name
    role: Literal["base", "trial", "run"]
    model: Name
    sft: Name | None
    adopted: bool = Field(description="whether it is one of the trials, not trained again")


class SettingsTable(Product):
    """The runs whose settings and compute a table has, in its order."""

    benchmarks: list[Name]
    tried: list[float] = Field(description="learning rates; empty where there is no choice")
    runs: list[SettingsRun] = Field(min_length=1)


# Paper 2

#: Confidences as the tables call them; msp_tables.METHODS has their readouts
Method = Literal["msp", "maxlogit", "margin", "entropy"]


class AnswerModel(Strict):
    """A model whose answers are looked at."""

    file: Name = Field(description="its run in the records")
    name: str = Field(description="as in tables and figures")
    size: float | None = Field(description="billions of parameters; null if not known")
    max_logit: bool = Field(default=True, description="whether its maximum logits are known")


class AnswerDataset(Strict):
    """The questions of a benchmark in a language."""

    id: DatasetId
    name: str
    benchmark: Name
    language: Language = "en"


class Answers(Product):
    """Answers to questions, models and data sets in the order of the tables."""

    models: list[AnswerModel] = Field(min_length=1)
    datasets: list[AnswerDataset] = Field(min_length=1)

    @property
    def names(self) -> dict[str, str]:
        """The name of each model, by its run in the records."""
        return {model.file: model.name for model in self.models}

    @property
    def dataset_names(self) -> dict[str, str]:
        """The printed name of `all` and of each data set, by its id."""
        return {"all": "All data sets"} | {one.id: one.name for one in self.datasets}


class Compared(Answers):
    """Some of the confidences of the answers."""

    methods: Distinct[Method] = Field(min_length=1)


class AurocTables(Compared):
    """Which cells count as significant."""

    significance: float = Field(gt=0, lt=1)


class IntervalTable(Compared):
    """Intervals of accuracies and AUROCs."""

    bootstrap: Bootstrap


class CalibrationTables(Answers):
    """Calibration errors, before and after Platt scaling on the answers that train."""

    bins: int = Field(ge=1)
    split: Split


class AbstentionTables(Compared):
    """Thresholds and scores."""

    abstention: Abstention

    @model_validator(mode="after")
    def _starts_below_entropies(self) -> AbstentionTables:
        if "entropy" in self.methods and self.abstention.grid == "zero":
            raise ValueError("abstention.grid: found zero, expected min: no entropy is above zero")
        return self


class AnswerFigure(Answers):
    """A figure of one data set or all."""

    dataset: str = Field(default="all", description="an id; `all` for all data sets")

    @property
    def title(self) -> str:
        """The printed name of its data sets."""
        return self.dataset_names[self.dataset]


class ComparedFigure(AnswerFigure, Compared):
    """The same, with a column for each confidence."""


class CalibrationFigure(AnswerFigure):
    """The same, of the calibration error of one generation of the paper."""

    error: Literal["calibration_error", "calibration_error_cells"] = Field(
        description="of pooled answers, as in v2, or the mean over data sets and phrasings, of v4"
    )


class PromptText(Strict):
    """A multiple-choice prompt, with its headings by language."""

    name: Name
    multiple_choice: str
    headings: dict[str, dict[str, str]] = Field(default={})


class PromptsFigure(Product):
    """Prompts, and the language of the question that they are shown with."""

    prompts: list[PromptText] = Field(min_length=1)
    language: Language
