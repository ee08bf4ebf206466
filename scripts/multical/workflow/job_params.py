"""What each job depends on in the config, and nothing else; of jobs that score: `scoring_params`.

Every function gives the parameters of one job as a model, or as plain data;
`multical.params.canonical` makes them the one string that Snakemake compares.
"""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Any, Literal, TypeVar, get_args

from multical import files, paths
from multical.claims.params import MeasuredClaims
from multical.claims.schema import Claims
from multical.config.chat_confidence import ChatConfidenceStudy
from multical.config.schema import Config
from multical.config.studies import (
    HarnessRun,
    HarnessStudy,
    MultilingualStudy,
    Run,
    Scored,
    runs,
    trials,
)
from multical.data.benchmark_params import BenchmarkJob, ChoiceBenchmark
from multical.data.harness_params import HarnessJob
from multical.data.sft_params import HubSft, SftDataJob, SftSource
from multical.errors import InputError
from multical.figures import settings_table as settings
from multical.figures.params import Panel, SettingsRun, SettingsTable
from multical.labels import Level
from multical.metrics.params import Distribution, Metric, Metrics
from multical.models.api_params import ApiModel
from multical.models.evaluation_params import EvaluationJob
from multical.models.fetch_params import FetchJob
from multical.models.params import TrainingJob
from multical.params import Strict, canonical, validated
from multical.stats.params import MetricsJob, MixedModels, RecalibrationJob, Reliability, Tested

Settings = dict[str, Any]
#: Metrics of confidences that are changed, which rank answers as they did or nearly so
RECALIBRATED = ("accuracy", "confidence", "gap", "ece", "rmsce", "debiased_ece2", "brier", "nll")
#: Of runs in the table of settings, in their order
Role = Literal["base", "trial", "run"]
ROLES = get_args(Role)


def run(config: Config, root: str, name: str) -> Run:
    """The run or trial of that id in the study at `root`; raises `KeyError` for any other."""
    study = config.studies[root]
    if not isinstance(study, ChatConfidenceStudy):
        return config.multilingual(root).by_id[name]
    trainer = study.by_run[name].of
    return Run(name) if trainer is None else run(config, trainer, name)


def trainer(config: Config, root: str, name: str) -> str:
    """The study that trains a run of the study at `root`: itself, or another."""
    study = config.studies[root]
    return (study.by_run[name].of or root) if isinstance(study, ChatConfidenceStudy) else root


def is_behind_api(config: Config, root: str, name: str) -> bool:
    """Whether a run of a study is behind an API."""
    return isinstance(config.models[run(config, root, name).model].source, ApiModel)


def parts(config: Config, root: str) -> list[str]:
    """The studies that lie inside of that at `root`; none in `results`, where all lie."""
    return [one for one in config.studies if root != "results" and one.startswith(f"{root}/")]


def trials_of(config: Config, root: str, model: str, sft: str) -> list[Run]:
    """The trials of learning rates for a model and SFT data; empty where there is no choice."""
    study = config.multilingual(root)
    return [one for one in trials(study) if (one.model, one.sft) == (model, sft)]


def learning_rate_file(config: Config, root: str, name: str) -> list[str]:
    """The file of the learning rate that was chosen for a run, if one is to be chosen."""
    one = run(config, root, name)
    if one.learning_rate is not None or not config.multilingual(root).training.tried:
        return []
    return [paths.LEARNING_RATE.format(root=root, model=one.model, sft=one.sft)]


def adopted(config: Config) -> dict[str, list[str]]:
    """By study, the runs that are one of their own trials: not trained a second time."""
    found = {}
    for root, study in config.studies.items():
        if isinstance(study, MultilingualStudy):
            tried = trials(study)
            found[root] = sorted({Run(x.model, x.sft, x.smoothing, x.seed).id for x in tried})
    return {root: names for root, names in found.items() if names}


def trained(config: Config, root: str) -> list[Run]:
    """The SFT runs of a study that are trained: the trials, and all that adopt none."""
    study, own = config.multilingual(root), adopted(config).get(root, [])
    return [one for one in study.by_id.values() if one.sft is not None and one.id not in own]


def model(config: Config, name: str) -> FetchJob:
    """Where a base model comes from."""
    source = config.models[name].source
    if isinstance(source, ApiModel):
        raise KeyError(name)
    return FetchJob(source=source)


def benchmark(config: Config, name: str, part: str = "") -> BenchmarkJob:
    """Where a benchmark's questions come from, or, for the part `FEWSHOT`, its examples."""
    source = config.benchmarks[name].source
    if part:
        return BenchmarkJob(source=_without(source, "questions", "split"), examples=True)
    if isinstance(source, ChoiceBenchmark):  # its examples are taken out of the questions
        return BenchmarkJob(source=source)
    return BenchmarkJob(source=_without(source, "fewshot", "fewshot_split"))


def with_fewshot(config: Config) -> list[str]:
    """The benchmarks whose few-shot examples are made here."""
    sources = {name: entry.source for name, entry in config.benchmarks.items()}
    return [name for name, source in sources.items() if getattr(source, "has_examples", False)]


def sft_data(config: Config, name: str, part: str = "") -> SftDataJob:
    """Where SFT data come from, or, for the part `HELDOUT`, what is held out of them."""
    # sizes are for plans; what is held out does not depend on how many are trained on
    unused = ("rows", "mean_tokens", *(["examples"] if part else []))
    source = _without(config.sft_data[name].source, *unused)
    return SftDataJob(source=source, held_out=bool(part))


def with_held_out(config: Config) -> list[str]:
    """The SFT data with a part that is held out."""
    sources = {name: entry.source for name, entry in config.sft_data.items()}
    return [name for name, source in sources.items() if held_out_of(source)]


def held_out_of(source: SftSource) -> int:
    """Conversations that are held out."""
    return source.held_out if isinstance(source, HubSft) else 0


Source = TypeVar("Source", bound=Strict)


def _without(source: Source, *keys: str) -> Source:
    """A source with some keys as if they were not given."""
    return type(source).model_validate(source.model_dump(exclude={*keys}))


def training(config: Config, root: str, name: str) -> TrainingJob:
    """How a run is trained; learning_rate is null where it is that of `learning_rate_file`."""
    one, section = run(config, root, name), config.multilingual(root).training
    given = {
        **section.model_dump(),
        "run": one.id,
        "smoothing": one.smoothing,
        "seed": one.seed,
        "chat_format": config.models[one.model].chat_format,
        "learning_rate": one.learning_rate if section.tried else section.learning_rate,
    }
    return validated(TrainingJob, given, f"config: studies.{root}: run {name}")


def training_key(config: Config, root: str, name: str, code: str) -> str:
    """Names the scratch folder of a run: other settings or code never resume from it."""
    text = canonical([training(config, root, name), code])
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def evaluating(config: Config, root: str, name: str) -> EvaluationJob:
    """How the loss of a trial on held-out conversations is computed."""
    study, one = config.multilingual(root), run(config, root, name)
    given = {
        "run": one.id,
        "chat_format": config.models[one.model].chat_format,
        "max_length": study.training.max_length,
        "dtype": study.scoring.dtype,
        "matmul_precision": study.scoring.matmul_precision,
    }
    return validated(EvaluationJob, given, f"config: studies.{root}: run {name}")


def harness_run(config: Config, root: str, name: str, benchmark: str) -> HarnessRun:
    """The run of that id on a benchmark; raises `KeyError` for any other."""
    study = config.measured(root)
    listed = study.runs if isinstance(study, HarnessStudy) else []
    return {(one.run.id, one.benchmark): one for one in listed}[name, benchmark]


def importing(config: Config, root: str, name: str, benchmark: str) -> HarnessJob:
    """How sample logs of lm-evaluation-harness are imported."""
    logs = harness_run(config, root, name, benchmark)
    return HarnessJob(run=name, **logs.model_dump(exclude={"samples"}))


def samples(config: Config, root: str, name: str, benchmark: str) -> list[str]:
    """The logs to import, as LANGUAGE=GLOB."""
    patterns = harness_run(config, root, name, benchmark).samples
    return [f"{language}={pattern}" for language, pattern in patterns.items()]


def sample_files(config: Config, root: str, name: str, benchmark: str) -> list[str]:
    """The files of `samples`; raises `InputError` where a pattern matches none."""
    found: list[str] = []
    for language, pattern in harness_run(config, root, name, benchmark).samples.items():
        try:
            found += map(str, files.find(pattern))
        except InputError as error:
            where = f"config: studies.{root}: run {name} on {benchmark}: samples.{language}"
            raise InputError(f"{where}: {error}") from error
    return found


def resource_levels(config: Config) -> dict[str, Level]:
    """The resource level of each language."""
    levels = config.resource_levels
    return {language: level for level, members in levels.items() for language in members}


def metrics(config: Config, root: str) -> MetricsJob:
    """What is computed from records."""
    own = config.measured(root).metrics
    return MetricsJob(**dict(own), resource_levels=resource_levels(config))


def reliability(config: Config, root: str) -> Reliability:
    """How reliability diagrams are binned."""
    own = config.measured(root).metrics
    levels = resource_levels(config)
    return Reliability(readouts=own.readouts, bins=own.bins, resource_levels=levels)


def recalibrated(config: Config, root: str) -> bool:
    """Whether the readout of a study's figures has option scores, which temperatures divide."""
    return config.measured(root).figures.readout in get_args(Distribution)


def recalibration(config: Config, root: str) -> RecalibrationJob:
    """How the readout of the figures is recalibrated, and what is computed from it."""
    study = config.measured(root)
    raw = {
        **dict(study.metrics),
        "metrics": [name for name in study.metrics.metrics if name in RECALIBRATED],
        "readouts": [study.figures.readout],
        "resource_levels": resource_levels(config),
        "recalibration": study.recalibration,
        "reference_language": study.figures.reference_language,
    }
    return validated(RecalibrationJob, raw, f"config: studies.{root}")


def effects(config: Config, root: str) -> MetricsJob:
    """Of what the changes by SFT and smoothing are computed."""
    own = config.measured(root).metrics
    raw = {**dict(own), "metrics": tested(own), "resource_levels": resource_levels(config)}
    return validated(MetricsJob, raw, f"config: studies.{root}")


def tested(metrics: Metrics) -> list[Metric]:
    """The metrics of a study whose changes are tested."""
    return [name for name in metrics.metrics if name in get_args(Tested)]


def mixed_models(config: Config, root: str) -> MixedModels:
    """What mixed models of the same changes are fitted to."""
    own = config.measured(root).metrics
    raw = {
        **{key: getattr(own, key) for key in ("readouts", "bins")},
        "metrics": tested(own),
        "resource_levels": resource_levels(config),
        "seed": own.bootstrap.seed,
        "level": own.bootstrap.level,
    }
    return validated(MixedModels, raw, f"config: studies.{root}")


def claims(config: Config, root: str, claims: Claims) -> MeasuredClaims:
    """What claims are judged on."""
    raw = {**dict(metrics(config, root)), **dict(claims)}
    raw |= {"study": root, "kind": config.measured(root).kind}
    return validated(MeasuredClaims, raw, f"config: studies.{root}")


def panels(config: Config, root: str) -> dict[str, tuple[str, str | None]]:
    """What the figures of a study can show: the benchmark and the SFT data of each panel.

    Each by what the figure's path has before its name: nothing for the panel of the study's
    `figures`, which is the first, and `BENCHMARK.SFT/`, or `BENCHMARK/`, for any other.
    """
    study = config.measured(root)
    first = (study.figures.benchmark, study.figures.sft)
    found: dict[str, tuple[str, str | None]] = {"": first}
    if isinstance(study, Scored):
        sets = study.sft_data if isinstance(study, MultilingualStudy) else [None]
        for pair in product(study.benchmarks, sets):
            panel = f"{'.'.join(filter(None, pair))}/"
            if panel in found:  # a.b on c, and a on b.c
                raise InputError(
                    f"config: studies.{root}: figures of two benchmarks and SFT sets are named "
                    f"{panel[:-1]}, expected one"
                )
            if pair != first:
                found[panel] = pair
    return found


def shown_models(config: Config, root: str, benchmark: str) -> list[str]:
    """The models that a figure of a benchmark shows."""
    study = config.measured(root)
    if isinstance(study, Scored):
        return study.models
    return list(dict.fromkeys(one.model for one in study.runs if one.benchmark == benchmark))


def labelled(config: Config, root: str, benchmark: str) -> bool:
    """Whether some questions of a benchmark are known to be culturally sensitive or agnostic."""
    if not isinstance(config.measured(root), Scored):
        return False
    return config.benchmarks[benchmark].source.kind == "global_mmlu"


Shown = TypeVar("Shown", bound=Panel)


def figure(
    config: Config, root: str, schema: type[Shown], panel: str = "", model: str | None = None
) -> Shown:
    """What a figure or table shows, as the schema of its parameters.

    `model` is that of a figure of one model. Raises `KeyError` for a panel, or a model, that
    the study lacks.
    """
    study = config.measured(root)
    benchmark, sft = panels(config, root)[panel]
    if model is not None and model not in shown_models(config, root, benchmark):
        raise KeyError(model)
    if isinstance(study, Scored):
        options = config.benchmarks[benchmark].options
    else:
        options = study.figures.options
    known = {
        "study": root,
        "benchmark": benchmark,
        "readout": study.figures.readout,
        "sft": sft,
        "seed": study.figures.seed,
        "smoothing": study.figures.smoothing,
        "reference_language": study.figures.reference_language,
        "options": options,
        "model": model,
    }
    return schema.model_validate({key: known[key] for key in schema.model_fields})


def settings_table(config: Config, root: str) -> SettingsTable:
    """The runs whose settings and compute are listed, in the order of the table."""
    study = config.multilingual(root)
    made: list[tuple[Role, Run]] = [
        *(("base" if one.sft is None else "run", one) for one in runs(study).values()),
        *(("trial", one) for one in trials(study)),
    ]
    made.sort(key=lambda pair: (study.models.index(pair[1].model), ROLES.index(pair[0])))
    own_trials = adopted(config).get(root, [])
    return SettingsTable(
        study=root,
        benchmarks=study.benchmarks,
        tried=study.training.tried,
        runs=[
            SettingsRun(
                run=one.id,
                role=role,
                model=one.model,
                sft=one.sft,
                adopted=one.id in own_trials,
            )
            for role, one in made
        ],
    )


def settings_files(config: Config, root: str) -> list[str]:
    """The files that the table of settings is made of."""
    return settings.files(settings_table(config, root))
