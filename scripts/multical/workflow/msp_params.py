"""The parameters of each job of paper 2, and the files that its studies make."""

from __future__ import annotations

from typing import Literal

from multical import paths
from multical.claims.params import AnswerClaims
from multical.claims.schema import Claims
from multical.config.chat_confidence import ChatConfidenceStudy, ReleasedStudy
from multical.config.schema import Config
from multical.config.studies import scored
from multical.data.release_params import Released
from multical.errors import InputError
from multical.figures.params import (
    AbstentionTables,
    AnswerDataset,
    AnswerHeadline,
    AnswerModel,
    Answers,
    AurocTables,
    CalibrationFigure,
    CalibrationTables,
    ChangesTable,
    Compared,
    ComparedFigure,
    IntervalTable,
    Method,
    PromptsFigure,
    PromptText,
)
from multical.metrics.params import Split
from multical.workflow import job_params, scoring_params

Paper2 = ReleasedStudy | ChatConfidenceStudy

TABLES = (
    "auroc", "mann_whitney", "cells", "datasets", "one_sample", "intervals", "calibration", "platt",
    "correlations", "points", "scores", "abstention", "thresholds",
)  # fmt: skip
#: Tables of studies that are compared with another one
CHANGES = ("changes", "mean_changes")
#: Figures that show all data sets together, or one of them
FIGURES = (
    "calibration", "calibration_platt", "accuracy_vs_calibration", "accuracy_vs_calibration_platt",
    "accuracy_vs_auroc", "size_vs_auroc", "accuracy_vs_auroc_by_phrasing",
    "size_vs_auroc_by_phrasing", "score_vs_threshold", "score_vs_k",
)  # fmt: skip
#: The same figures with confidences that need the logits of all letters
OWN_FIGURES = ("accuracy_vs_auroc_margin_entropy", "score_vs_threshold_margin_entropy")
#: The confidences in FIGURES, and in OWN_FIGURES
MAIN: tuple[Method, ...] = ("msp", "maxlogit")
OWN: tuple[Method, ...] = ("margin", "entropy")
ALL = (*MAIN, *OWN)


def study_at(config: Config, root: str) -> Paper2:
    """The study at `root`; raises `InputError` if it is of another paper."""
    study = config.studies[root]
    if not isinstance(study, Paper2):
        raise InputError(
            f"config: studies.{root}: kind {study.kind}, expected released or chat_confidence"
        )
    return study


def records(config: Config, root: str) -> list[str]:
    """The records of a study."""
    study = study_at(config, root)
    if isinstance(study, ReleasedStudy):
        return [paths.RELEASED_RECORDS.format(root=root)]
    return [paths.RECORDS.format(root=root, run=run, benchmark=name) for run, name in scored(study)]


def shown(config: Config, root: str) -> list[tuple[Literal["figure", "table"], str, str]]:
    """Every figure and table of a study: its form, its panel and its name."""
    study = study_at(config, root)
    names = [*FIGURES, *(OWN_FIGURES if methods(config, root, OWN) else ())]
    once = ["dataset_bars", *["prompts"] * isinstance(study, ChatConfidenceStudy)]
    tables = [*TABLES, *(CHANGES if study.compared_with else ())]
    return [
        *(("figure", "", name) for name in [*names, *once]),
        *(("table", "", name) for name in tables),
        *(("figure", panel, name) for panel in panels(config, root) if panel for name in names),
    ]


def products(config: Config, root: str) -> list[str]:
    """The files of every table and figure of a study."""
    return [
        paths.STUDY_TABLE.format(root=root, name=f"{name}.csv")
        if form == "table"
        else paths.FIGURE.format(root=root, panel=panel, name=f"{name}.pdf")
        for form, panel, name in shown(config, root)
    ]


def panels(config: Config, root: str) -> dict[str, str]:
    """The data set of each panel, by the folder in the path of its figures; `all` for none."""
    ids = [dataset.id for dataset in study_at(config, root).datasets]
    return {"": "all"} | {f"{name}/": name for name in ids}


def release(config: Config, root: str) -> Released:
    """The released outputs that are imported."""
    study = config.studies[root]
    return Released(**{key: getattr(study, key) for key in Released.model_fields})


def answers(config: Config, root: str, partial: bool = False) -> Answers:
    """The models and data sets of a study.

    A model that lacks a data set has no means over data sets, and counts only if `partial`.
    """
    study = study_at(config, root)
    if isinstance(study, ReleasedStudy):
        left_out = [] if partial else study.without_a_cell
        models = [
            AnswerModel(**model.model_dump(exclude={"missing"}))
            for model in study.models
            if model.file not in left_out
        ]
        datasets = [
            AnswerDataset(id=dataset.id, name=dataset.name, benchmark=dataset.id)
            for dataset in study.datasets
        ]
    else:
        models = [
            AnswerModel(
                file=model.run,
                name=model.name,
                size=model.size,
                # an API returns probabilities alone
                max_logit=not job_params.is_behind_api(config, root, model.run),
            )
            for model in study.models
        ]
        datasets = [AnswerDataset(**dataset.model_dump()) for dataset in study.datasets]
    return Answers(study=root, models=models, datasets=datasets)


def methods(config: Config, root: str, among: tuple[Method, ...] = ALL) -> list[Method]:
    """The confidences in `among` that a study has for any of its models."""
    study = study_at(config, root)
    names = study.confidences if isinstance(study, ChatConfidenceStudy) else ["msp", "max_logit"]
    wanted = {name.replace("_", "") for name in names}
    if not any(model.max_logit for model in answers(config, root).models):
        wanted.discard("maxlogit")
    return [method for method in among if method in wanted]


def compared(config: Config, root: str) -> Compared:
    """The models, data sets and confidences of a study."""
    return Compared(**dict(answers(config, root)), methods=methods(config, root))


def auroc(config: Config, root: str) -> AurocTables:
    """What AUROCs are computed for, and which cells count as significant."""
    significance = study_at(config, root).significance
    return AurocTables(**dict(compared(config, root)), significance=significance)


def intervals(config: Config, root: str) -> IntervalTable:
    """What intervals are computed for, and how."""
    bootstrap = study_at(config, root).bootstrap
    return IntervalTable(**dict(compared(config, root)), bootstrap=bootstrap)


def changes(config: Config, root: str) -> ChangesTable:
    """What is compared with the study that `compared_with` names.

    Raises `InputError` if there is none, or no model or data set in common.
    """
    study = study_at(config, root)
    if study.compared_with is None:
        raise InputError(f"config: studies.{root}.compared_with: found null, expected a study")
    other = study.compared_with.study
    own, before = answers(config, root, partial=True), answers(config, other, partial=True)
    runs = {model.file for model in own.models} & {model.file for model in before.models}
    ids = {item.id for item in own.datasets} & {item.id for item in before.datasets}
    if not runs or not ids:
        raise InputError(
            f"config: studies.{root}.compared_with: no model or no data set is also one of {other}"
        )
    own, before = (
        Answers(
            study=one.study,
            models=[model for model in one.models if model.file in runs],
            datasets=[item for item in one.datasets if item.id in ids],
        )
        for one in (own, before)
    )
    prompts = zip(study.prompt_names, study_at(config, other).prompt_names, strict=True)
    return ChangesTable(
        **dict(own),
        before=before,
        prompts=dict(prompts),
        unpaired=study.compared_with.unpaired,
        bins=study.bins,
        bootstrap=study.bootstrap,
    )


def compared_records(config: Config, root: str) -> list[str]:
    """The records of the study that a study is compared with."""
    other = study_at(config, root).compared_with
    return records(config, other.study) if other else []


def headline(config: Config, root: str) -> AnswerHeadline:
    """The study, the models that its tables leave out, and the accuracy of a guess."""
    shown = answers(config, root).names
    everything = answers(config, root, partial=True).names
    left_out = [name for file, name in everything.items() if file not in shown]
    return AnswerHeadline(study=root, left_out=left_out, guess=guess(config, root))


def guess(config: Config, root: str) -> float | None:
    """The mean accuracy of a guess over the data sets; None if numbers of options vary in one.

    None of released outputs, whose options are not known.
    """
    study = study_at(config, root)
    if isinstance(study, ReleasedStudy):
        return None
    options = [config.benchmarks[dataset.benchmark].options for dataset in study.datasets]
    known = [1 / number for number in options if number]
    return sum(known) / len(known) if len(known) == len(options) else None


def calibration(config: Config, root: str) -> CalibrationTables:
    """What calibration errors are computed for, and how."""
    study = study_at(config, root)
    split = Split(seed=study.abstention.seed, main_k=study.abstention.main_k)
    return CalibrationTables(**dict(answers(config, root)), bins=study.bins, split=split)


def abstention(config: Config, root: str) -> AbstentionTables:
    """How thresholds are chosen and scored."""
    section = study_at(config, root).abstention
    return AbstentionTables(**dict(compared(config, root)), abstention=section)


def compared_figure(
    config: Config, root: str, panel: str, among: tuple[Method, ...]
) -> ComparedFigure:
    """A figure of the confidences in `among`; raises `KeyError` for an unknown panel."""
    return ComparedFigure(
        **dict(answers(config, root)),
        methods=methods(config, root, among),
        dataset=panels(config, root)[panel],
    )


def calibration_figure(config: Config, root: str, panel: str) -> CalibrationFigure:
    """A figure of calibration errors, whose definition differs for released outputs (v2)."""
    released = isinstance(study_at(config, root), ReleasedStudy)
    return CalibrationFigure(
        **dict(answers(config, root)),
        dataset=panels(config, root)[panel],
        error="calibration_error_width" if released else "calibration_error_cells",
    )


def prompts_figure(config: Config, root: str) -> PromptsFigure:
    """The prompts of a study, with their headings in the language of its first data set."""
    study = config.chat_confidence(root)
    language = study.datasets[0].language
    prompts = [scoring_params.prompt(config, name, [language]) for name in study.scoring.prompts]
    texts = [
        PromptText(**prompt.model_dump(exclude={"cloze", "unconditional"})) for prompt in prompts
    ]
    return PromptsFigure(study=root, prompts=texts, language=language)


def shown_benchmark(config: Config, root: str) -> str:
    """The benchmark whose question the figure of prompts shows."""
    return config.chat_confidence(root).datasets[0].benchmark


def claims(config: Config, root: str, claims: Claims) -> AnswerClaims:
    """How claims are judged on a study."""
    study = study_at(config, root)
    return AnswerClaims(
        **dict(answers(config, root)),
        **dict(claims),
        kind=study.kind,
        bins=study.bins,
        bootstrap=study.bootstrap,
        schemes=study.abstention.schemes,
    )
