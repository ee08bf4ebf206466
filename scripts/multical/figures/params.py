"""The parameters of the jobs that make tables and figures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from multical.data.release_params import DatasetId
from multical.metrics.params import Abstention, Bins, Bootstrap, Readout, Split
from multical.params import Distinct, Language, Name, Options, Seed, Strict

Smoothed = Annotated[float, Field(gt=0, lt=1, description="compared with 0, that of plain SFT")]


class Product(Strict):
    """A figure or table of one study."""

    study: str


class Panel(Product):
    """A product of one benchmark, readout and SFT set.

    The SFT set is null for base models alone. The seed is null for these, and for means over all
    seeds of the SFT runs.
    """

    benchmark: Name
    readout: Readout
    sft: Name | None
    seed: Seed | None
    least_questions: int = Field(
        default=1, ge=1, description="of a language that counts in means over languages"
    )
    level: float = Field(gt=0, lt=1, description="of the intervals of the tables")


class Conditions(Panel):
    """The smoothing that is compared with the base model and SFT. Null for base models alone."""

    smoothing: Smoothed | None


class Guess(Panel):
    """The number of options of a question, null if questions differ in it."""

    options: Options


class Reference(Panel):
    """The language that others are compared with."""

    reference_language: Language


class OfModel(Panel):
    """A figure of one model."""

    model: Name


class ByLanguage(Conditions, Reference):
    """Conditions by language."""


class ByLanguageAndGuess(ByLanguage, Guess):
    """Conditions by language, and what a guess would have."""


class ConditionsAndGuess(Conditions, Guess):
    """Conditions, and the accuracy of a random guess."""


class Named(Panel):
    """A figure with an axis of languages."""

    language_names: bool


class NamedByLanguage(ByLanguage, Named):
    """Conditions by language, along an axis."""


class NamedByLanguageAndGuess(ByLanguageAndGuess, Named):
    """Conditions by language, along an axis, and what a guess would have."""


class ModelByLanguage(ByLanguage, Named, OfModel):
    """Conditions of one model by language, along an axis."""


class ModelConditions(Conditions, OfModel):
    """Conditions of one model."""


class Simulated(Product):
    """A figure of a simulation with a seed."""

    seed: Seed


class SettingsRun(Strict):
    """A run in the table of settings."""

    run: Name
    role: Literal["base", "trial", "run"]
    model: Name
    sft: Name | None
    adopted: bool = Field(description="whether it is a copy of a trial, not trained again")


class SettingsTable(Product):
    """The runs whose settings and compute the table shows, in its order."""

    benchmarks: list[Name]
    tried: list[float] = Field(description="learning rates; empty if none were compared")
    runs: list[SettingsRun] = Field(min_length=1)


class TrainingRun(Strict):
    """A run whose training a figure shows."""

    run: Name
    model: Name
    sft: Name
    smoothing: float


class TrainingFigure(Product):
    """The SFT runs of a study, and the norm to which it clips gradients."""

    runs: list[TrainingRun] = Field(min_length=1)
    max_grad_norm: float


# Paper 2

#: Confidences by their names in the tables; msp_tables.METHODS has their readouts
Method = Literal["msp", "maxlogit", "margin", "entropy"]


class AnswerModel(Strict):
    """A model whose answers are analysed."""

    file: Name = Field(description="its run in the records")
    name: str = Field(description="its name in tables and figures")
    size: float | None = Field(description="billions of parameters; null if unknown")
    max_logit: bool = Field(default=True, description="whether its maximum logits are known")


class AnswerDataset(Strict):
    """The questions of a benchmark in a language."""

    id: DatasetId
    name: str
    benchmark: Name
    language: Language = "en"


class Answers(Product):
    """Models and the data sets that they answer, in the order of the tables."""

    models: list[AnswerModel] = Field(min_length=1)
    datasets: list[AnswerDataset] = Field(min_length=1)

    @property
    def names(self) -> dict[str, str]:
        """The name of each model, by its run in the records."""
        return {model.file: model.name for model in self.models}

    @property
    def dataset_names(self) -> dict[str, str]:
        """The printed name of `all` and of each data set, by its id."""
        return {"all": "All data sets"} | {dataset.id: dataset.name for dataset in self.datasets}


class Compared(Answers):
    """Answers, and the confidences to compare."""

    methods: Distinct[Method] = Field(min_length=1)


class AurocTables(Compared):
    """AUROCs, and the p-value below which a cell counts as significant."""

    significance: float = Field(gt=0, lt=1)


class IntervalTable(Compared):
    """Intervals of accuracies and AUROCs."""

    bootstrap: Bootstrap


class ChangesTable(Answers):
    """What changes from another study to this one, for models and data sets that both have."""

    before: Answers = Field(description="the other study, with the same models and data sets")
    prompts: dict[Name, Name] = Field(
        min_length=1, description="the other study's phrasing, by this one's"
    )
    unpaired: list[DatasetId] = Field(default=[], description="data sets of other questions")
    bins: Bins
    bootstrap: Bootstrap


class AnswerHeadline(Product):
    """The result of a study of paper 2 in a few lines."""

    left_out: list[str] = Field(
        default=[], description="models without the answers to a whole data set, by name"
    )
    guess: float | None = Field(
        default=None, description="mean accuracy of a guess; null: numbers of options vary"
    )


class CalibrationTables(Answers):
    """Calibration errors, before and after Platt scaling on the training answers."""

    bins: Bins
    split: Split


class AbstentionTables(Compared):
    """Thresholds and scores with abstention."""

    abstention: Abstention

    @model_validator(mode="after")
    def _starts_below_entropies(self) -> AbstentionTables:
        if "entropy" in self.methods and self.abstention.grid == "zero":
            raise ValueError("abstention.grid: found zero, expected min: no entropy is above zero")
        return self


class AnswerFigure(Answers):
    """A figure of one data set or of all."""

    dataset: str = Field(default="all", description="the id of a data set, or `all`")

    @property
    def title(self) -> str:
        """The printed name of its data sets."""
        return self.dataset_names[self.dataset]


class ComparedFigure(AnswerFigure, Compared):
    """A figure of one data set or of all, with a column for each confidence."""


class CalibrationFigure(AnswerFigure):
    """A figure of one data set or of all, with the calibration error of one paper version."""

    error: Literal["calibration_error_width", "calibration_error_cells"] = Field(
        description="mean over data sets and phrasings, in bins of equal width (v2) or mass (v4)"
    )


class PromptText(Strict):
    """A multiple-choice prompt, with its headings by language."""

    name: Name
    multiple_choice: str
    headings: dict[str, dict[str, str]] = Field(default={})


class PromptsFigure(Product):
    """Prompts, and the language of the question that fills them."""

    prompts: list[PromptText] = Field(min_length=1)
    language: Language
