"""The typed schema of config.yaml: every key, its type, its range and its meaning.

Unknown keys are refused. `python -m multical.config` prints the JSON schema that
editors read (config.schema.json); a test fails when the two differ.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from multical.errors import InputError

SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]*"
NAME = f"^{SEGMENT}$"
#: Folders of `results` that no study may be named after
TAKEN = {"figures", "inputs", "records", "runs", "scratch", "tables"}
Name = Annotated[str, Field(pattern=NAME)]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Smoothing = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Precision = Literal["highest", "high", "medium"]

# The keys of multical.readouts.READOUTS and multical.metrics.METRICS, which would load
# numpy and pandas at each start of Snakemake; a test compares them.
Readout = Literal[
    "letter", "letter_full", "text_ppl", "text_sum", "msp", "max_logit", "margin", "entropy"
]
Metric = Literal[
    "accuracy", "confidence", "gap", "ece", "ece_mass", "rms", "mce", "ece_classwise", "ece_all",
    "brier", "nll", "entropy", "auroc", "aurc",
]  # fmt: skip

Value = TypeVar("Value")


def _distinct(values: list[Value]) -> list[Value]:
    if twice := _twice(values):
        raise ValueError(f"found {twice[0]!r} twice, expected different values")
    return values


def _twice(values: list[Any]) -> list[Any]:
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


class PypiModel(Strict):
    """A GGUF file inside packages of the Python package index, whole or in parts."""

    kind: Literal["pypi"]
    packages: Distinct[Annotated[str, Field(pattern=rf"^{SEGMENT}==[\w.]+$")]] = Field(min_length=1)
    gguf: Name = Field(description="name of the GGUF file; parts of it are joined by their names")
    sha256: Sha256 = Field(description="of the whole GGUF file")
    licence_files: Distinct[Name] = Field(description="names of the files to keep beside the model")


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
    kinds: Distinct[Literal["currency", "language", "country"]] = Field(min_length=1)
    held_out: float = Field(gt=0, lt=1, description="fraction of the territories")
    questions_per_language: int = Field(ge=1)
    languages: Distinct[Language] = Field(min_length=1)


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
    kinds: Distinct[Literal["currency", "language", "country"]] = Field(min_length=1)
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
            found = f"found epochs {self.epochs} and steps {self.steps}"
            raise ValueError(f"{found}, expected exactly one of them")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"found batch_size {self.batch_size} and accumulation {self.accumulation}, "
                "expected accumulation to divide batch_size"
            )
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
                raise ValueError(f"found {text!r}, expected {part} in it")
        return text


class Scoring(Strict):
    """How runs are scored."""

    prompt: Name
    lettered_languages: Distinct[Language] | None = Field(
        description="languages that are shown the lettered prompt too, which costs most of the "
        "tokens; null for all"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        description="auto: bfloat16 where the hardware multiplies it, else float32"
    )
    matmul_precision: Precision
    batch_tokens: int = Field(ge=1, description="upper bound of padded tokens in a batch")


class Bootstrap(Strict):
    """Question-clustered bootstrap."""

    replicates: int = Field(ge=0)
    seed: Seed
    level: float = Field(gt=0, lt=1)


class Metrics(Strict):
    """What is computed from records."""

    readouts: Distinct[Readout] = Field(min_length=1)
    metrics: Distinct[Metric] = Field(min_length=1)
    bins: int = Field(ge=1)
    bootstrap: Bootstrap


class Figures(Strict):
    """What the figures show where there is a choice."""

    benchmark: Name
    readout: Readout
    sft: Name
    smoothing: Annotated[float, Field(gt=0, lt=1)] = Field(description="beside 0, that of SFT")
    seed: Seed
    reference_language: Language


class MultilingualStudy(Strict):
    """Study 1: base models, SFT runs with every smoothing and seed, all benchmarks."""

    kind: Literal["multilingual"]
    models: Distinct[Name] = Field(min_length=1)
    sft_data: Distinct[Name] = Field(min_length=1)
    smoothing: Distinct[Smoothing] = Field(min_length=1)
    seeds: Distinct[Seed] = Field(min_length=1)
    benchmarks: Distinct[Name] = Field(min_length=1)
    languages: Distinct[Language] | None = Field(description="null for all of a benchmark")
    questions_per_language: int | None = Field(ge=1, description="null for all")
    training: Training
    scoring: Scoring
    metrics: Metrics
    figures: Figures


class Release(Strict):
    """Where the released outputs are; $MSP_V2_ARCHIVE goes before `archive`."""

    archive: str | None = Field(description="local archive or folder; null downloads the commit")
    repository: str = Field(pattern=r"^https://\S+$")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    folder: str = Field(description="folder of the outputs in the repository")
    manifest: str | None = Field(description="file of SHA-256 sums, one a released file")


class ReleasedModel(Strict):
    """A model of a release."""

    file: Name = Field(description="as in the names of files")
    name: str = Field(description="as in the study's tables")
    size: float | None = Field(gt=0, description="billions of parameters; null if not known")
    max_logit: bool = Field(description="whether maximum logits were released")


class ReleasedDataset(Strict):
    """A data set of a release."""

    id: Name
    name: str
    questions: int = Field(ge=1)


class Abstention(Strict):
    """How thresholds are chosen, and answers below them scored."""

    seed: Seed = Field(description="of the split that the published tables show")
    seeds: int = Field(ge=1, description="splits of the spread")
    ks: list[Annotated[int, Field(ge=1)] | Literal["half"]] = Field(min_length=1)
    main_k: int = Field(ge=1, description="labelled questions a data set in the main tables")
    schemes: dict[Name, Annotated[float, Field(ge=0)]] = Field(description="loss of a wrong answer")
    grid: Literal["zero", "min"] = Field(description="start of the thresholds: as in v2, or in v4")


class ReleasedStudy(Strict):
    """Study 2 from the authors' released per-question outputs."""

    kind: Literal["released"]
    source: Release
    expected: str = Field(description="file of the published numbers")
    models: list[ReleasedModel] = Field(min_length=1)
    datasets: list[ReleasedDataset] = Field(min_length=1)
    prompts: list[Name] = Field(min_length=1)
    significance: float = Field(gt=0, lt=1)
    bins: int = Field(ge=1)
    bootstrap: Bootstrap
    abstention: Abstention


Study = Annotated[MultilingualStudy | ReleasedStudy, Field(discriminator="kind")]
ROOT = r"^results(/[a-z0-9_]+)?$"


class Config(Strict):
    """The whole of config.yaml."""

    models: dict[Name, Model]
    benchmarks: dict[Name, Benchmark]
    sft_data: dict[Name, SftData]
    resource_levels: dict[Literal["high", "mid", "low"], Distinct[Language]]
    prompts: dict[Name, Prompt]
    studies: dict[Annotated[str, Field(pattern=ROOT)], Study]

    def multilingual(self, root: str) -> MultilingualStudy:
        """The study at `root`; raises `InputError` if it is of another kind."""
        found = self.studies[root]
        if not isinstance(found, MultilingualStudy):
            raise InputError(f"config: studies.{root}: kind {found.kind}, expected multilingual")
        return found

    @field_validator("resource_levels")
    @classmethod
    def _one_level(cls, levels: dict[Any, list[str]]) -> dict[Any, list[str]]:
        if twice := _twice([language for members in levels.values() for language in members]):
            raise ValueError(f"{twice[0]!r} is in two levels, expected one")
        return levels

    @field_validator("studies")
    @classmethod
    def _roots(cls, studies: dict[str, Any]) -> dict[str, Any]:
        for root in studies:
            if root.removeprefix("results/") in TAKEN:
                raise ValueError(f"{root}: the folder has another use, expected another name")
        return studies

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for key, names, known in _references(self):
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: found {name!r}, expected one of {sorted(known)}")
        for root, study in _multilingual(self):
            if twice := _twice([run.id for run in _grid(study)]):
                raise ValueError(f"studies.{root}: two runs are named {twice[0]}, expected one")
        return self


def _multilingual(config: Config) -> Iterator[tuple[str, MultilingualStudy]]:
    for root, study in config.studies.items():
        if isinstance(study, MultilingualStudy):
            yield root, study


def _references(config: Config) -> Iterator[tuple[str, list[Any], Any]]:
    """(key, names, where they must be) of all names that are used."""
    levels = {language for members in config.resource_levels.values() for language in members}
    spoken = {}
    for name, benchmark in config.benchmarks.items():
        if isinstance(benchmark.source, CldrBenchmark):
            spoken[name] = benchmark.source.languages
            yield f"benchmarks.{name}.source.languages", spoken[name], levels
    for root, study in _multilingual(config):
        shown, languages = study.figures, study.languages or []
        own: list[tuple[str, list[Any], Any]] = [
            ("models", study.models, config.models),
            ("sft_data", study.sft_data, config.sft_data),
            ("benchmarks", study.benchmarks, config.benchmarks),
            ("languages", languages, levels),
            *(
                ("languages", languages, spoken[name])
                for name in study.benchmarks
                if name in spoken
            ),
            ("scoring.prompt", [study.scoring.prompt], config.prompts),
            ("figures.benchmark", [shown.benchmark], study.benchmarks),
            ("figures.readout", [shown.readout], study.metrics.readouts),
            ("figures.sft", [shown.sft], study.sft_data),
            ("figures.smoothing", [0.0, shown.smoothing], study.smoothing),
            ("figures.seed", [shown.seed], study.seeds),
        ]
        if seen := languages or spoken.get(shown.benchmark):
            own.append(("figures.reference_language", [shown.reference_language], seen))
        yield from ((f"studies.{root}.{key}", names, known) for key, names, known in own)


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
    return {run.id: run for run in _grid(study)}


def _grid(study: MultilingualStudy) -> list[Run]:
    grid = product(study.models, study.sft_data, study.smoothing, study.seeds)
    return [*map(Run, study.models), *(Run(*cell) for cell in grid)]


def load(raw: dict[str, Any]) -> Config:
    """Check a config as read from YAML.

    Raises `InputError` naming the first key that is wrong, what was found there and
    what was expected.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(_keys_of(raw, first["loc"]))
        own = first["type"] == "value_error"  # says itself what was found
        said = isinstance(first["input"], dict | list) or own
        found = "" if said else f"found {first['input']!r}, expected: "
        reason = found + first["msg"].removeprefix("Value error, ")
        sentence = ": ".join(filter(None, ["config", where, reason]))
        raise InputError(" ".join(sentence.split())) from error


def _keys_of(raw: Any, loc: tuple[int | str, ...]) -> Iterator[str]:
    """The keys of `raw` in pydantic's location, which holds kinds of unions too."""
    for part in loc:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            continue
        yield str(part)


def canonical(value: Any) -> str:
    """`value` as the one JSON text that all equal values share: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


if __name__ == "__main__":
    print(json.dumps(Config.model_json_schema(), indent=2))
