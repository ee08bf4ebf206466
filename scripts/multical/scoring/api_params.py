"""How to score models behind APIs: a section of config.yaml, and parameters of score_api."""

from __future__ import annotations

from pydantic import Field, model_validator

from multical.models.api_params import Endpoint
from multical.params import Name
from multical.scoring.params import Fewshot, Questions


class ApiScoring(Fewshot):
    """How to score models behind APIs: with the multiple-choice prompt in all languages."""

    prompt: Name = Field(default="default", description="name of a prompt")


class ApiScoringJob(Questions):
    """A model behind an API to score on a benchmark."""

    api: Endpoint = Field(description="`source` of the model without `access`")

    @model_validator(mode="after")
    def _has_the_format_of_its_endpoint(self) -> ApiScoringJob:
        self.api.check_format(self.chat_format)
        return self
