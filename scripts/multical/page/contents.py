"""What the page of a study shows, and the files that it is made from.

Snakemake asks before the page is made, so this module reads no table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from multical import paths
from multical.config import subsets
from multical.config.chat_confidence import ChatConfidenceStudy, ReleasedStudy
from multical.config.schema import Config
from multical.config.studies import ApiStudy, Scored, scored
from multical.page import sources
from multical.params import Name, Strict
from multical.workflow import job_params

#: The template of the page, its styles, and its scripts in their order; most are the explorer's
TEMPLATE, STYLES = "page.html.jinja", ("page.css", "explorer.css")
SCRIPTS = (
    "page.js",
    *(
        f"explore/{name}.js"
        for name in ("controls", "charts", "choices", "languages", "questions", "models", "view")
    ),
)
#: What is read of a study of paper 1 beside its figures and tables
MEASURED = (paths.METRICS, paths.SUMMARY)
#: Sizes of data, which only serve `make plan`
PLANNED = ("rows", "mean_tokens")
#: The verdicts, and the files whose digests their sidecar has
VERDICTS = (paths.VERDICTS, paths.VERDICTS_TABLE, paths.VERDICTS_PAGE, paths.VERDICTS_SIDECAR)


class Product(Strict):
    """A figure or a table."""

    form: Literal["figure", "table"]
    name: Name = Field(description="what its caption is named")
    panel: str = Field(default="", description="folder in the path of its files, or empty")
    model: Name | None = Field(default=None, description="of a figure that each model has")

    def stem(self, root: str) -> str:
        """The path of its files in the study at `root`, without their ending."""
        pattern = paths.FIGURE if self.form == "figure" else paths.TABLE
        name = ".".join(filter(None, [self.name, self.model]))
        return pattern.format(root=root, panel=self.panel, name=name)

    def files(self, root: str) -> list[str]:
        """What the page reads of it: the picture or the numbers, and the sidecar."""
        stem = self.stem(root)
        return [f"{stem}.{'png' if self.form == 'figure' else 'csv'}", f"{stem}.json"]

    @property
    def caption(self) -> str:
        """The file of its caption."""
        return f"report/{self.name}{'' if self.form == 'figure' else '_table'}.rst"


class Near(Strict):
    """A study around another one, or inside it."""

    kind: str
    same_models: bool = Field(description="whether one of the two scores runs of the other")


class PageJob(Strict):
    """A study, its figures and tables in the order of the page, and its part of the config."""

    study: str
    near: dict[str, Near] = Field(
        default={}, description="the study around it and those inside, by their roots"
    )
    products: list[Product]
    config: Config


def job(config: Config, root: str, products: Sequence[Product]) -> PageJob:
    """The parameters of the page of the study at `root`."""
    return PageJob(
        study=root,
        near={
            name: Near(
                kind=config.studies[name].kind,
                same_models=_scores_runs(config, root, of=name)
                or _scores_runs(config, name, of=root),
            )
            for name in near(config, root)
        },
        products=list(products),
        config=entries(config, root),
    )


def near(config: Config, root: str) -> list[str]:
    """The study in whose folder this one is, and those in the folder of this one."""
    around = [name for name in config.studies if root in parts(config, name)]
    return [*around, *parts(config, root)]


def _scores_runs(config: Config, root: str, of: str) -> bool:
    """Whether a study of paper 2 scores runs that another study trains."""
    study = config.studies[root]
    return isinstance(study, ChatConfidenceStudy) and any(one.of == of for one in study.models)


def parts(config: Config, root: str) -> list[str]:
    """The studies inside the folder of this one; none for paper 2, whose studies stand alone."""
    return [] if answered(config, root) else job_params.parts(config, root)


def entries(config: Config, root: str) -> Config:
    """The config of a study alone, without what changes no result: sizes, and languages' order."""
    named = subsets.names(config, [root])
    kept = {
        section: {key: one for key, one in getattr(config, section).items() if key in keys}
        for section, keys in named.items()
    }
    kept["studies"] = {
        name: one.model_copy(update={"languages": sorted(one.languages)})
        if isinstance(one, Scored) and one.languages
        else one
        for name, one in kept["studies"].items()
    }
    for section in ("benchmarks", "sft_data"):
        kept[section] = {name: _without_sizes(one) for name, one in kept[section].items()}
    levels = levels_of(config, root)
    return config.model_copy(update={**kept, "resource_levels": levels, "keep_checkpoints": True})


def _without_sizes(entry: Any) -> Any:
    """An entry whose source has the default sizes."""
    fields = type(entry.source).model_fields
    sizes = {name: fields[name].default for name in PLANNED if name in fields}
    return entry.model_copy(update={"source": entry.source.model_copy(update=sizes)})


def levels_of(config: Config, root: str) -> dict[str, list[str]]:
    """The languages of each resource level, of those that the study asks."""
    if answered(config, root):
        return {}
    found: dict[str, list[str]] = {}
    for language, level in sorted(job_params.resource_levels(config, root).items()):
        found.setdefault(level, []).append(language)
    return found


def answered(config: Config, root: str) -> bool:
    """Whether a study is of paper 2."""
    return isinstance(config.studies[root], ReleasedStudy | ChatConfidenceStudy)


def inputs(page: PageJob) -> list[str]:
    """All files that the page is made from."""
    root = page.study
    files = [asset(name) for name in (TEMPLATE, *STYLES, *SCRIPTS)]
    files += [path.format(root=root) for path in VERDICTS]
    if not answered(page.config, root):
        files += [path.format(root=root) for path in MEASURED]
        if page.config.measured(root).figures.sft is not None:
            files.append(paths.EFFECTS_OVER_LANGUAGES.format(root=root))
    files += [*usage(page.config, root), *sources.inputs(page.config, root)]
    for product in page.products:
        files += [product.caption, *product.files(root)]
    return list(dict.fromkeys(files))


def usage(config: Config, root: str) -> list[str]:
    """The files that say how long scoring took, if no table of settings does."""
    study = config.studies[root]
    if not isinstance(study, ApiStudy | ChatConfidenceStudy):
        return []
    return [
        paths.SCORING_USAGE.format(root=root, run=run, benchmark=benchmark)
        for run, benchmark in scored(study)
    ]


def asset(name: str) -> str:
    """The path of a file of this folder from the root of the repository."""
    here = Path(__file__)
    return (here.parent / name).relative_to(here.parents[3]).as_posix()
