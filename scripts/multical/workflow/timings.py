"""How long a job will take: as recorded, scaled from recorded jobs, or estimated.

The records are Snakemake's benchmark files, whatever machine the job ran on.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multical import paths
from multical.config.studies import MultilingualStudy
from multical.errors import InputError
from multical.models.evaluation_params import EvaluationJob
from multical.models.params import TrainingJob
from multical.params import validated
from multical.scoring.params import ScoringJob
from multical.workflow import job_params, scoring_params
from multical.workflow.costs import Job, Sizes, Wildcards, jobs

#: FLOP a weight and token: forward and backward, or forward alone
FLOP = {"train_sft": 6, "evaluate_sft": 2, "score_run": 2}
#: What a job reaches where nothing was recorded, and seconds to start it: our assumptions
SHARE = 0.4  # of a card's peak
CPU_FLOPS = 1e11  # FLOP/s
START_SECONDS = 30


@dataclass(frozen=True)
class Card:
    """A GPU: FLOP/s of dense bfloat16 products summed in float32, as its maker publishes them."""

    name: str
    peak: float
    source: str

    @property
    def flops(self) -> float:
        """FLOP/s that a job is assumed to reach on it."""
        return SHARE * self.peak


#: Peaks from memory and from public code; we could not open the data sheets. Those that give the
#: peak with sparsity alone are halved
CARDS = {
    "a100": Card("A100", 312e12, "NVIDIA A100 data sheet"),
    "h100": Card("H100 SXM", 989.4e12, "NVIDIA H100 data sheet"),
    "rtx-4090": Card("RTX 4090", 165.2e12, "NVIDIA Ada GPU architecture whitepaper"),
    "a5000": Card("RTX A5000", 111.1e12, "NVIDIA RTX A5000 data sheet"),
}
#: The card of plans that name none
CARD = "a100"

#: By rule: the schema of a job's parameters, its benchmark file, and an output, whose record has
#: the parameters
RECORDED: dict[str, tuple[type[Job], str, str]] = {
    "train_sft": (TrainingJob, paths.TRAINING_TIMING, paths.RUN_MANIFEST),
    "evaluate_sft": (EvaluationJob, paths.HELDOUT_TIMING, paths.HELDOUT_LOSS),
    "score_run": (ScoringJob, paths.SCORING_TIMING, paths.SHARD_RECORDS),
}


@dataclass(frozen=True)
class Duration:
    """Seconds of a job, if known, and where the number comes from."""

    seconds: float | None
    source: str  # recorded, scaled, estimated or not known
    factor: float = 1  # tokens of the job over tokens of the recorded jobs
    records: int = 0  # how many recorded jobs were scaled, of which the median is taken
    reason: str = ""  # why it is not known, if that can be fixed


#: Seconds of a recorded job, and its tokens
Measured = tuple[float, float]


@dataclass
class Timings:
    """Durations of jobs.

    Args:
        sizes: tokens and weights of jobs and models.
        remembered: the parameters that an output was made with; `None` if they are not recorded.
        flops: FLOP/s of one job, instead of the assumptions above.
        card: the GPUs of jobs that have some.
    """

    sizes: Sizes
    remembered: Callable[[str], dict[str, Any] | None]
    flops: float | None = None
    card: Card = CARDS[CARD]
    _recorded: dict[str, list[tuple[str, str, Measured]]] = field(default_factory=dict)

    def of(self, rule: str, wildcards: Wildcards, gpus: int, record: str | None) -> Duration:
        """How long a job will take; `record` is its benchmark file."""
        if rule not in FLOP:
            seconds = None if record is None else recorded_seconds(self.sizes.folder / record)
            return Duration(seconds, "not known" if seconds is None else "recorded")
        try:
            return (
                self._scaled(rule, wildcards, self._measured(rule, wildcards), own=True)
                or self._scaled(rule, wildcards, self._siblings(rule, wildcards))
                or self.estimated(rule, wildcards, gpus)
            )
        except InputError as error:
            return Duration(None, "not known", reason=str(error))

    def tokens(self, rule: str, wildcards: Wildcards) -> float:
        """Tokens of a job of a rule in `FLOP`."""
        return self.sizes.tokens(wildcards, self._job(rule, wildcards))

    def model(self, wildcards: Wildcards) -> str:
        """The base model of a job of a rule in `FLOP`."""
        return job_params.run(self.sizes.config, wildcards["root"], wildcards["run"]).model

    def _scaled(
        self, rule: str, wildcards: Wildcards, measured: list[Measured], own: bool = False
    ) -> Duration | None:
        """The median of recorded jobs, scaled by tokens; `None` if there are none.

        `own` says that the record is of the job itself.
        """
        if not measured:
            return None
        tokens = self.tokens(rule, wildcards)
        seconds = statistics.median(seconds * tokens / then for seconds, then in measured)
        factor = statistics.median(tokens / then for _, then in measured)
        if own and factor == 1:
            return Duration(seconds, "recorded")
        return Duration(seconds, "scaled", factor, len(measured))

    def estimated(self, rule: str, wildcards: Wildcards, gpus: int) -> Duration:
        """How long a job of a rule in `FLOP` will take, by its size alone."""
        flop = FLOP[rule] * self.sizes.parameters(self.model(wildcards))
        busy = gpus if rule == "train_sft" else min(gpus, 1)  # a scoring uses one after the other
        rate = self.flops or (self.card.flops * busy if gpus else CPU_FLOPS)
        return Duration(START_SECONDS + flop * self.tokens(rule, wildcards) / rate, "estimated")

    def _siblings(self, rule: str, wildcards: Wildcards) -> list[Measured]:
        """Recorded jobs of the same rule and model: of this study, or else of others."""
        if rule not in self._recorded:
            self._recorded[rule] = [
                (root, self.model(job), measured)
                for root, study in self.sizes.config.studies.items()
                if isinstance(study, MultilingualStudy)
                for name, job in jobs(self.sizes.config, root)
                if name == rule
                for measured in self._measured(rule, job)
            ]
        model = self.model(wildcards)
        alike = [(root, measured) for root, of, measured in self._recorded[rule] if of == model]
        here = [measured for root, measured in alike if root == wildcards["root"]]
        return here or [measured for _, measured in alike]

    def _measured(self, rule: str, wildcards: Wildcards) -> list[Measured]:
        """Recorded seconds of a job, and its tokens then; empty if these are not known."""
        schema, timing, output = RECORDED[rule]
        seconds = recorded_seconds(self.sizes.folder / timing.format(**wildcards))
        if seconds is None:
            return []
        job = self._job(rule, wildcards)
        if remembered := self.remembered(output.format(**wildcards)):
            try:
                job = validated(schema, remembered, rule)
            except InputError:  # its parameters had other keys then
                return []
        tokens = self.sizes.tokens(wildcards, job)
        return [(seconds, tokens)] if tokens else []

    def _job(self, rule: str, wildcards: Wildcards) -> Job:
        config, root, run = self.sizes.config, wildcards["root"], wildcards["run"]
        if rule == "train_sft":
            return job_params.training(config, root, run)
        if rule == "evaluate_sft":
            return job_params.evaluating(config, root, run)
        return scoring_params.scoring(config, root, run, wildcards["benchmark"], wildcards["shard"])


def recorded_seconds(path: Path) -> float | None:
    """Seconds in a benchmark file of Snakemake; `None` if it is missing or cut short."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        return float(rows[-1]["s"])
    except (OSError, ValueError, IndexError, KeyError, TypeError):
        return None
