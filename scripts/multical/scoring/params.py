"""How to score models: sections of config.yaml, and the parameters of score_run.

The parameters of score_api are in `api_params`, so that a new key there does not score local
models again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from multical.params import (
    BaseOrTuned,
    ChatDate,
    ChatFormat,
    Distinct,
    Dtype,
    Language,
    Name,
    Precision,
    Strict,
    matching,
    twice,
)

Heading = Annotated[str, matching(r"^\w+$", "a name of letters, digits and underscores")]


class _Texts(Strict):
    """Texts shown to the model.

    {question} stands for the question, {options} for lines such as 'A. text', and {letters} for
    the letters, such as 'A and B'.
    """

    multiple_choice: str = Field(description="the text that lists options by letter")
    cloze: str | None = Field(
        description="the text without options, for scores of their texts; null: score letters only"
    )
    unconditional: str | None = Field(
        default=None,
        min_length=1,
        description="a text such as 'Answer:' in place of the cloze text, without {question}, for "
        "the readout text_pmi: the texts of options are scored after it too, without few-shot "
        "examples; null: they are not",
    )
    headings: dict[Heading, dict[Language, str]] = Field(
        default={},
        description="by NAME and language, the text for which {NAME} stands; `default` is for all "
        "other languages",
    )

    @field_validator("multiple_choice", "cloze")
    @classmethod
    def _asks(cls, text: str | None, info: Any) -> str | None:
        if text is None:
            return None
        for part in ["{question}"] + ["{options}"] * (info.field_name == "multiple_choice"):
            if part not in text:
                raise ValueError(f"found {text!r}, expected {part} in it")
        return text

    @field_validator("unconditional")
    @classmethod
    def _asks_nothing(cls, text: str | None) -> str | None:
        for part in ("{question}", "{options}", "{letters}"):
            if text is not None and part in text:
                raise ValueError(f"found {text!r}, expected no {part} in it")
        return text

    @field_validator("headings")
    @classmethod
    def _are_headings(cls, headings: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for name in headings:
            if name in ("question", "options", "letters"):
                raise ValueError(f"{name}: has another meaning, expected another name")
        return headings

    @model_validator(mode="after")
    def _shows_its_headings(self) -> Self:
        texts = (self.multiple_choice, self.cloze or "", self.unconditional or "")
        for name in self.headings:
            if not any(f"{{{name}}}" in text for text in texts):
                raise ValueError(
                    f"headings.{name}: expected {{{name}}} in multiple_choice, cloze or "
                    "unconditional"
                )
        return self

    @model_validator(mode="after")
    def _compares_with_cloze(self) -> Self:
        if self.unconditional is not None and self.cloze is None:
            raise ValueError(
                f"unconditional: found {self.unconditional!r}, expected null, or cloze beside it"
            )
        return self


class Prompt(_Texts):
    """A prompt. Each of its headings has a default text."""

    @field_validator("headings")
    @classmethod
    def _have_a_default(cls, headings: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for name, texts in headings.items():
            if "default" not in texts:
                raise ValueError(f"{name}: found {sorted(texts)}, expected a default beside them")
        return headings


class JobPrompt(_Texts):
    """A prompt and its name, with the headings that the languages of a job need."""

    name: Name


class Fewshot(Strict):
    """Examples shown before a question."""

    num_fewshot: int = Field(
        default=0,
        ge=0,
        le=100,
        description="number of answered examples before each question, in the same language and "
        "of the same subject if the examples have subjects",
    )


class LocalModel(Strict):
    """How to run a model on this machine."""

    dtype: Dtype = "auto"
    matmul_precision: Precision = "medium"
    batch_tokens: int = Field(
        default=2048,
        ge=1,
        description="upper bound of padded tokens in a batch; few-shot examples count for each row "
        "of questions, since each holds a copy of their keys and values",
    )


class MultipleChoice(Strict):
    """The languages with the multiple-choice prompt."""

    multiple_choice_languages: Distinct[Language] | None = Field(
        default=None,
        description="languages in which to use the multiple-choice prompt too, which takes most "
        "of the tokens; null: all",
    )


class OptionOrder(Strict):
    """The order of the options in the multiple-choice prompt."""

    option_order: Literal["given", "cyclic"] = Field(
        default="given",
        description="cyclic: ask once for each rotation of the options, and average the "
        "probabilities of each option's letters, so that no letter is favoured; takes as many "
        "prompts as there are options; only for local models",
    )


class Quantized(Strict):
    """How to store weights in memory."""

    quantization: Literal["none", "nf4"] = Field(
        default="none", description="nf4: 4-bit weights for local models (bitsandbytes)"
    )


class Scoring(Fewshot, LocalModel, MultipleChoice, OptionOrder):
    """How to score runs."""

    prompt: Name = Field(default="default", description="name of a prompt")
    languages_per_job: int | None = Field(
        default=None,
        ge=1,
        le=20,
        description="number of languages per scoring job; 1: a new language is scored alone; "
        "null: all languages in one job",
    )


class ChatConfidenceScoring(Fewshot, LocalModel, Quantized, OptionOrder):
    """How to score answers: by letters only, with each prompt."""

    prompts: Distinct[Name] = Field(
        min_length=1, description="names of prompts, of which only multiple_choice is used"
    )
    chat_format: ChatFormat | None = Field(
        default=None, description="format for all local models; null: that of each model"
    )


class Questions(Fewshot):
    """Questions of a benchmark and prompts for a job to score."""

    run: Name
    benchmark: Name
    languages: Annotated[Distinct[Language], Field(min_length=1)] | None = Field(
        default=None, description="null: all"
    )
    questions_per_language: int | None = Field(default=None, ge=1, description="null: all")
    prompts: list[JobPrompt] = Field(min_length=1)
    chat_format: ChatFormat

    @field_validator("prompts")
    @classmethod
    def _have_own_names(cls, prompts: list[JobPrompt]) -> list[JobPrompt]:
        if repeated := twice([prompt.name for prompt in prompts]):
            raise ValueError(f"found two of the name {repeated[0]!r}, expected different names")
        return prompts


class ScoringJob(Questions, LocalModel, MultipleChoice, OptionOrder, Quantized, BaseOrTuned):
    """A run to score on a benchmark: a base model, or an SFT run."""

    model: Name
    chat_date: ChatDate | None = None
