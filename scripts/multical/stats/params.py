"""Parameters of the jobs that compute metrics and tests from records."""

from __future__ import annotations

from pydantic import Field

from multical.labels import KnownLevel
from multical.metrics.params import Diagrams, Distribution, Metrics, Recalibration
from multical.params import Distinct, Language, Strict


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

    readouts: Distinct[Distribution] = Field(min_length=1)
    recalibration: Recalibration = Recalibration()
    reference_language: Language
