"""Parameters of the job that tests claims on a study."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel

from multical.claims.schema import Claims
from multical.figures.params import Answers
from multical.metrics.params import Bins, Bootstrap
from multical.params import Name
from multical.stats.params import MetricsJob


class MeasuredClaims(MetricsJob, Claims):
    """Claims to test on a study with metrics by language."""

    kind: Literal["multilingual", "harness", "api"]
    study: str


class AnswerClaims(Answers, Claims):
    """Claims to test on a study of paper 2."""

    kind: Literal["released", "chat_confidence"]
    bins: Bins
    bootstrap: Bootstrap
    schemes: dict[Name, float] = Field(description="penalty of a wrong answer by score")


ClaimsJob = MeasuredClaims | AnswerClaims


class AnyClaims(RootModel[Annotated[ClaimsJob, Field(discriminator="kind")]]):
    """Claims to test on a study of any kind."""
