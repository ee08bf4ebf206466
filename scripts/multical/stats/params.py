"""The parameters of the jobs that turn records into metrics and tests."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from multical.labels import Level
from multical.metrics.params import Binned, Distribution, Interval, Metrics, Recalibration
from multical.params import Distinct, Language, Strict

#: Metrics that are a mean over questions, whose changes are tested
Tested = Literal["accuracy", "confidence", "ece", "entropy"]


class _ByLevel(Strict):
    resource_levels: dict[Language, Level]


class Reliability(Binned, _ByLevel):
    """How reliability diagrams are binned."""


class MetricsJob(Metrics, _ByLevel):
    """What is computed from records, in languages of known resource levels."""


class MixedModels(Binned, Interval, _ByLevel):
    """What mixed models are fitted to; `seed` is that of the blocks of questions."""

    metrics: Distinct[Tested] = Field(min_length=1)


class RecalibrationJob(MetricsJob):
    """Which readouts are recalibrated, how, and what is computed from them."""

    readouts: Distinct[Distribution] = Field(min_length=1)  # type: ignore[assignment]
    recalibration: Recalibration = Recalibration()
    reference_language: Language
