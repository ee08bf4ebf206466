"""What a study ran, and the verdicts on claims, as the template of the page takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from multical import paths
from multical.claims import report
from multical.claims.schema import NOT_TESTABLE
from multical.config.chat_confidence import ChatConfidenceModel, ChatConfidenceStudy
from multical.config.schema import Config
from multical.config.studies import ApiStudy, MultilingualStudy, Run, runs
from multical.figures import msp_tables, tables
from multical.figures.language_names import language
from multical.labels import LEVELS, label
from multical.names import billions, readout_name
from multical.page import sources
from multical.page.contents import answered, levels_of, usage
from multical.provenance import usage as usages
from multical.workflow import captions, msp_params

KINDS = {
    "multilingual": "Paper 1: language models before and after fine-tuning, in many languages",
    "harness": "Runs of lm-evaluation-harness, from their sample logs",
    "api": "Models behind APIs, in many languages",
    "released": "Paper 2: chat models' confidence, from the answers that its authors released",
    "chat_confidence": "Paper 2: chat models' confidence, from our own runs",
}
#: A mark beside each verdict, since colour alone says nothing to some readers
MARKS = {"reproduced": "✓", "contradicted": "✗", "inconclusive": "?", "not testable here": "–"}

#: Smaller models, in billions of parameters, make a small demo
SMALL = 1

#: A term, and what there is to say of it
Fact = tuple[str, str]


def facts(config: Config, root: str) -> list[Fact]:
    """Models, data, languages, questions and hours of a study; without what it does not have."""
    found = _of_answers(config, root) if answered(config, root) else _of_languages(config, root)
    return [(term, text) for term, text in [*found, *_hours(config, root)] if text]


def scale(config: Config, root: str) -> str:
    """How large a study is, and what it is too small to say."""
    counted = _scale_of_answers if answered(config, root) else _scale_of_languages
    models, sizes, questions = counted(config, root)
    seeds = len(_seeds(config, root))
    small = bool(sizes) and max(sizes) < SMALL
    span = " to ".join(dict.fromkeys(map(billions, [min(sizes), max(sizes)] if sizes else [])))
    known = " where known" * (len(sizes) < models)
    parts = [
        _number(models, "model") + f" of {span} billion parameters{known}" * bool(sizes),
        *[_number(seeds, "training seed")] * bool(seeds),
        questions,
    ]
    told = [f"{'A small demo' if small else 'The study'}: {', '.join(parts)}."]
    told += ["It says little about larger models."] * small
    told += [f"The questions are {about}." for about in _abouts(config, root)]
    families = _families(config, root)
    if families is not None and families < models:
        told.append(
            f"All {models} are versions of {_number(families, 'model')}, but tests across models "
            "take them as independent."
        )
    told += ["One seed does not show how much trainings differ."] * (seeds == 1)
    return " ".join(told)


def _abouts(config: Config, root: str) -> list[str]:
    """What a reader of the questions of the finding must know, of each benchmark that has that."""
    study = config.studies[root]
    if isinstance(study, ChatConfidenceStudy):
        names = study.benchmarks
    else:
        names = [] if answered(config, root) else [config.measured(root).figures.benchmark]
    return list(dict.fromkeys(filter(None, (sources.about(config, name) for name in names))))


def _number(number: int, word: str) -> str:
    return f"one {word}" if number == 1 else f"{number} {word}s"


def _families(config: Config, root: str) -> int | None:
    """Of how many models those of a study are versions; None if that is not known."""
    study = config.studies[root]
    if not isinstance(study, ChatConfidenceStudy):
        return None
    return len({one.run if one.of is None else _trained(config, one).model for one in study.models})


def _trained(config: Config, one: ChatConfidenceModel) -> Run:
    return runs(config.multilingual(one.of or ""))[one.run]


def _seeds(config: Config, root: str) -> set[int]:
    """The training seeds of the runs of a study, its own or those of the study that trains them."""
    study = config.studies[root]
    if isinstance(study, MultilingualStudy):
        return set(study.seeds)
    if not isinstance(study, ChatConfidenceStudy):
        return set()
    trained = [_trained(config, one) for one in study.models if one.of]
    return {run.seed for run in trained if run.seed is not None}


def _scale_of_languages(config: Config, root: str) -> tuple[int, list[float], str]:
    """The number of models, the sizes that are known (in billions), and the questions in words."""
    rows = tables.read(paths.METRICS.format(root=root), "metrics")
    shown = config.measured(root).figures
    rows = rows[(rows["readout"] == shown.readout) & (rows["benchmark"] == shown.benchmark)]
    counts = rows.groupby("language")["n"].max()
    span = " to ".join(dict.fromkeys(f"{number:,.0f}" for number in (counts.min(), counts.max())))
    models = rows["model"].unique()
    entries = [config.models.get(name) for name in models]
    sizes = [one.parameters / 1e9 for one in entries if one and one.parameters]
    return len(models), sizes, f"{span} questions in {_each(len(counts), 'language')}"


def _scale_of_answers(config: Config, root: str) -> tuple[int, list[float], str]:
    models = msp_params.answers(config, root, partial=True).models
    path = paths.STUDY_TABLE.format(root=root, name="datasets.csv")
    counts = msp_tables.read_table(path, ["dataset", "questions"])["questions"]
    return (
        len(models),
        [model.size for model in models if model.size],
        f"{counts.sum():,.0f} questions of {_number(len(counts), 'data set')}, each answered "
        "with a letter",
    )


def _each(number: int, word: str) -> str:
    return f"one {word}" if number == 1 else f"each of {number} {word}s"


def _of_languages(config: Config, root: str) -> Iterator[Fact]:
    study = config.measured(root)
    rows = tables.read(paths.METRICS.format(root=root), "metrics")
    rows = rows[(rows["metric"] == "accuracy") & (rows["readout"] == study.figures.readout)]
    yield "Models", ", ".join(map(_sized(config), rows["model"].unique()))
    if isinstance(study, MultilingualStudy):
        yield (
            "Fine-tuning",
            (
                f"{len(runs(study)) - len(study.models)} runs: SFT data "
                f"{', '.join(study.sft_data)}; label smoothing "
                f"{', '.join(f'{b:g}' for b in study.smoothing)}; training seeds "
                f"{', '.join(map(str, study.seeds))}"
            ),
        )
    yield "Benchmarks", "; ".join(_described(config, rows["benchmark"].unique()))
    known = {code: level for level, codes in levels_of(config, root).items() for code in codes}
    asked = sorted(rows["language"].unique())
    for level in LEVELS:
        own = [language(code) for code in asked if known.get(code, LEVELS[-1]) == level]
        yield f"Languages, {level}-resource", f"{len(own)}: {', '.join(own)}" if own else ""
    yield "Questions", captions.About(config, root).questions
    yield "Answers", f"{rows['n'].sum():,.0f} answers of {_number(rows['run'].nunique(), 'run')}"
    readout = study.figures.readout
    yield "Confidence", f"read in figures by {readout_name(readout)} (in files: {readout})"


def _described(config: Config, benchmarks: Iterable[str]) -> Iterator[str]:
    """Benchmarks, each with what a reader of its questions must know."""
    for name in benchmarks:
        about = sources.about(config, name)
        yield f"{name} ({about})" if about else name


def _sized(config: Config) -> Any:
    """A function that names a model with its size."""

    def sized(name: str) -> str:
        entry = config.models.get(name)
        if entry is None or entry.parameters is None:
            return name
        return f"{name} ({billions(entry.parameters / 1e9)} billion parameters)"

    return sized


def _of_answers(config: Config, root: str) -> Iterator[Fact]:
    study = msp_params.study_at(config, root)
    if isinstance(study, ChatConfidenceStudy):
        yield "Models", ", ".join(_identified(config, study))
    else:
        yield "Models", ", ".join(model.name for model in study.models)
    if left_out := msp_params.headline(config, root).left_out:
        yield "Left out of means", f"{', '.join(left_out)}: without a whole data set"
    path = paths.STUDY_TABLE.format(root=root, name="datasets.csv")
    table = msp_tables.read_table(path, ["dataset", "questions"]).set_index("dataset")
    counts = table["questions"].to_dict()
    yield (
        "Data sets",
        ", ".join(
            f"{one.name} ({counts[one.id]:,.0f} questions)" if one.id in counts else one.name
            for one in study.datasets
        ),
    )
    yield "Phrasings of the prompt", ", ".join(study.prompt_names)
    if isinstance(study, ChatConfidenceStudy):
        yield "Benchmarks", "; ".join(_described(config, study.benchmarks))
        yield "Examples before the question", str(study.scoring.num_fewshot or "none")


def _identified(config: Config, study: ChatConfidenceStudy) -> Iterator[str]:
    """The names of models, each with what the study that trains it, or the config, calls it."""
    for one in study.models:
        known = one.run
        if one.of is not None:
            known = run_name(config.multilingual(one.of), _trained(config, one))
        yield one.name if known == one.name else f"{one.name} ({known})"


def run_name(study: MultilingualStudy, run: Run) -> str:
    """A run as figures name it: model and condition; and what else tells it from other runs."""
    parts = [run.model, label(run.smoothing)]
    parts += [f"SFT data {run.sft}"] * (run.sft is not None and len(study.sft_data) > 1)
    parts += [f"seed {run.seed}"] * (run.seed is not None and len(study.seeds) > 1)
    return ", ".join(parts)


def _hours(config: Config, root: str) -> Iterator[Fact]:
    """The time that models took, as their jobs recorded it, and on what."""
    if isinstance(config.studies[root], MultilingualStudy):
        table = pd.read_csv(paths.STUDY_TABLE.format(root=root, name="settings.csv"))
        for work in ("training", "scoring"):
            yield (
                f"Time of {work}",
                _time(table[f"{work}_hours"].sum(), table[f"{work}_gpu_hours"].sum()),
            )
        yield "Hardware", "; ".join(sorted(set("; ".join(table["hardware"]).split("; "))))
    elif used := [usages.read(path) for path in usage(config, root)]:
        hours, gpus = (sum(job[key] for job in used) / 3600 for key in ("seconds", "gpu_seconds"))
        if isinstance(config.studies[root], ApiStudy):
            yield "Time of asking", _duration(hours)
        else:
            yield "Time of scoring", _time(hours, gpus)


def _time(hours: float, gpu_hours: float) -> str:
    text = _duration(hours)
    return f"{text} ({gpu_hours:,.1f} GPU-hours)" if gpu_hours else f"{text}, without a GPU"


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 0.1 else f"{hours * 3600:.1f} seconds"


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The claims of a study, each with its verdict and what that rests on; untestable ones last."""
    shown = [
        {
            "name": name,
            "says": claim["says"],
            "source": claim["source"],
            "verdict": claim["verdict"],
            "mark": MARKS[claim["verdict"]],
            "reason": claim["reason"],
            "study": claim.get("study", document["study"]),
            "parts": [
                {
                    "result": report.result(claim, part),
                    "judgement": report.judgement(claim, part),
                    "evidence": part["evidence"],
                    "tests": [_joined(report.test_row(part, test)) for test in part["tests"]],
                    "variants": [
                        _joined(report.variant_row(part, one)) for one in part["variants"]
                    ],
                }
                for part in claim["parts"]
            ],
        }
        for name, claim in document["claims"].items()
    ]
    return sorted(shown, key=lambda claim: claim["verdict"] == NOT_TESTABLE)


def _joined(cells: list[list[str]]) -> list[str]:
    """Cells of one line each, from cells of lines."""
    return ["; ".join(lines) for lines in cells]
