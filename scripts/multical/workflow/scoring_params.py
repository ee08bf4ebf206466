"""What each job that asks a model depends on in the config: a run, a benchmark, its prompts.

As in `plan`, every function gives the settings of one job as plain data.
"""

from __future__ import annotations

import hashlib
from typing import Any

from multical.config.chat_confidence import ChatConfidenceStudy
from multical.config.schema import Config
from multical.config.studies import Run
from multical.data.sources import QuestionFile
from multical.params import canonical
from multical.workflow.job_params import run

Settings = dict[str, Any]


def shards(config: Config, root: str, benchmark: str) -> dict[str, list[str] | None]:
    """The jobs that score a run on a benchmark, as what their file's name has after it.

    Each with its languages: `/fr`, or `/en+fr` for two. One job of all languages, the name
    empty, where the study does not cut them.
    """
    asking = config.asking(root)
    if isinstance(asking, ChatConfidenceStudy):
        return {"": asking.languages(benchmark)}
    study = config.multilingual(root)
    languages, size = config.languages(study, benchmark), study.scoring.languages_per_job
    if size is None or languages is None:
        return {"": study.languages}
    groups = [languages[i : i + size] for i in range(0, len(languages), size)]
    return {f"/{'+'.join(group)}": group for group in groups}


def fewshot_file(config: Config, root: str, benchmark: str) -> list[str]:
    """The file of few-shot examples, if the study shows any."""
    if not config.asking(root).scoring.num_fewshot:
        return []
    source = config.benchmarks[benchmark].source
    if isinstance(source, QuestionFile) and source.fewshot is not None:
        return [source.fewshot]
    return [f"results/inputs/benchmarks/{benchmark}.fewshot.parquet"]


def scoring(config: Config, root: str, name: str, benchmark: str, shard: str = "") -> Settings:
    """How a run is scored on a benchmark, in the languages of one of its `shards`.

    Raises `KeyError` for another shard, as for another run.
    """
    if isinstance(config.asking(root), ChatConfidenceStudy):
        return msp_scoring(config, root, name, benchmark)
    study, one = config.multilingual(root), run(config, root, name)
    languages = shards(config, root, benchmark)[shard]
    settings = study.scoring.model_dump(exclude={"prompt", "languages_per_job"})
    listed = settings["multiple_choice_languages"]
    if listed is not None:
        kept = [name for name in listed if not shard or not languages or name in languages]
        settings["multiple_choice_languages"] = sorted(kept)
    if not settings["num_fewshot"]:
        del settings["num_fewshot"]
    return {
        **_of(one),
        "benchmark": benchmark,
        "languages": None
        if languages is None
        else sorted(languages),  # their order is of no matter
        "questions_per_language": study.questions_per_language,
        "prompts": [prompt(config, study.scoring.prompt, languages)],
        "chat_format": config.models[one.model].chat_format,
        **settings,
    }


def msp_scoring(config: Config, root: str, name: str, benchmark: str) -> Settings:
    """How a run of study 2 is scored on a benchmark: by letters alone, under every prompt."""
    study, one = config.chat_confidence(root), run(config, root, name)
    settings = study.scoring.model_dump(exclude={"prompts"})
    settings["chat_format"] = settings["chat_format"] or config.models[one.model].chat_format
    for key, usual in (("num_fewshot", 0), ("quantization", "none")):
        if settings[key] == usual:
            del settings[key]
    return {
        **_of(one),
        "benchmark": benchmark,
        "multiple_choice_languages": None,
        **_asked(config, study, benchmark),
        **settings,
    }


def _of(one: Run) -> Settings:
    names = ("model", "sft", "smoothing", "seed")
    return {"run": one.id, **{name: getattr(one, name) for name in names}}


def api_scoring(config: Config, root: str, name: str, benchmark: str) -> Settings:
    """What a model behind an API is asked on a benchmark; how it is asked is its `access`."""
    if isinstance(config.asking(root), ChatConfidenceStudy):
        return msp_api_scoring(config, root, name, benchmark)
    study, source = config.scored(root), config.api(name)
    return {
        "run": name,
        "benchmark": benchmark,
        "languages": study.languages,
        "questions_per_language": study.questions_per_language,
        "prompts": [prompt(config, study.scoring.prompt, study.languages)],
        "num_fewshot": study.scoring.num_fewshot,
        "chat_format": config.models[name].chat_format,
        "api": source.model_dump(exclude={"kind", "access"}),
    }


def msp_api_scoring(config: Config, root: str, name: str, benchmark: str) -> Settings:
    """What a model of study 2 behind an API is asked on a benchmark."""
    study = config.chat_confidence(root)
    return {
        "run": name,
        "benchmark": benchmark,
        **_asked(config, study, benchmark),
        "num_fewshot": study.scoring.num_fewshot,
        "chat_format": config.models[name].chat_format,
        "api": config.api(name).model_dump(exclude={"kind", "access"}),
    }


def _asked(config: Config, study: ChatConfidenceStudy, benchmark: str) -> Settings:
    languages = study.languages(benchmark)
    prompts = [prompt(config, name, languages) for name in study.scoring.prompts]
    return {
        "languages": languages,
        "questions_per_language": study.questions_per_dataset,
        "prompts": [{**one, "cloze": None} for one in prompts],  # options' texts go unread
    }


def prompt(config: Config, name: str, languages: list[str] | None) -> Settings:
    """A prompt with its headings in some languages; with all that it has for None."""
    texts = config.prompts[name].model_dump()
    headings = texts.pop("headings")
    if languages is not None:
        headings = {
            heading: {language: said.get(language, said["default"]) for language in languages}
            for heading, said in headings.items()
        }
    return {"name": name, **texts, **({"headings": headings} if headings else {})}


def scoring_key(config: Config, root: str, name: str, benchmark: str, shard: str, code: str) -> str:
    """Names the scratch folder of a scoring job, as `training_key` that of a run."""
    text = canonical([scoring(config, root, name, benchmark, shard), code])
    return f"{name}-{benchmark}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
