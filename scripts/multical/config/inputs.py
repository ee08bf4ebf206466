"""The inputs that all studies share: models, benchmarks and SFT data of config.yaml."""

from __future__ import annotations

from pydantic import Field, model_validator

from multical.data.benchmark_params import BenchmarkSource
from multical.data.sft_params import SftSource
from multical.models.api_params import ApiModel
from multical.models.fetch_params import FolderModel, HubModel, PypiModel
from multical.params import ChatDate, ChatFormat, Options, Strict


class Model(Strict):
    """A base model, a chat model, or a model behind an API."""

    source: PypiModel | HubModel | FolderModel | ApiModel = Field(
        discriminator="kind", description="where the model comes from"
    )
    chat_format: ChatFormat = Field(
        description="plain: 'Question: ... Answer: ...'; tulu: the format of Tulu; template: the "
        "chat template of the tokenizer, or of the chat endpoint of an API; none: the bare text"
    )
    chat_date: ChatDate | None = Field(
        default=None,
        description="the date for a chat template that writes today's; null: such a template is "
        "refused, since results would differ tomorrow",
    )
    parameters: int | None = Field(
        default=None,
        ge=1,
        description="number of weights, used by `make plan` before the model is fetched",
    )
    gpus: int = Field(
        default=1,
        ge=1,
        description="GPUs of one machine over which to spread the layers for scoring, where one "
        "has too little memory; without any GPU, scoring runs on the CPU",
    )

    @model_validator(mode="after")
    def _has_the_format_of_its_endpoint(self) -> Model:
        if isinstance(self.source, ApiModel):
            self.source.check_format(self.chat_format)
        return self

    @model_validator(mode="after")
    def _has_gpus_if_it_runs_here(self) -> Model:
        if self.gpus > 1 and isinstance(self.source, ApiModel):
            raise ValueError(f"gpus: found {self.gpus}, expected 1, since it is behind an API")
        return self

    @model_validator(mode="after")
    def _has_a_template_for_its_date(self) -> Model:
        if self.chat_date and (isinstance(self.source, ApiModel) or self.chat_format != "template"):
            raise ValueError(
                f"chat_date: found {self.chat_date}, expected none, since only the template of "
                "a local model with chat_format: template gets it"
            )
        return self


class Benchmark(Strict):
    """Multiple-choice questions."""

    source: BenchmarkSource
    options: Options = Field(
        description="number of options per question, for the chance lines; null: it varies"
    )


class SftData(Strict):
    """Conversations to fine-tune on."""

    source: SftSource
