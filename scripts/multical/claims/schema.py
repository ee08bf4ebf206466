"""The typed schema of claims.yaml, and of the verdicts that are expected of each study.

A claim is reproduced where all its parts hold. A part is a statistic with a direction and
a threshold, and tests of it, of which a share must pass. Unknown keys are refused.
`python -m multical.claims.schema` prints the JSON schema that editors read (claims.schema.json);
a test fails when the two differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, model_validator

from multical.errors import InputError
from multical.metrics.params import Metric, Readout
from multical.params import Name, Smoothing, Strict, validated

Kind = Literal["multilingual", "harness", "released", "chat_confidence"]
Verdict = Literal["reproduced", "not reproduced", "not testable here"]
VERDICTS = get_args(Verdict)
REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE = VERDICTS

#: The condition of a run: the base model, or SFT with a smoothing, 0 for none
Condition = Literal["base"] | Smoothing
Method = Literal["msp", "maxlogit"]
Point = Literal[
    "accuracy", "size", "msp_auroc", "maxlogit_auroc", "calibration_error",
    "calibration_error_cells",
]  # fmt: skip


class Tested(Strict):
    """What all parts have."""

    evidence: str = Field(
        pattern=r"^(tables/)?[a-z_]+\.csv$",
        description="file of the study that has the statistic, below its root",
    )
    direction: Literal["above", "below"]
    threshold: float = Field(
        description="the statistic must lie beyond it; the tests of `change` are against it, "
        "the others against no effect"
    )
    share: float = Field(default=1.0, gt=0, le=1, description="of the tests, that must pass")


class Change(Tested):
    """A metric of a run less that of another, a mean over languages; a test a pair of runs.

    The pairs are those of a model, SFT data, seed and benchmark.
    """

    statistic: Literal["change"]
    test: Literal["paired_bootstrap"] = Field(
        description="of questions, the same ones in both runs and in all languages"
    )
    metric: Metric
    readout: Readout
    group: Literal["non-english", "high", "mid", "low", "all"]
    before: Condition
    after: Condition

    @model_validator(mode="after")
    def _compares_two(self) -> Change:
        if self.before == self.after:
            raise ValueError(f"found before and after {self.before}, expected two conditions")
        return self


class CalibrationError(Tested):
    """Paper 2's calibration error of the MSP on all data sets; a test a model."""

    statistic: Literal["calibration_error"]
    direction: Literal["above"]
    test: Literal["consistency_resampling"] = Field(
        description="as many answers, each right with the probability that is its confidence"
    )


class Auroc(Tested):
    """AUROC of right against wrong answers; a test a model, data set and phrasing."""

    statistic: Literal["auroc"]
    direction: Literal["above"]
    test: Literal["mann_whitney"]
    method: Method
    min_accuracy: float = Field(ge=0, lt=1, description="mean accuracy of the models that count")


class Correlation(Tested):
    """Pearson's correlation over the models, on all data sets.

    `absent`: its absolute value lies below the threshold, and the test finds none. That a
    test finds nothing says less than that it finds something: read its interval.
    """

    statistic: Literal["correlation"]
    direction: Literal["above", "below", "absent"]  # type: ignore[assignment]
    test: Literal["least_squares"] = Field(description="of slope 0, two-sided")
    x: Point
    y: Point


class AbstentionGain(Tested):
    """Score with abstention less that without, means over the splits; a test over the models."""

    statistic: Literal["abstention_gain"]
    direction: Literal["above"]
    test: Literal["wilcoxon"] = Field(description="signed ranks of the models' gains, one-sided")
    method: Method
    scheme: Name
    k: int = Field(ge=1, description="labelled questions a data set")


Part = Annotated[
    Change | CalibrationError | Auroc | Correlation | AbstentionGain,
    Field(discriminator="statistic"),
]
#: Of paper 2, from released outputs and from own runs
ANSWERED = (CalibrationError, Auroc, Correlation, AbstentionGain)
#: What the studies of each kind have the statistics of
STATISTICS: dict[str, tuple[type[Tested], ...]] = {
    "multilingual": (Change,),
    "harness": (Change,),
    "released": ANSWERED,
    "chat_confidence": ANSWERED,
}


class Claim(Strict):
    """One claim of a paper."""

    says: str = Field(description="what the paper says")
    source: str = Field(description="the paper")
    tested_on: list[Kind] = Field(min_length=1, description="kinds of studies")
    alpha: float = Field(gt=0, lt=1, description="level of the tests")
    correction: Literal["holm", "intersection_union", "none"] = Field(
        description="for the number of tests of the claim, those of all parts together; "
        "intersection_union: all must pass, which keeps the level as it is (Berger 1982)"
    )
    parts: list[Part] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_tested(self) -> Claim:
        shares = [part.share for part in self.parts]
        if self.correction == "intersection_union" and min(shares) < 1:
            raise ValueError(f"correction: found {self.correction} and shares {shares}, expected 1")
        for place, part in enumerate(self.parts):
            for kind in self.tested_on:
                if not isinstance(part, STATISTICS[kind]):
                    known = [one.__name__ for one in STATISTICS[kind]]
                    raise ValueError(
                        f"parts.{place}: found {type(part).__name__}, expected one of {known} "
                        f"for studies of kind {kind}"
                    )
        return self


ClaimId = Annotated[str, Field(pattern=r"^[A-Z][0-9]+$")]


class Claims(Strict):
    """The whole of claims.yaml."""

    claims: dict[ClaimId, Claim] = Field(min_length=1)

    def evidence(self, kind: str) -> list[str]:
        """The files of a study of that kind that its claims are tested on."""
        parts = [
            part for one in self.claims.values() if kind in one.tested_on for part in one.parts
        ]
        return list(dict.fromkeys(part.evidence for part in parts))


class Expected(Strict):
    """The whole of expected/claims.yaml: verdicts by study and claim."""

    verdicts: dict[str, dict[ClaimId, Verdict]]


def load(path: str | Path) -> Claims:
    """Read and check claims.yaml."""
    return validated(Claims, _read(path), str(path))


def load_expected(path: str | Path) -> Expected:
    """Read and check expected/claims.yaml."""
    return validated(Expected, _read(path), str(path))


def _read(path: str | Path) -> Any:
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as YAML ({reason})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: found {found!r}, expected keys and values")
    return found


def dumped(one: BaseModel) -> dict[str, Any]:
    """Plain data that are read back as the same."""
    return one.model_dump(mode="json")


if __name__ == "__main__":
    print(json.dumps(Claims.model_json_schema(), indent=2))
