"""Parameters of the jobs that compute metrics and tests from records."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from multical.labels import KnownLevel
from multical.metrics.params import Diagrams, Distribution, Metrics, Recalibration
from multical.params import Distinct, Language, Strict

#: Metrics whose changes can be tested. A binned ECE is biased, and the more so the less sharp the
#: confidences are, so that a test of its change would find sharpness
Tested = Literal["accuracy", "confidence", "debiased_ece2", "brier", "entropy"]


class _ByLevel(Strict):
    #: a language that is not among them is of the level unknown
    resource_levels: dict[Language, KnownLevel]


class Reliability(Diagrams, _ByLevel):
    """Parameters of reliability diagrams."""


class MetricsJob(Metrics, _ByLevel):
    """Metrics to compute from records, in languages of some resource levels."""


class FertilityJob(_ByLevel):
    """Resource levels of the languages whose fertility to compute."""


class RecalibrationJob(MetricsJob):
    """Readouts to recalibrate, how to do so, and the metrics to compute from them."""

    readouts: Distinct[Distribution] = Field(min_length=1)  # type: ignore[assignment]
    recalibration: Recalibration = Recalibration()
    reference_language: Language
