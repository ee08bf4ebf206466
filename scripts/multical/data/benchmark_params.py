"""Sources of benchmarks: sections of config.yaml, and the parameters of make_benchmark."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from multical.data.sources import (
    FactKinds,
    File,
    HeldOutTerritories,
    OddRows,
    Repository,
    Revision,
    Split,
)
from multical.params import Distinct, Language, LocalPath, Seed, Strict, matching, twice


class CldrBenchmark(Strict):
    """Facts about territories from CLDR, with localised names (multical.data.cldr)."""

    #: What a reader of the questions must know
    about: ClassVar[str] = (
        "facts about countries from CLDR; all questions are asked in English, and only the names "
        "in them and the options are in the language"
    )
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


#: A column or a config of a data set, or a value in it, as its authors wrote it
Written = Annotated[
    str, matching(r"^[^\x00-\x1f\x7f]+$", "a text without control characters that is not empty")
]
Codes = Annotated[Distinct[Language], Field(min_length=1)]
CodesByName = Annotated[dict[Written, Language], Field(min_length=1)]
#: A list or a mapping, by its type, so that a wrong value gets the sentence of the one it is in
NamedLanguages = Annotated[
    Annotated[Codes, Tag("list")] | Annotated[CodesByName, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, dict) else "list"),
]
#: How a column names the right option
AnswerForm = Literal["letter", "index", "number", "text"]


class CultureColumn(Strict):
    """A column that says whether questions depend on a culture or region."""

    column: Written = Field(description="name of the column")
    values: dict[Written, Literal["CS", "CA"] | None] = Field(
        min_length=1,
        description="what each of its values means: CS, culturally sensitive; CA, culturally "
        "agnostic; null, as an empty value: nobody annotated the question",
    )


class Columns(Strict):
    """The columns of a data set of the hub, by what they mean here."""

    id: Distinct[Written] = Field(
        default=[],
        description="columns that together name a question, in all languages alike; none: the "
        "numbers of the rows do, and questions of different languages are not paired",
    )
    language: Written | None = Field(
        default=None,
        description="column with the language; null: each language is a config of the data set",
    )
    subject: Written | None = Field(
        default=None, description="column with the subject; null: questions have none"
    )
    culture: CultureColumn | None = Field(
        default=None,
        description="column that says whether questions are culturally sensitive; null: none",
    )
    passage: Written | None = Field(
        default=None,
        description="column with a text that the question is about, which is put before the "
        "question, with an empty line between them; null: none",
    )
    question: Written = Field(description="column with the question")
    options: Distinct[Written] = Field(
        min_length=1, description="a column for each option, or one column with a list of them"
    )
    fewer_options: bool = Field(
        default=False,
        description="whether the last columns of `options` may be null, where a question has "
        "fewer; else, a null option is odd",
    )
    answer: dict[Written, AnswerForm] = Field(
        min_length=1,
        description="columns that name the right option, and how. letter: A is the first; index: "
        "0 is the first; number: 1 is the first; text: its text. Of several, those that are not "
        "null must agree",
    )


class HubBenchmark(Strict):
    """Any multiple-choice data set at one commit of the hub (multical.data.hub_multilingual)."""

    kind: Literal["hub"]
    repo: Repository
    revision: Revision
    config: Written | None = Field(
        default=None,
        description="config of the data set, if columns.language tells languages apart; null: "
        "the default",
    )
    split: Split = "test"
    fewshot_split: Split | None = Field(
        default=None, description="split with the few-shot examples, dev or validation; null: none"
    )
    languages: NamedLanguages = Field(
        description="the languages to read: a list if the data set calls them by their codes; "
        "else a mapping from its names of them to codes",
    )
    columns: Columns
    odd_rows: OddRows = "error"
    rows: int | None = Field(
        default=None,
        ge=1,
        description="largest number of questions in a language, used by `make plan` before the "
        "benchmark is made",
    )

    @model_validator(mode="after")
    def _one_name_each(self) -> HubBenchmark:
        if repeated := twice(self.spoken):
            raise ValueError(f"languages: found {repeated[0]!r} twice, expected different codes")
        if self.config is not None and self.columns.language is None:
            raise ValueError(
                f"config: found {self.config!r}, expected null, since each language is a config "
                "(columns.language)"
            )
        return self

    @property
    def codes(self) -> dict[str, str]:
        """The code of each language, by its name in the data set."""
        named = self.languages
        return named if isinstance(named, dict) else dict(zip(named, named, strict=True))

    @property
    def spoken(self) -> list[str]:
        """The codes of the languages to use."""
        return list(self.codes.values())

    @property
    def has_examples(self) -> bool:
        """Whether the benchmark has few-shot examples."""
        return self.fewshot_split is not None

    @property
    def has_cultures(self) -> bool:
        """Whether some questions are marked as culturally sensitive or agnostic."""
        return self.columns.culture is not None


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
