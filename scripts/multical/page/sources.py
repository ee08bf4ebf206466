"""The files that the explorer reads, by study.

Snakemake asks for them before the page is made, so this module reads no table.
"""

from __future__ import annotations

from multical import paths
from multical.config.schema import Config
from multical.config.studies import Measured, Scored, scored


def inputs(config: Config, root: str) -> list[str]:
    """All files that the explorer reads of a study."""
    study = config.studies[root]
    if not isinstance(study, Measured):
        return [table(root, "points"), table(root, "score_curves")]
    made = [paths.METRICS, paths.RELIABILITY_BY_LANG]
    if study.figures.sft:
        made += [paths.EFFECTS, paths.EFFECTS_OVER_LANGUAGES]
    tables = [path.format(root=root) for path in made]
    return [*tables, *records(config, root), *benchmarks(config, root).values()]


def table(root: str, name: str) -> str:
    """A table of a study of paper 2."""
    return paths.STUDY_TABLE.format(root=root, name=f"{name}.csv")


def records(config: Config, root: str) -> list[str]:
    """The records of a study of paper 1."""
    return [
        paths.RECORDS.format(root=root, run=run, benchmark=benchmark)
        for run, benchmark in scored(config.measured(root))
    ]


def benchmarks(config: Config, root: str) -> dict[str, str]:
    """The files with the texts of questions; a log of the harness has them in no such file."""
    study = config.measured(root)
    names = study.benchmarks if isinstance(study, Scored) else []
    return {name: paths.BENCHMARK.format(benchmark=name) for name in names}


def about(config: Config, benchmark: str) -> str:
    """What a reader of a benchmark's questions must know; empty if they speak for themselves."""
    entry = config.benchmarks.get(benchmark)
    return getattr(entry.source, "about", "") if entry else ""
