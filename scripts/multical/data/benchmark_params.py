"""Sources of benchmarks: sections of config.yaml, and the parameters of make_benchmark."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from multical.data.sources import (
    FactKinds,
    File,
    HeldOutTerritories,
    OddRows,
    Repository,
    Revision,
    Split,
)
from multical.params import Distinct, Language, LocalPath, Seed, Strict


class CldrBenchmark(Strict):
    """Facts about territories from CLDR, with localised names (multical.data.cldr)."""

    kind: Literal["cldr"]
    seed: Seed
    kinds: FactKinds
    held_out: HeldOutTerritories
    questions_per_language: int = Field(ge=1, description="largest number of questions")
    languages: Distinct[Language] = Field(
        min_length=1, description="the languages of its questions"
    )


class QuestionFile(File):
    """A local file of questions, and optionally a file of examples in the same schema."""

    fewshot: LocalPath | None = Field(default=None, description="file of few-shot examples")


#: Languages of the data sets on the hub; the Lite versions have fewer
HUB_LANGUAGES = {
    "global_mmlu": (
        "am ar bn cs de el en es fa fil fr ha he hi id ig it ja ko ky lt mg ms ne nl ny pl pt ro "
        "ru si sn so sr sv sw te tr uk vi yo zh"
    ),
    "mmlu_prox": (
        "af ar bn cs de en es fr hi hu id it ja ko mr ne pt ru sr sw te th uk ur vi wo yo zh zu"
    ),
}


class HubBenchmark(Strict):
    """Global-MMLU or MMLU-ProX at one commit of the hub (multical.data.hub_multilingual)."""

    kind: Literal["global_mmlu", "mmlu_prox"]
    repo: Repository
    revision: Revision
    split: Split = "test"
    languages: Distinct[Language] | None = Field(
        default=None,
        min_length=1,
        description="configs of the data set, named by language; null: all",
    )
    odd_rows: OddRows = "error"
    fewshot_split: Split | None = Field(
        default=None, description="split with the few-shot examples, dev or validation; null: none"
    )

    @property
    def spoken(self) -> list[str]:
        """The languages to use; by default all that the data set had when we wrote this."""
        return self.languages or HUB_LANGUAGES[self.kind].split()

    @property
    def has_examples(self) -> bool:
        """Whether the benchmark has few-shot examples."""
        return self.fewshot_split is not None


class ChoiceBenchmark(Strict):
    """An English data set of paper 2 at one commit of the hub (multical.data.hub_english)."""

    kind: Literal["arc", "hellaswag", "mmlu", "truthfulqa", "winogrande"]
    repo: Repository
    revision: Revision
    seed: Seed = Field(description="seed of the order of the questions, and of the options of each")
    questions: int | None = Field(
        default=None,
        ge=1,
        description="number of questions to take, the first in that order; null: all",
    )
    odd_rows: OddRows = "error"
    fewshot: int = Field(
        default=0,
        ge=0,
        description="number of few-shot examples, which are never asked: the last in that order; "
        "for mmlu, this number for each subject, from the splits dev and validation",
    )

    @property
    def spoken(self) -> list[str]:
        """English, the language of all five data sets."""
        return ["en"]

    @property
    def has_examples(self) -> bool:
        """Whether the benchmark has few-shot examples."""
        return self.fewshot > 0


BenchmarkSource = Annotated[
    CldrBenchmark | QuestionFile | HubBenchmark | ChoiceBenchmark,
    Field(discriminator="kind", description="where the questions come from"),
]


class BenchmarkJob(Strict):
    """A benchmark whose questions or few-shot examples to make."""

    source: BenchmarkSource
    examples: bool = Field(
        default=False, description="make the few-shot examples instead of the questions"
    )

    @model_validator(mode="after")
    def _has_examples(self) -> BenchmarkJob:
        if self.examples and not getattr(self.source, "has_examples", False):
            raise ValueError(f"examples: found true, but {self.source.kind} has none to make")
        return self
