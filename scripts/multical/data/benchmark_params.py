"""Where benchmarks come from: sections of config.yaml, and the parameters of make_benchmark."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from multical.data.sources import File, OddRows, Repository, Revision, Split
from multical.params import Distinct, Language, LocalPath, Seed, Strict


class CldrBenchmark(Strict):
    """Facts about territories from CLDR, names localised (multical.data.cldr)."""

    kind: Literal["cldr"]
    seed: Seed
    kinds: Distinct[Literal["currency", "language", "country"]] = Field(min_length=1)
    held_out: float = Field(gt=0, lt=1, description="fraction of the territories")
    questions_per_language: int = Field(ge=1)
    languages: Distinct[Language] = Field(min_length=1)


class QuestionFile(File):
    """A local file of questions, and perhaps one of examples in the same schema."""

    fewshot: LocalPath | None = Field(default=None, description="file of few-shot examples")


#: Languages of the data sets of the hub; their Lites have fewer
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
        default=None, min_length=1, description="configs of the data set; null for all"
    )
    odd_rows: OddRows = "error"
    fewshot_split: Split | None = Field(
        default=None, description="the split of few-shot examples, dev or validation; null: none"
    )

    @property
    def spoken(self) -> list[str]:
        """The languages asked for, or all that the data set had when this was written."""
        return self.languages or HUB_LANGUAGES[self.kind].split()

    @property
    def has_examples(self) -> bool:
        """Whether there is a split of few-shot examples."""
        return self.fewshot_split is not None


class ChoiceBenchmark(Strict):
    """A data set of paper 2, in English, at one commit of the hub (multical.data.hub_english)."""

    kind: Literal["arc", "hellaswag", "mmlu", "truthfulqa", "winogrande"]
    repo: Repository
    revision: Revision
    seed: Seed = Field(description="of the order of questions, and of each one's options")
    questions: int | None = Field(
        default=None, ge=1, description="how many, the first in that order; null for all"
    )
    odd_rows: OddRows = "error"
    fewshot: int = Field(
        default=0,
        ge=0,
        description="few-shot examples, which are never asked: the last in that order, or, of "
        "mmlu, that number of each subject in its splits dev and validation",
    )

    @property
    def spoken(self) -> list[str]:
        """The language of all five."""
        return ["en"]

    @property
    def has_examples(self) -> bool:
        """Whether some rows are kept for few-shot examples."""
        return self.fewshot > 0


BenchmarkSource = Annotated[
    CldrBenchmark | QuestionFile | HubBenchmark | ChoiceBenchmark, Field(discriminator="kind")
]


class BenchmarkJob(Strict):
    """A benchmark to make, or its few-shot examples."""

    source: BenchmarkSource
    examples: bool = Field(default=False, description="make the few-shot examples instead")

    @model_validator(mode="after")
    def _has_examples(self) -> BenchmarkJob:
        if self.examples and not getattr(self.source, "has_examples", False):
            raise ValueError(f"examples: found true, but {self.source.kind} has none to make")
        return self
