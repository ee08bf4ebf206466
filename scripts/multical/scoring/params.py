"""How models are asked: sections of config.yaml, and the parameters of score_run.

Those of score_api are apart, in `api_params`: to add a key to them scores no local model again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from multical.params import (
    BaseOrTuned,
    ChatFormat,
    Distinct,
    Dtype,
    Language,
    Name,
    Precision,
    Strict,
    twice,
)

Heading = Annotated[str, Field(pattern=r"^\w+$")]


class _Texts(Strict):
    """Texts shown to the model: {question}, {options} as lines 'A. text', {letters}, as A and B."""

    multiple_choice: str
    cloze: str | None = Field(description="null: this prompt is for letters alone")
    headings: dict[Heading, dict[Language, str]] = Field(
        default={},
        description="texts by language, which {NAME} stands for; `default` is for languages "
        "that are not listed",
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

    @field_validator("headings")
    @classmethod
    def _are_headings(cls, headings: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for name in headings:
            if name in ("question", "options", "letters"):
                raise ValueError(f"{name}: has another meaning, expected another name")
        return headings

    @model_validator(mode="after")
    def _shows_its_headings(self) -> Self:
        for name in self.headings:
            if not any(f"{{{name}}}" in text for text in (self.multiple_choice, self.cloze or "")):
                raise ValueError(
                    f"headings.{name}: expected {{{name}}} in multiple_choice or cloze"
                )
        return self


class Prompt(_Texts):
    """A prompt, whose headings have a text for every language."""

    @field_validator("headings")
    @classmethod
    def _have_a_default(cls, headings: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for name, texts in headings.items():
            if "default" not in texts:
                raise ValueError(f"{name}: found {sorted(texts)}, expected a default beside them")
        return headings


class JobPrompt(_Texts):
    """A prompt by its name, with the headings that a job's languages need."""

    name: Name


class Fewshot(Strict):
    """What is shown before a question."""

    num_fewshot: int = Field(
        default=0,
        ge=0,
        le=100,
        description="answered examples before each question, in its language and, where they "
        "have any, of its subject",
    )


class LocalModel(Strict):
    """How a model on this machine is run."""

    dtype: Dtype = "auto"
    matmul_precision: Precision = Field(default="medium", description="as for training")
    batch_tokens: int = Field(
        default=2048,
        ge=1,
        description="upper bound of padded tokens in a batch; few-shot examples count in each "
        "question, since each holds their keys and values",
    )


class MultipleChoice(Strict):
    """Who is shown the multiple-choice prompt."""

    multiple_choice_languages: Distinct[Language] | None = Field(
        default=None,
        description="languages that are shown the multiple-choice prompt too, which costs most of "
        "the tokens; null for all",
    )


class Quantized(Strict):
    """How weights are stored."""

    quantization: Literal["none", "nf4"] = Field(
        default="none", description="nf4: weights of local models in 4 bit (bitsandbytes)"
    )


class Scoring(Fewshot, LocalModel, MultipleChoice):
    """How runs are scored."""

    prompt: Name = "default"
    languages_per_job: int | None = Field(
        default=None,
        ge=1,
        le=20,
        description="cuts a benchmark's languages, in their order, into jobs of that number; "
        "1: a new language is scored by itself; null: all in one job",
    )


class ChatConfidenceScoring(Fewshot, LocalModel, Quantized):
    """How answers are asked for: the letter alone, under every prompt."""

    prompts: Distinct[Name] = Field(min_length=1, description="phrasings; options' texts go unread")
    chat_format: ChatFormat | None = Field(
        default=None, description="of all local models; null: of each its own"
    )


class Questions(Fewshot):
    """What a job asks: questions of a benchmark, under some prompts."""

    run: Name
    benchmark: Name
    languages: Annotated[Distinct[Language], Field(min_length=1)] | None = Field(
        default=None, description="null for all"
    )
    questions_per_language: int | None = Field(default=None, ge=1, description="null for all")
    prompts: list[JobPrompt] = Field(min_length=1)
    chat_format: ChatFormat

    @field_validator("prompts")
    @classmethod
    def _have_own_names(cls, prompts: list[JobPrompt]) -> list[JobPrompt]:
        if again := twice([prompt.name for prompt in prompts]):
            raise ValueError(f"found two of the name {again[0]!r}, expected different names")
        return prompts


class ScoringJob(Questions, LocalModel, MultipleChoice, Quantized, BaseOrTuned):
    """A run to score on a benchmark: a base model, or an SFT run."""

    model: Name
