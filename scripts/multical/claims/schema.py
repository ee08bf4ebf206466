"""The typed schema of claims.yaml, and of the expected verdicts of each study.

A claim is reproduced if all its parts hold, and contradicted if a part is. A part is a statistic
with a direction, a threshold and tests. It holds if a share of the tests pass. It is contradicted
if so many tests find the contrary that the others do not make that share. Unknown keys are refused.
`python -m multical.claims.schema` prints the JSON schema that editors read (claims.schema.json).
A test fails if the two differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from multical import yaml_files
from multical.metrics.params import Metric, Readout
from multical.params import Name, Smoothing, Strict, matching, validated

Kind = Literal["multilingual", "harness", "released", "chat_confidence"]
Verdict = Literal["reproduced", "contradicted", "inconclusive", "not testable here"]
VERDICTS = get_args(Verdict)
REPRODUCED, CONTRADICTED, INCONCLUSIVE, NOT_TESTABLE = VERDICTS
#: What the tests say of a part of a claim
HOLDS, CONTRADICTION, UNDECIDED = "holds", "contradicted", "undecided"

#: The condition of a run: the base model, or SFT with label smoothing, 0 for none
Condition = Literal["base"] | Smoothing
Method = Literal["msp", "maxlogit"]
Point = Literal[
    "accuracy", "size", "msp_auroc", "maxlogit_auroc", "calibration_error",
    "calibration_error_cells", "calibration_error_width",
]  # fmt: skip


class Tested(Strict):
    """Keys that all parts have."""

    evidence: str = matching(
        r"^(tables/)?[a-z_]+\.csv$",
        "a .csv file of the study's folder, or of tables/ in it",
        description="file with the statistic, relative to the study's root",
    )
    direction: Literal["above", "below"]
    threshold: float = Field(description="what the tests compare the statistic with")
    share: float = Field(default=1.0, gt=0, le=1, description="share of the tests that must pass")


class Change(Tested):
    """The difference of a metric between two runs, as a mean over languages.

    There is a test for each model, SFT data set and benchmark, over all its seeds.
    """

    statistic: Literal["change"]
    test: Literal["paired_bootstrap"] = Field(
        description="over questions, the same ones in both runs and in all languages; for "
        "several seeds a t-test over questions and trainings"
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
    """Paper 2's calibration error of the MSP on all data sets, with a test for each model."""

    statistic: Literal["calibration_error"]
    direction: Literal["above"]
    test: Literal["wild_cluster_bootstrap"] = Field(
        description="over questions, against a calibrated model and against the threshold"
    )


class Auroc(Tested):
    """AUROC of right against wrong answers, with a test for each model, data set and phrasing."""

    statistic: Literal["auroc"]
    direction: Literal["above"]
    threshold: float = Field(ge=0.5, le=0.5, description="what the test compares with")
    test: Literal["mann_whitney"]
    method: Method
    min_accuracy: float = Field(ge=0, lt=1, description="mean accuracy of the models that count")


class Correlation(Tested):
    """Pearson's correlation over the models, on all data sets.

    `absent` means that its absolute value lies below the threshold, by two tests of equivalence.
    """

    statistic: Literal["correlation"]
    direction: Literal["above", "below", "absent"]  # type: ignore[assignment]
    test: Literal["fisher_z"] = Field(description="of Fisher's transform of r")
    x: Point
    y: Point


class AbstentionGain(Tested):
    """Gain in score by abstaining with a threshold, with one test over the models.

    It is over the better of never and always abstaining. Scores are means over the splits.
    """

    statistic: Literal["abstention_gain"]
    direction: Literal["above"]
    test: Literal["wilcoxon"] = Field(description="one-sided signed-rank test of the models' gains")
    method: Method
    scheme: Name
    k: int = Field(ge=1, description="labelled questions for each data set")


Part = Annotated[
    Change | CalibrationError | Auroc | Correlation | AbstentionGain,
    Field(discriminator="statistic"),
]
#: Statistics of paper 2, for its released outputs and for our own runs
ANSWERED = (CalibrationError, Auroc, Correlation, AbstentionGain)
#: The statistics that studies of each kind have
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
    tested_on: list[Kind] = Field(min_length=1, description="kinds of studies that can test it")
    alpha: float = Field(gt=0, lt=1, description="level of the tests")
    correction: Literal["holm", "intersection_union", "none"] = Field(
        description="correction for the number of tests in all parts of the claim, where they "
        "speak for it; with intersection_union all tests must pass, which keeps the level "
        "(Berger 1982)"
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
                    known = [statistic.__name__ for statistic in STATISTICS[kind]]
                    raise ValueError(
                        f"parts.{place}: found {type(part).__name__}, expected one of {known} "
                        f"for studies of kind {kind}"
                    )
        return self


ClaimId = Annotated[str, matching(r"^[A-Z][0-9]+$", "a capital letter and a number")]


class Claims(Strict):
    """The whole of claims.yaml."""

    claims: dict[ClaimId, Claim] = Field(min_length=1)

    def evidence(self, kind: str) -> list[str]:
        """The files on which the claims are tested, in a study of this kind."""
        claims = [claim for claim in self.claims.values() if kind in claim.tested_on]
        return list(dict.fromkeys(part.evidence for claim in claims for part in claim.parts))


class Expected(Strict):
    """The whole of expected/claims.yaml: verdicts by study and claim.

    A list is for a claim at the border of two verdicts, which rounding on another processor moves.
    """

    verdicts: dict[str, dict[ClaimId, Verdict | list[Verdict]]]

    def of(self, study: str) -> dict[str, list[Verdict]] | None:
        """By claim, the verdicts that a study may have; None if there are none for it."""
        found = self.verdicts.get(study)
        if found is None:
            return None
        return {name: [one] if isinstance(one, str) else one for name, one in found.items()}


def load(path: str | Path) -> Claims:
    """Read and check claims.yaml."""
    return validated(Claims, yaml_files.mapping(path), str(path))


def load_expected(path: str | Path) -> Expected:
    """Read and check expected/claims.yaml."""
    return validated(Expected, yaml_files.mapping(path), str(path))


def dumped(model: BaseModel) -> dict[str, Any]:
    """The model as plain data for JSON."""
    return model.model_dump(mode="json")


if __name__ == "__main__":
    print(json.dumps(Claims.model_json_schema(), indent=2))
