"""The parameters of each job that asks a model: a run, a benchmark, its prompts.

As in `job_params`, each function gives the parameters of one job as a pydantic model.
"""

from __future__ import annotations

from typing import Any

from multical import paths
from multical.config.chat_confidence import ChatConfidenceStudy
from multical.config.schema import Config
from multical.config.studies import ApiStudy, MultilingualStudy
from multical.data.benchmark_params import QuestionFile
from multical.scoring.api_params import ApiScoringJob
from multical.scoring.params import JobPrompt, ScoringJob
from multical.workflow import own_files
from multical.workflow.job_params import run

#: Some of a job's parameters, by key
TokenizedQuestion = dict[str, Any]


def shards(config: Config, root: str, benchmark: str) -> dict[str, list[str] | None]:
    """The shards of a run on a benchmark, one for each scoring job, with their languages.

    The keys end the names of records: `/fr`, or `/en+fr` for two languages. If the study does not
    split its languages, there is one shard for all, with the empty key.
    """
    study = config.model_study(root)
    if isinstance(study, ChatConfidenceStudy):
        return {"": study.languages(benchmark)}
    study = config.multilingual(root)
    languages, size = config.languages(study, benchmark), study.scoring.languages_per_job
    if size is None or languages is None:
        return {"": study.languages}
    groups = [languages[i : i + size] for i in range(0, len(languages), size)]
    return {f"/{'+'.join(group)}": group for group in groups}


def fewshot_file(config: Config, root: str, benchmark: str, records: str) -> list[str]:
    """The file of few-shot examples, if the study shows any, for a job that makes `records`."""
    if not config.model_study(root).scoring.num_fewshot:
        return []
    source = config.benchmarks[benchmark].source
    if isinstance(source, QuestionFile) and source.fewshot is not None:
        return own_files.named(f"benchmarks.{benchmark}.source.fewshot", source.fewshot, records)
    return [paths.FEWSHOT_EXAMPLES.format(benchmark=benchmark)]


def scoring(config: Config, root: str, name: str, benchmark: str, shard: str = "") -> ScoringJob:
    """How a run is scored on a benchmark, in the languages of one of its `shards`.

    Raises `KeyError` for an unknown shard or run.
    """
    study, scored_run = config.model_study(root), run(config, root, name)
    model = config.models[scored_run.model]
    asked: TokenizedQuestion = {"chat_format": model.chat_format, "chat_date": model.chat_date}
    if isinstance(study, ChatConfidenceStudy):
        section = study.scoring.model_dump(exclude={"prompts"})
        if section["chat_format"] is None:
            del section["chat_format"]
        asked |= section | _questions(config, study, benchmark)
    else:
        study = config.multilingual(root)
        asked |= _in_languages(config, study, shards(config, root, benchmark)[shard])
    return ScoringJob(
        run=scored_run.id,
        model=scored_run.model,
        sft=scored_run.sft,
        smoothing=scored_run.smoothing,
        seed=scored_run.seed,
        benchmark=benchmark,
        **asked,
    )


def gpus(config: Config, root: str, name: str) -> int:
    """The GPUs that a run is scored on. They are no parameter, since they change no records."""
    return config.models[run(config, root, name).model].gpus


def _in_languages(
    config: Config, study: MultilingualStudy, languages: list[str] | None
) -> TokenizedQuestion:
    """What a run is asked in some languages of a benchmark, or in all for None."""
    asked = study.scoring.model_dump(exclude={"prompt", "languages_per_job"})
    listed = study.scoring.multiple_choice_languages
    if listed is not None:
        if study.scoring.languages_per_job is not None and languages is not None:
            listed = [language for language in listed if language in languages]
        asked["multiple_choice_languages"] = sorted(listed)
    return asked | {
        # sorted, so that their order in the config does not matter
        "languages": None if languages is None else sorted(languages),
        "questions_per_language": study.questions_per_language,
        "prompts": [prompt(config, study.scoring.prompt, languages)],
    }


def _questions(
    config: Config, study: ApiStudy | ChatConfidenceStudy, benchmark: str
) -> TokenizedQuestion:
    """The questions of a benchmark that a study asks only as multiple choice, and its prompts."""
    if isinstance(study, ApiStudy):
        languages, limit = study.languages, study.questions_per_language
        names = [study.scoring.prompt]
    else:
        languages, limit = study.languages(benchmark), study.questions_per_dataset
        names = study.scoring.prompts
    return {
        "languages": languages,
        "questions_per_language": limit,
        "prompts": [prompt(config, name, languages, cloze=False) for name in names],
    }


def api_scoring(config: Config, root: str, name: str, benchmark: str) -> ApiScoringJob:
    """What a model behind an API is asked on a benchmark. How it is reached is its `access`."""
    study = config.model_study(root)
    if isinstance(study, MultilingualStudy):
        raise KeyError(name)
    return ApiScoringJob(
        run=name,
        benchmark=benchmark,
        **_questions(config, study, benchmark),
        num_fewshot=study.scoring.num_fewshot,
        chat_format=config.models[name].chat_format,
        api=config.api(name).asked,
    )


def prompt(config: Config, name: str, languages: list[str] | None, cloze: bool = True) -> JobPrompt:
    """A prompt with its headings in some languages, or in all languages for `None`.

    Without `cloze`, it has only what the multiple-choice text needs.
    """
    texts = config.prompts[name]
    headings = {
        heading: translations
        if languages is None
        else {x: translations.get(x, translations["default"]) for x in languages}
        for heading, translations in texts.headings.items()
        if cloze or f"{{{heading}}}" in texts.multiple_choice
    }
    return JobPrompt(
        name=name,
        multiple_choice=texts.multiple_choice,
        cloze=texts.cloze if cloze else None,
        unconditional=texts.unconditional if cloze else None,
        headings=headings,
    )
