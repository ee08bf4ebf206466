"""What every typed schema of config.yaml is made of: strict mappings, names and ranges."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]*"
NAME = f"^{SEGMENT}$"
Name = Annotated[str, Field(pattern=NAME)]
#: Braces would be wildcards to Snakemake, and control characters tear its records apart
LocalPath = Annotated[str, Field(pattern=r"^[^{}\x00-\x1f\x7f]+$")]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
Smoothing = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LearningRate = Annotated[float, Field(gt=0, lt=1)]
Options = Annotated[int, Field(ge=2, le=10)] | None
Precision = Literal["highest", "high", "medium"]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    Field(description="auto: bfloat16 where the hardware multiplies it, else float32"),
]
ChatFormat = Literal["plain", "tulu", "template", "none"]

# The keys of multical.readouts.READOUTS and multical.metrics.METRICS, which would load
# numpy and pandas at each start of Snakemake; a test compares them.
Readout = Literal[
    "letter", "letter_full", "text_ppl", "text_sum", "msp", "max_logit", "margin", "entropy"
]
Metric = Literal[
    "accuracy", "confidence", "gap", "ece", "ece_mass", "rms", "mce", "ms_debiased",
    "ece_classwise", "ece_all", "brier", "nll", "entropy", "auroc", "aurc",
]  # fmt: skip

#: The readouts that are a softmax of option scores, the keys of multical.readouts.SCORES
DISTRIBUTIONS = ("letter", "text_ppl", "text_sum")

Value = TypeVar("Value")


def _distinct(values: list[Value]) -> list[Value]:
    if again := twice(values):
        raise ValueError(f"found {again[0]!r} twice, expected different values")
    return values


def twice(values: list[Any]) -> list[Any]:
    """The values that occur more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


Distinct = Annotated[
    list[Value], AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})
]


class Strict(BaseModel):
    """A mapping of known keys to finite numbers and other values."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            required = {key for key, field in cls.model_fields.items() if field.is_required()}
            for word, keys in (
                ("unknown", raw.keys() - cls.model_fields.keys()),
                ("missing", required - raw.keys()),
            ):
                if keys:
                    found = sorted(map(str, keys))
                    raise ValueError(f"{word} keys {found}, expected {list(cls.model_fields)}")
        return raw


class Bootstrap(Strict):
    """Question-clustered bootstrap."""

    replicates: int = Field(ge=0)
    seed: Seed
    level: float = Field(gt=0, lt=1)
