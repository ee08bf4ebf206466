"""Whether local files of questions and conversations have what a study asks of them.

This is known before a model is loaded.

Benchmarks from elsewhere have the languages that the config lists, which its own checks compare.
"""

from __future__ import annotations

from collections.abc import Iterator

from multical.config.chat_confidence import ChatConfidenceStudy
from multical.config.schema import Config, available
from multical.config.studies import ModelStudy, Scored
from multical.data.benchmark_params import QuestionFile
from multical.data.outlines import Outline, length, outline
from multical.data.sft_params import SftFile
from multical.errors import InputError


def check(config: Config, root: str) -> None:
    """Raise `InputError` with all that the files of a study lack."""
    if found := list(faults(config, root)):
        raise InputError(f"config: {'; '.join(found)}")


def faults(config: Config, root: str) -> Iterator[str]:
    """What the files of a study lack: a key of the config and what is wrong with it, each."""
    study = config.studies[root]
    if not isinstance(study, ModelStudy):
        return
    yield from _held_out(config, study)
    yield from _unknown_letters(config, study, root)
    for name in study.benchmarks:
        source = config.benchmarks[name].source
        if isinstance(source, QuestionFile) and (found := outline(source.path)):
            chosen = _languages(study, name)
            yield from _languages_missing(study, root, name, source, found)
            languages = sorted(found if chosen is None else found.keys() & {*chosen})
            yield from _letters(study, root, languages)
            yield from _options(config, name, source, {n for x in languages for n in found[x]})
            if study.scoring.num_fewshot and source.fewshot:
                yield from _examples(study, root, source.fewshot, languages)


def _letters(study: ModelStudy, root: str, languages: list[str]) -> Iterator[str]:
    listed = getattr(study.scoring, "multiple_choice_languages", None)
    if listed and languages and not {*listed} & {*languages}:
        key = f"studies.{root}.scoring.multiple_choice_languages"
        yield f"{key}: found {sorted(listed)}, expected some of {languages}, or null"


def _unknown_letters(config: Config, study: ModelStudy, root: str) -> Iterator[str]:
    """Letters in a language that no level and no benchmark has: a slip of the pen."""
    listed = getattr(study.scoring, "multiple_choice_languages", None) or []
    known = {language for level in config.resource_levels.values() for language in level}
    for name in study.benchmarks:
        source = config.benchmarks[name].source
        there = outline(source.path) if isinstance(source, QuestionFile) else available(source)
        if there is None:
            return
        known |= {*there}
    if unknown := sorted({*listed} - known):
        key = f"studies.{root}.scoring.multiple_choice_languages"
        yield f"{key}: found {unknown}, expected languages of {list(study.benchmarks)}, or null"


def _held_out(config: Config, study: ModelStudy) -> Iterator[str]:
    for name in getattr(study, "sft_data", ()):
        source = config.sft_data[name].source
        count = length(source.path) if isinstance(source, SftFile) and source.held_out else None
        if isinstance(source, SftFile) and count is not None and count <= source.held_out:
            key = f"sft_data.{name}.source.held_out"
            expected = f"expected fewer than the {count} in {source.path}"
            yield f"{key}: found {source.held_out}, {expected}"


def _languages(study: ModelStudy, benchmark: str) -> list[str] | None:
    return study.languages(benchmark) if isinstance(study, ChatConfidenceStudy) else study.languages


def _languages_missing(
    study: ModelStudy, root: str, name: str, source: QuestionFile, found: Outline
) -> Iterator[str]:
    chosen, has = _languages(study, name), f"the languages of {source.path}"
    if missing := sorted({*(chosen or ())} - found.keys()):
        key = "datasets" if isinstance(study, ChatConfidenceStudy) else "languages"
        yield f"studies.{root}.{key}: found {missing}, expected some of {sorted(found)}, {has}"
    elif isinstance(study, Scored) and study.figures.benchmark == name:
        reference, languages = study.figures.reference_language, sorted(chosen or found)
        if reference not in languages:
            key = f"studies.{root}.figures.reference_language"
            yield f"{key}: found {reference!r}, expected one of {languages}, {has}"


def _options(config: Config, name: str, source: QuestionFile, counts: set[int]) -> Iterator[str]:
    options = config.benchmarks[name].options
    if options is not None and counts != {options}:
        expected = counts.pop() if len(counts) == 1 else f"null, as they have {sorted(counts)}"
        key = f"benchmarks.{name}.options"
        yield f"{key}: found {options} for the questions of {source.path}, expected {expected}"


def _examples(study: ModelStudy, root: str, path: str, languages: list[str]) -> Iterator[str]:
    found, count = outline(path), study.scoring.num_fewshot
    if found is None:
        return
    totals = {language: sum(found.get(language, {}).values()) for language in languages}
    if few := {language: total for language, total in totals.items() if total < count}:
        key = f"studies.{root}.scoring.num_fewshot"
        counts = ", ".join(f"{total} in {language!r}" for language, total in few.items())
        yield f"{key}: found {count}, expected as many examples in {path} at least: {counts}"
