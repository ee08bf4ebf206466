"""The schema of the config: each key with its type, range and meaning.

Unknown keys are refused. `python -m multical.config.schema` prints the JSON schema that
editors read (config.schema.json). `python -m multical.config.keys` prints the table of keys
(config/README.md). A test fails if one of the two files is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from multical import paths
from multical.config.chat_confidence import AnswerStudy, ChatConfidenceStudy, ReleasedStudy
from multical.config.inputs import Benchmark, Model, SftData
from multical.config.studies import (
    Measured,
    ModelStudy,
    MultilingualStudy,
    Scored,
    Study,
    grid_of,
    trials,
)
from multical.data.benchmark_params import BenchmarkSource
from multical.data.sft_params import CldrSft
from multical.errors import InputError
from multical.labels import KnownLevel
from multical.models.api_params import ApiModel
from multical.params import (
    Distinct,
    Language,
    LocalPath,
    Name,
    Strict,
    matching,
    twice,
    validated,
)
from multical.scoring.params import Prompt

#: Folder names that a study must not have, since other outputs use them
RESERVED = {"bundle", "claims", "figures", "inputs", "records", "runs", "scratch", "tables"}

#: The key of config.yaml that lists other files; the checked config no longer has it
INCLUDE = "include"

#: A study may lie inside another
ROOT = r"^results(/[a-z0-9_]+){0,2}$"
ROOT_WORDS = "results, or at most two folders in it of lower-case letters, digits and underscores"


class Drawing(Strict):
    """How the figures of all studies are drawn."""

    style: LocalPath | None = Field(
        default=None,
        description="a style file of matplotlib (.mplstyle), whose settings replace those of "
        f"{paths.STYLE}; null: none",
    )
    formats: Distinct[Literal["pdf", "png", "svg"]] = Field(
        default=["pdf", "png"], description="pdf and png, which other outputs need, and perhaps svg"
    )
    language_names: bool = Field(
        default=False, description="whether axes name languages in English beside their codes"
    )

    @field_validator("formats")
    @classmethod
    def _needed(cls, formats: list[str]) -> list[str]:
        if not {"pdf", "png"} <= set(formats):
            raise ValueError(f"found {formats}, expected pdf and png among them")
        return formats


class Config(Strict):
    """The whole config."""

    models: dict[Name, Model] = Field(description="models by name")
    benchmarks: dict[Name, Benchmark] = Field(description="multiple-choice questions by name")
    sft_data: dict[Name, SftData] = Field(description="conversations for fine-tuning by name")
    resource_levels: dict[KnownLevel, Distinct[Language]] = Field(
        description="the languages of each level; all others are of the level unknown"
    )
    prompts: dict[Name, Prompt] = Field(description="the texts that models see, by name")
    keep_checkpoints: bool = Field(
        default=True,
        description="false: remove the weights of SFT runs once their outputs are complete; a "
        "later change that needs the weights trains and scores these runs again",
    )
    figures: Drawing = Drawing()
    studies: dict[Annotated[str, matching(ROOT, ROOT_WORDS)], Study] = Field(
        description="studies by the folder of their results"
    )

    def multilingual(self, root: str) -> MultilingualStudy:
        """The study at `root`; raises `InputError` unless it is of the kind multilingual."""
        return self._study(root, MultilingualStudy, "multilingual")

    def measured(self, root: str) -> Measured:
        """The study at `root`; raises `InputError` if it lacks the metrics of paper 1."""
        return self._study(root, Measured, "multilingual, harness or api")

    def chat_confidence(self, root: str) -> ChatConfidenceStudy:
        """The study at `root`; raises `InputError` unless it is of the kind chat_confidence."""
        return self._study(root, ChatConfidenceStudy, "chat_confidence")

    def released(self, root: str) -> ReleasedStudy:
        """The study at `root`; raises `InputError` unless it is of the kind released."""
        return self._study(root, ReleasedStudy, "released")

    def model_study(self, root: str) -> ModelStudy:
        """The study at `root`; raises `InputError` if it does not score models."""
        return self._study(root, ModelStudy, "multilingual, api or chat_confidence")

    def _study(self, root: str, schema: Any, kinds: str) -> Any:
        study = self.studies[root]
        if not isinstance(study, schema):
            raise InputError(f"config: studies.{root}: kind {study.kind}, expected {kinds}")
        return study

    def api(self, name: str) -> ApiModel:
        """The API of a model; raises `InputError` for a local model."""
        source = self.models[name].source
        if not isinstance(source, ApiModel):
            raise InputError(f"config: models.{name}: kind {source.kind}, expected api")
        return source

    @field_validator("resource_levels")
    @classmethod
    def _one_level(cls, levels: dict[Any, list[str]]) -> dict[Any, list[str]]:
        if repeated := twice([language for members in levels.values() for language in members]):
            raise ValueError(f"{repeated[0]!r} is in two levels, expected one")
        return levels

    @field_validator("studies")
    @classmethod
    def _roots(cls, studies: dict[str, Any]) -> dict[str, Any]:
        for root in studies:
            if RESERVED.intersection(root.split("/")[1:]):
                raise ValueError(f"{root}: the folder has another use, expected another name")
        return studies

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for root, study in _of_kind(self, MultilingualStudy):
            if repeated := twice([run.id for run in [*grid_of(study), *trials(study)]]):
                raise ValueError(f"studies.{root}: two runs are named {repeated[0]}, expected one")
        for key, names, known in _references(self):
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: found {name!r}, expected one of {sorted(known)}")
        for root, study in _of_kind(self, MultilingualStudy):
            self._check_trials(f"studies.{root}.training.learning_rate", study)
        self._check_variables()
        for root, study in _of_kind(self, Scored):
            for name in study.benchmarks:
                self._check_languages_per_job(name, f"studies.{root}", study)
        for root, study in _of_kind(self, ChatConfidenceStudy):
            if study.scoring.option_order != "given":
                self._check_local(f"studies.{root}", study)
        for root, study in _of_kind(self, ModelStudy):
            for name in study.benchmarks:
                self._check_fewshot(name, f"studies.{root}", study.scoring.num_fewshot)
        for key, members, part in (
            ("benchmarks", list(self.benchmarks), "fewshot"),
            ("sft_data", list(self.sft_data), "heldout"),
        ):
            for name in members:
                if f"{name}.{part}" in members:  # their files would have the same names
                    pair = f"{name}.{part} beside {name}"
                    raise ValueError(f"{key}: found {pair}, expected a name without .{part}")
        return self

    def _check_variables(self) -> None:
        known: dict[str, str] = {}
        for root, study in _of_kind(self, ReleasedStudy):
            variable, key = study.source.variable, f"studies.{root}.source.variable"
            if variable and (other := known.setdefault(variable, key)) != key:
                # it would replace the released outputs of both studies
                raise ValueError(f"{key}: found {variable} as in {other}, expected another")

    def _check_trials(self, key: str, study: MultilingualStudy) -> None:
        if not study.training.tried:
            return
        if 0 not in study.smoothing:
            raise ValueError(f"{key}: found a list, expected a number, or 0 in smoothing")
        for name in study.sft_data:
            source = self.sft_data[name].source
            if isinstance(source, CldrSft) or not source.held_out:
                raise ValueError(
                    f"{key}: found a list, expected a number, or held-out conversations of "
                    f"{name} (sft_data.{name}.source.held_out of kind file or hub)"
                )

    def _check_fewshot(self, benchmark: str, place: str, fewshot: int) -> None:
        source = self.benchmarks[benchmark].source
        # each kind of source has its own key for examples
        keys = [key for key in type(source).model_fields if key.startswith("fewshot")]
        if fewshot and not any(getattr(source, key) for key in keys):
            remedy = "".join(f" (benchmarks.{benchmark}.source.{key})" for key in keys)
            raise ValueError(
                f"{place}.scoring.num_fewshot: found {fewshot}, expected 0, since "
                f"{benchmark} has no examples{remedy}"
            )

    def _check_local(self, place: str, study: ChatConfidenceStudy) -> None:
        for model in study.models:
            if model.of is None and isinstance(self.models[model.run].source, ApiModel):
                raise ValueError(
                    f"{place}.scoring.option_order: found {study.scoring.option_order}, expected "
                    f"given, since {model.run} is behind an API"
                )

    def _check_languages_per_job(self, benchmark: str, place: str, study: Scored) -> None:
        size = getattr(study.scoring, "languages_per_job", None)
        if size and self.languages(study, benchmark) is None:
            raise ValueError(
                f"{place}.scoring.languages_per_job: found {size}, expected "
                f"{place}.languages beside it, since {benchmark} names none"
            )

    def languages(self, study: Scored, benchmark: str) -> list[str] | None:
        """The languages that a study scores on a benchmark; None if only its file tells them."""
        there = available(self.benchmarks[benchmark].source)
        if study.languages is None:
            return there
        return [language for language in study.languages if there is None or language in there]


def available(source: BenchmarkSource) -> list[str] | None:
    """The languages of a benchmark; None if only its file tells them."""
    return getattr(source, "spoken", getattr(source, "languages", None))


def _of_kind(config: Config, kind: Any) -> Iterator[tuple[str, Any]]:
    for root, study in config.studies.items():
        if isinstance(study, kind):
            yield root, study


def _references(config: Config) -> Iterator[tuple[str, list[Any], Any]]:
    """All names that the config uses: their key, the names, and the names that exist."""
    apis = {name for name, model in config.models.items() if isinstance(model.source, ApiModel)}
    for root, study in _of_kind(config, Scored):
        figures, languages = study.figures, study.languages or []
        trains = isinstance(study, MultilingualStudy)
        references: list[tuple[str, list[Any], Any]] = [
            ("models", study.models, config.models.keys() - apis if trains else apis),
            ("benchmarks", study.benchmarks, config.benchmarks),
            *(
                ("languages", languages, spoken)
                for name in study.benchmarks
                if name in config.benchmarks
                if (spoken := available(config.benchmarks[name].source)) is not None
                # a job for each language leaves out those that a benchmark has not
                if not getattr(study.scoring, "languages_per_job", None)
            ),
            ("scoring.prompt", [study.scoring.prompt], config.prompts),
            ("figures.benchmark", [figures.benchmark], study.benchmarks),
            ("figures.readout", [figures.readout], study.metrics.readouts),
        ]
        if trains:
            cloze = {name for name, prompt in config.prompts.items() if prompt.cloze is not None}
            alone = [name for name in cloze if config.prompts[name].unconditional is not None]
            if "text_pmi" in study.metrics.readouts:
                key = "scoring.prompt, which needs unconditional for the readout text_pmi"
                references.append((key, [study.scoring.prompt], alone))
            trainable = {
                name for name, model in config.models.items() if model.chat_format != "none"
            }
            # a study may have fewer languages than its benchmarks, and as few with letters
            sources = [
                config.benchmarks[x].source for x in study.benchmarks if x in config.benchmarks
            ]
            there = [available(source) for source in sources]
            if None not in there:
                lettered = study.scoring.multiple_choice_languages or []
                known = {language for languages in there for language in languages or ()}
                references.append(("scoring.multiple_choice_languages", lettered, known))
            references += [
                ("scoring.prompt, which needs cloze", [study.scoring.prompt], cloze),
                ("models: chat_format none cannot be trained", study.models, trainable),
                ("sft_data", study.sft_data, config.sft_data),
                ("figures.sft", [figures.sft], study.sft_data),
                ("figures.smoothing", [0.0, figures.smoothing], study.smoothing),
                ("figures.seed", [figures.seed] if figures.seed is not None else [], study.seeds),
            ]
        if figures.benchmark in config.benchmarks:
            asked = config.languages(study, figures.benchmark)
            if asked is not None:
                reference = [figures.reference_language]
                references.append(("figures.reference_language", reference, asked))
        yield from ((f"studies.{root}.{key}", names, known) for key, names, known in references)
    for root, study in _of_kind(config, ChatConfidenceStudy):
        yield from _chat_confidence_references(config, f"studies.{root}", study)
    answered = dict(_of_kind(config, AnswerStudy))
    for root, study in answered.items():
        if other := study.compared_with:
            prefix = f"studies.{root}.compared_with"
            yield f"{prefix}.study", [other.study], answered.keys() - {root}
            yield f"{prefix}.unpaired", other.unpaired, [dataset.id for dataset in study.datasets]
            phrasings = [len(answered[name].prompt_names) for name in (root, other.study)]
            yield f"{prefix}.study: phrasings", phrasings[:1], phrasings[1:]


def _chat_confidence_references(
    config: Config, place: str, study: ChatConfidenceStudy
) -> Iterator[tuple[str, list[Any], Any]]:
    training = {root: other.by_id for root, other in _of_kind(config, MultilingualStudy)}
    for number, model in enumerate(study.models):
        if model.of is None:
            yield f"{place}.models.{number}.run", [model.run], config.models
        else:
            yield f"{place}.models.{number}.of", [model.of], training
            tuned = [name for name, run in training[model.of].items() if run.sft is not None]
            yield f"{place}.models.{number}.run", [model.run], tuned
    yield f"{place}.scoring.prompts", study.scoring.prompts, config.prompts
    for number, dataset in enumerate(study.datasets):
        yield f"{place}.datasets.{number}.benchmark", [dataset.benchmark], config.benchmarks
        source = config.benchmarks[dataset.benchmark].source
        if known := available(source):
            yield f"{place}.datasets.{number}.language", [dataset.language], known


def load(raw: dict[str, Any]) -> Config:
    """Check a config as read from YAML.

    Raises `InputError` with the first wrong key, its value and the expected value.
    """
    return validated(Config, raw, "config")


def json_schema() -> dict[str, Any]:
    """The JSON schema of config.yaml and of each file that it includes.

    No key is required, since another of the files may have it.
    """
    schema: dict[str, Any] = _all_optional(Config.model_json_schema())
    schema["properties"][INCLUDE] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "only in config.yaml: the files with the other parts of the config",
    }
    return schema


def _all_optional(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_all_optional(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    optional = {key: _all_optional(part) for key, part in schema.items()}
    if isinstance(optional.get("required"), list):
        del optional["required"]
    if isinstance(optional.get("oneOf"), list):  # `kind` may be in another file
        optional["anyOf"] = optional.pop("oneOf")
        optional.pop("discriminator", None)
    return optional


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
