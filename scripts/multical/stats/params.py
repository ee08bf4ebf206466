"""Parameters of the jobs that compute metrics and tests from records."""

from __future__ import annotations

from pydantic import Field

from multical.labels import Level
from multical.metrics.params import Diagrams, Distribution, Metrics, Recalibration
from multical.params import Distinct, Language, Strict


class _ByLevel(Strict):
    resource_levels: dict[Language, Level]


class Reliability(Diagrams, _ByLevel):
    """Parameters of reliability diagrams."""


class MetricsJob(Metrics, _ByLevel):
    """Metrics to compute from records, in languages of known resource levels."""


class FertilityJob(_ByLevel):
    """Languages of known resource levels whose fertility to compute."""


class RecalibrationJob(MetricsJob):
    """Readouts to recalibrate, how to do so, and the metrics to compute from them."""

    readouts: Distinct[Distribution] = Field(min_length=1)
    recalibration: Recalibration = Recalibration()
    reference_language: Language
