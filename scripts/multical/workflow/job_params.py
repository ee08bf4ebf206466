"""The parameters of each job: all that it depends on in the config, and nothing else.

Every function gives the parameters of one job as a pydantic model or as plain data, from which
`multical.params.canonical` makes the string that Snakemake compares. Jobs that score are in
`scoring_params`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
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
    Measured,
    MultilingualStudy,
    Run,
    Scored,
    runs,
    trials,
)
from multical.data.benchmark_params import BenchmarkJob, ChoiceBenchmark, QuestionFile
from multical.data.harness_params import HarnessJob
from multical.data.outlines import outline, reported
from multical.data.sft_params import CldrSft, SftDataJob, SftSource
from multical.errors import InputError
from multical.figures import needs, training_log
from multical.figures import settings_table as settings
from multical.figures.params import (
    Panel,
    SettingsRun,
    SettingsTable,
    TrainingFigure,
    TrainingRun,
)
from multical.labels import KnownLevel
from multical.metrics import declared
from multical.metrics.params import Distribution, Metric, Metrics, MetricsSection
from multical.models.api_params import ApiModel
from multical.models.evaluation_params import EvaluationJob
from multical.models.fetch_params import FetchJob
from multical.models.params import TrainingJob
from multical.params import Strict, canonical, validated
from multical.stats.params import (
    FertilityJob,
    MetricsJob,
    RecalibrationJob,
    Reliability,
)
from multical.workflow import own_files

Settings = dict[str, Any]
#: Roles of runs in the table of settings, in the table's order
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
    """The studies inside the folder `root` of a study; none for `results`, which has all."""
    return [part for part in config.studies if root != "results" and part.startswith(f"{root}/")]


def trials_of(config: Config, root: str, model: str, sft: str) -> list[Run]:
    """The trials of learning rates for a model and SFT data; empty where there is no choice."""
    return config.multilingual(root).trials_of.get((model, sft), [])


def learning_rate_file(config: Config, root: str, name: str) -> list[str]:
    """The file of the learning rate chosen for a run; empty if there is no choice."""
    sft_run = run(config, root, name)
    if sft_run.learning_rate is not None or not config.multilingual(root).training.tried:
        return []
    return [paths.LEARNING_RATE.format(root=root, model=sft_run.model, sft=sft_run.sft)]


def adopted(config: Config) -> dict[str, list[str]]:
    """By study, the runs that adopt a trial, and are not trained themselves."""
    names = {
        root: sorted({Run(x.model, x.sft, x.smoothing, x.seed).id for x in trials(study)})
        for root, study in config.studies.items()
        if isinstance(study, MultilingualStudy)
    }
    return {root: ids for root, ids in names.items() if ids}


def trained(config: Config, root: str) -> list[Run]:
    """The SFT runs of a study that are trained: the trials, and the runs that adopt no trial."""
    study, adopting = config.multilingual(root), set(adopted(config).get(root, []))
    return [run for run in study.by_id.values() if run.sft is not None and run.id not in adopting]


def model(config: Config, name: str) -> FetchJob:
    """Where a base model comes from."""
    source = config.models[name].source
    if isinstance(source, ApiModel):
        raise KeyError(name)
    return FetchJob(source=source)


def benchmark(config: Config, name: str, part: str = "") -> BenchmarkJob:
    """Where a benchmark's questions come from; for the part `FEWSHOT`, its few-shot examples."""
    source = config.benchmarks[name].source
    if part:  # sizes (rows) only serve `make plan`
        return BenchmarkJob(source=_without(source, "questions", "split", "rows"), examples=True)
    if isinstance(source, ChoiceBenchmark):  # its examples are questions, and no longer asked
        return BenchmarkJob(source=source)
    return BenchmarkJob(source=_without(source, "fewshot", "fewshot_split", "rows"))


def with_fewshot(config: Config) -> list[str]:
    """The benchmarks whose few-shot examples are made here."""
    sources = {name: entry.source for name, entry in config.benchmarks.items()}
    return [name for name, source in sources.items() if getattr(source, "has_examples", False)]


def sft_data(config: Config, name: str, part: str = "") -> SftDataJob:
    """Where SFT data come from; for the part `HELDOUT`, the held-out conversations."""
    # sizes only serve `make plan`; what is held out does not depend on how many are trained on
    unused = ("rows", "mean_tokens", *(["examples"] if part else []))
    source = _without(config.sft_data[name].source, *unused)
    return SftDataJob(source=source, held_out=bool(part))


def with_held_out(config: Config) -> list[str]:
    """The SFT data with held-out conversations."""
    sources = {name: entry.source for name, entry in config.sft_data.items()}
    return [name for name, source in sources.items() if held_out_of(source)]


def held_out_of(source: SftSource) -> int:
    """The number of held-out conversations."""
    return 0 if isinstance(source, CldrSft) else source.held_out


Source = TypeVar("Source", bound=Strict)


def _without(source: Source, *keys: str) -> Source:
    """A source with some keys at their defaults."""
    return type(source).model_validate(source.model_dump(exclude={*keys}))


def training(config: Config, root: str, name: str) -> TrainingJob:
    """How a run is trained; learning_rate is null if `learning_rate_file` gives it."""
    sft_run, section = run(config, root, name), config.multilingual(root).training
    raw = {
        **section.model_dump(exclude={"report_to"}),
        "run": sft_run.id,
        "smoothing": sft_run.smoothing,
        "seed": sft_run.seed,
        "chat_format": config.models[sft_run.model].chat_format,
        "chat_date": config.models[sft_run.model].chat_date,
        "learning_rate": sft_run.learning_rate if section.tried else section.learning_rate,
    }
    return validated(TrainingJob, raw, f"config: studies.{root}: run {name}")


def scratch_key(name: str, settings: str, code: str) -> str:
    """The name of a job's scratch folder, from which other settings or code never resume.

    `settings` are the job's canonical parameters, and `name` says what it makes.
    """
    text = f"[{settings},{canonical(code)}]"
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def evaluating(config: Config, root: str, name: str) -> EvaluationJob:
    """How the loss of a trial on held-out conversations is computed."""
    study, trial = config.multilingual(root), run(config, root, name)
    raw = {
        "run": trial.id,
        "chat_format": config.models[trial.model].chat_format,
        "chat_date": config.models[trial.model].chat_date,
        "max_length": study.training.max_length,
        "dtype": study.scoring.dtype,
        "matmul_precision": study.scoring.matmul_precision,
    }
    return validated(EvaluationJob, raw, f"config: studies.{root}: run {name}")


def harness_run(config: Config, root: str, name: str, benchmark: str) -> HarnessRun:
    """The run of that id on a benchmark; raises `KeyError` for any other."""
    study = config.measured(root)
    listed = study.runs if isinstance(study, HarnessStudy) else []
    return {(logs.run.id, logs.benchmark): logs for logs in listed}[name, benchmark]


def importing(config: Config, root: str, name: str, benchmark: str) -> HarnessJob:
    """How sample logs of lm-evaluation-harness are imported."""
    logs = harness_run(config, root, name, benchmark)
    return HarnessJob(run=name, **logs.model_dump(exclude={"samples"}))


def samples(config: Config, root: str, name: str, benchmark: str) -> list[str]:
    """The logs to import, as LANGUAGE=GLOB."""
    patterns = harness_run(config, root, name, benchmark).samples
    return [f"{language}={pattern}" for language, pattern in patterns.items()]


def sample_files(config: Config, root: str, name: str, benchmark: str) -> list[str]:
    """The files of `samples`; none if all are gone, and the records of them came in a bundle.

    Else raises `InputError` where a pattern matches none.
    """
    matches: list[str] = []
    wrong: list[str] = []
    for language, pattern in harness_run(config, root, name, benchmark).samples.items():
        try:
            matches += map(str, files.find(pattern))
        except InputError as error:
            where = f"config: studies.{root}: run {name} on {benchmark}: samples.{language}"
            wrong.append(f"{where}: {error}")
    records = paths.RECORDS.format(root=root, run=name, benchmark=benchmark)
    if wrong and (matches or not own_files.may_be_gone(records)):
        raise InputError(wrong[0])
    return matches


def languages(config: Config, root: str) -> set[str] | None:
    """The languages of a study; None if only a file tells them that is not there yet."""
    study = config.measured(root)
    if isinstance(study, HarnessStudy):
        return {language for logs in study.runs for language in logs.samples}
    asked: set[str] = set()
    for name in study.benchmarks:
        listed: Collection[str] | None = config.languages(study, name)
        if listed is None and (path := question_file(config, name)):
            report = paths.BENCHMARK_PART_NAMES.format(benchmark=name, part="")
            listed = outline(path) or reported(report)  # a bundle does not have the questions
        if listed is None:
            return None
        asked |= set(listed)
    return asked


def question_file(config: Config, benchmark: str) -> str | None:
    """The local file of a benchmark; None if its questions come from elsewhere."""
    source = config.benchmarks[benchmark].source
    return source.path if isinstance(source, QuestionFile) else None


def resource_levels(config: Config, root: str) -> dict[str, KnownLevel]:
    """The resource level of each language of a study that has one.

    Those of other languages are left out, so that no job is stale if they change.
    """
    asked = languages(config, root)
    return {
        language: level
        for level, members in config.resource_levels.items()
        for language in members
        if asked is None or language in asked
    }


def metrics(config: Config, root: str) -> MetricsJob:
    """The metrics that are computed from records."""
    section = computed(config.measured(root).metrics)
    return MetricsJob(**section, resource_levels=resource_levels(config, root))


def computed(section: MetricsSection) -> dict[str, Any]:
    """The keys of a study's `metrics`, without those of reliability diagrams alone."""
    return {name: getattr(section, name) for name in Metrics.model_fields}


def fertility(config: Config, root: str) -> FertilityJob:
    """The languages whose fertility is computed."""
    return FertilityJob(resource_levels=resource_levels(config, root))


def reliability(config: Config, root: str) -> Reliability:
    """How reliability diagrams are binned."""
    section = config.measured(root).metrics
    levels = resource_levels(config, root)
    return Reliability(
        readouts=section.readouts,
        bins=section.bins,
        least=section.least,
        least_questions=section.least_questions,
        resource_levels=levels,
    )


def recalibrated(config: Config, root: str) -> bool:
    """Whether the readout of a study's figures has option scores, which recalibration needs."""
    return config.measured(root).figures.readout in get_args(Distribution)


def left_out(config: Config, root: str, benchmark: str) -> set[str]:
    """The figures and tables that a study's headline goes without, since they need what it has not.

    `figures.needs` has their names.
    """
    study = config.measured(root)
    names = set() if labelled(config, root, benchmark) else {"culture"}
    if not isinstance(study, MultilingualStudy):  # the others have no tokens of texts
        names.add("ece_vs_fertility")
    if not recalibrated(config, root):
        names |= {"recalibration_transfer", "temperatures_by_lang", "recalibration"}
    return names if study.figures.sft else names | needs.COMPARISONS


def check_products(config: Config, root: str, products: Sequence[str] = ()) -> None:
    """Raise `InputError` if a study cannot have some figures or tables, by default its headline's.

    It names all metrics that are missing.
    """
    study = config.measured(root)
    benchmark = study.figures.benchmark
    names = products or [
        name
        for name in (*needs.METRICS, *needs.COMPARISONS)
        if name not in left_out(config, root, benchmark)
    ]
    faults = needs.faults(
        names, study.figures.readout, study.metrics.metrics, study.figures.sft is not None
    )
    for key, sentence in faults:
        raise InputError(f"config: studies.{root}.{key}: {sentence}")


def recalibration(config: Config, root: str) -> RecalibrationJob:
    """How the readout of the figures is recalibrated, and the metrics of the result."""
    study = config.measured(root)
    raw = {
        **computed(study.metrics),
        "metrics": [name for name in study.metrics.metrics if name in declared.RECALIBRATED],
        "readouts": [study.figures.readout],
        "resource_levels": resource_levels(config, root),
        "recalibration": study.recalibration,
        "reference_language": study.figures.reference_language,
    }
    return validated(RecalibrationJob, raw, f"config: studies.{root}")


def effects(config: Config, root: str) -> MetricsJob:
    """The metrics whose changes by SFT and smoothing are computed."""
    section = config.measured(root).metrics
    raw = computed(section) | {"metrics": tested(section)}
    raw |= {"resource_levels": resource_levels(config, root)}
    return validated(MetricsJob, raw, f"config: studies.{root}")


def tested(metrics: Metrics) -> list[Metric]:
    """The metrics of a study whose changes are tested."""
    return [name for name in metrics.metrics if name in declared.TESTED]


def claims(config: Config, root: str, claims: Claims) -> MeasuredClaims:
    """How claims are judged on a study."""
    raw = {**dict(metrics(config, root)), **dict(claims)}
    raw |= {"study": root, "kind": config.measured(root).kind}
    return validated(MeasuredClaims, raw, f"config: studies.{root}")


def panels(config: Config, root: str) -> dict[str, tuple[str, str | None]]:
    """The panels that figures of a study can show, each with its benchmark and SFT data.

    The keys are the folders in the paths of figures: empty for the first panel, which the study's
    `figures` names, and `BENCHMARK.SFT/` or `BENCHMARK/` for all others.
    """
    study = config.measured(root)
    first = (study.figures.benchmark, study.figures.sft)
    pairs: dict[str, tuple[str, str | None]] = {"": first}
    if isinstance(study, Scored):
        sets = study.sft_data if isinstance(study, MultilingualStudy) else [None]
        for pair in product(study.benchmarks, sets):
            panel = f"{'.'.join(filter(None, pair))}/"
            if panel in pairs:  # benchmark a.b with SFT data c, and benchmark a with SFT data b.c
                raise InputError(
                    f"config: studies.{root}: figures of two benchmarks and SFT sets are named "
                    f"{panel[:-1]}, expected one"
                )
            if pair != first:
                pairs[panel] = pair
    return pairs


def shown_models(config: Config, root: str, benchmark: str) -> list[str]:
    """The models that a figure of a benchmark shows."""
    study = config.measured(root)
    if isinstance(study, Scored):
        return study.models
    return list(dict.fromkeys(run.model for run in study.runs if run.benchmark == benchmark))


def labelled(config: Config, root: str, benchmark: str) -> bool:
    """Whether a benchmark labels some questions as culturally sensitive or agnostic."""
    if not isinstance(config.measured(root), Scored):
        return False
    return getattr(config.benchmarks[benchmark].source, "has_cultures", False)


def shown_seeds(study: Measured) -> list[int]:
    """The training seeds that figures show: one, or all, of which they show the mean."""
    if study.figures.seed is not None:
        return [study.figures.seed]
    return study.seeds if isinstance(study, MultilingualStudy) else []


Shown = TypeVar("Shown", bound=Panel)


def figure(
    config: Config, root: str, schema: type[Shown], panel: str = "", model: str | None = None
) -> Shown:
    """The parameters of a figure or table, as an instance of `schema`.

    `model` is set for figures of one model. Raises `KeyError` for a panel or a model that the
    study lacks.
    """
    study = config.measured(root)
    benchmark, sft = panels(config, root)[panel]
    if model is not None and model not in shown_models(config, root, benchmark):
        raise KeyError(model)
    if isinstance(study, Scored):
        options = config.benchmarks[benchmark].options
    else:
        options = study.figures.options
    values = {
        "study": root,
        "benchmark": benchmark,
        "readout": study.figures.readout,
        "sft": sft,
        "seed": seeds[0] if len(seeds := shown_seeds(study)) == 1 else None,
        "smoothing": study.figures.smoothing,
        "least_questions": study.metrics.least_questions,
        "level": study.metrics.bootstrap.level,
        "reference_language": study.figures.reference_language,
        "language_names": config.figures.language_names,
        "options": options,
        "model": model,
    }
    return schema.model_validate({key: values[key] for key in schema.model_fields})


def settings_table(config: Config, root: str) -> SettingsTable:
    """The runs whose settings and compute are listed, in the order of the table."""
    study = config.multilingual(root)
    rows: list[tuple[Role, Run]] = [
        *(("base" if run.sft is None else "run", run) for run in runs(study).values()),
        *(("trial", trial) for trial in trials(study)),
    ]
    ranks = {model: rank for rank, model in enumerate(study.models)}
    rows.sort(key=lambda row: (ranks[row[1].model], ROLES.index(row[0])))
    adopting = set(adopted(config).get(root, []))
    return SettingsTable(
        study=root,
        benchmarks=study.benchmarks,
        tried=study.training.tried,
        runs=[
            SettingsRun(
                run=run.id, role=role, model=run.model, sft=run.sft, adopted=run.id in adopting
            )
            for role, run in rows
        ],
    )


def training_figure(config: Config, root: str) -> TrainingFigure:
    """The SFT runs whose loss logs are drawn."""
    study = config.multilingual(root)
    return TrainingFigure(
        study=root,
        runs=[
            TrainingRun(run=run.id, model=run.model, sft=run.sft, smoothing=run.smoothing)
            for run in runs(study).values()
            if run.sft is not None and run.smoothing is not None
        ],
        max_grad_norm=study.training.max_grad_norm,
    )


def loss_logs(config: Config, root: str) -> list[str]:
    """The files that the figure of trainings is made from."""
    return training_log.files(training_figure(config, root))


def report_to(config: Config, root: str) -> str:
    """The tool that shows trainings while they run. No result depends on it."""
    return config.multilingual(root).training.report_to


def settings_files(config: Config, root: str) -> list[str]:
    """The files that the table of settings is made from."""
    return settings.files(settings_table(config, root))
