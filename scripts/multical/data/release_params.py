"""Released outputs: sections of config.yaml, and the parameters of import_released."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from multical.data.sources import Commit
from multical.params import LocalPath, Name, Strict, matching


def _not_all(name: str) -> str:
    if name == "all":
        raise ValueError("found 'all', which means all data sets, expected another name")
    return name


#: A data set of paper 2; the folder with the figures of that data set alone has this name
DatasetId = Annotated[
    str,
    matching(
        r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        "a name of letters, digits, dashes and underscores",
        description="name of the data set in file names",
    ),
    AfterValidator(_not_all),
]


#: A data set, a model as file names have it, and a phrasing
Cell = tuple[str, str, str]


class Release(Strict):
    """Where the released outputs are."""

    archive: LocalPath | None = Field(
        default=None, description="local archive or folder; null: download the commit"
    )
    variable: str | None = Field(
        default=None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="environment variable that, if set, overrides `archive`",
    )
    repository: str | None = matching(
        r"^https://[^\s@]+$",  # no login, since the URL is recorded with the job
        "an address with https:// and without a login",
        default=None,
        description="URL of the repository; null: only the local archive",
    )
    commit: Commit | None = Field(default=None, description="full hash of the commit to download")
    folder: str = Field(description="folder of the outputs in the repository")
    manifest: LocalPath | None = Field(
        default=None, description="file with the SHA-256 of each released file; null: no check"
    )

    @model_validator(mode="after")
    def _can_be_read(self) -> Release:
        absent = [name for name in ("repository", "commit") if getattr(self, name) is None]
        if absent and not self.archive:
            raise ValueError(f"no {' and no '.join(absent)}, expected both, or an archive")
        return self

    @property
    def local(self) -> str | None:
        """The local archive or folder, of the environment or the config; None to download."""
        return (self.variable and os.environ.get(self.variable)) or self.archive

    @property
    def local_files(self) -> list[str]:
        """The files that are read: the local archive, or the text files of the local folder."""
        if self.local is None:
            return []
        return text_files(Path(self.local), self.folder) or [self.local]


def text_files(source: Path, folder: str) -> list[str]:
    """The text files of `folder` in a local folder, or of the local folder itself, by name."""
    inner = source / folder
    return sorted(map(str, (inner if inner.is_dir() else source).glob("*.txt")))


class Missing(Strict):
    """Questions whose answers a model lacks in the release."""

    dataset: DatasetId
    prompts: list[Name] | None = Field(
        default=None, min_length=1, description="names of prompts in file names; null: all"
    )
    start: int = Field(default=0, ge=0, description="number of the first question, from 0")
    stop: int | None = Field(
        default=None, ge=1, description="number after that of the last question; null: to the end"
    )


class ReleasedModel(Strict):
    """A model whose outputs were released."""

    file: Name = Field(description="the model's name in file names")
    name: str = Field(description="the model's name in tables")
    size: float | None = Field(gt=0, description="billions of parameters; null: unknown")
    max_logit: bool = Field(default=True, description="whether maximum logits were released")
    missing: list[Missing] = Field(
        default=[], description="what was not released; other missing files are errors"
    )


class ReleasedDataset(Strict):
    """A data set whose outputs were released."""

    id: DatasetId
    name: str = Field(description="the data set's name in tables and figures")
    questions: int = Field(ge=1, description="number of questions")


class Released(Strict):
    """Released outputs, question by question."""

    source: Release
    models: list[ReleasedModel] = Field(min_length=1)
    datasets: list[ReleasedDataset] = Field(min_length=1)
    prompts: list[Name] = Field(min_length=1, description="names of prompts in file names")

    @model_validator(mode="after")
    def _missing_questions_are_known(self) -> Released:
        for place, model in enumerate(self.models):
            for number, part in enumerate(model.missing):
                key = f"models.{place}.missing.{number}"
                if part.dataset not in self.questions:
                    known = list(self.questions)
                    raise ValueError(f"{key}: found {part.dataset!r}, expected one of {known}")
                for name in part.prompts or []:
                    if name not in self.prompts:
                        raise ValueError(f"{key}: found {name!r}, expected one of {self.prompts}")
                count = self.questions[part.dataset]
                if not part.start < (count if part.stop is None else part.stop) <= count:
                    found = f"{part.start} to {part.stop}"
                    raise ValueError(f"{key}: found questions {found}, expected some of {count}")
        return self

    @property
    def questions(self) -> dict[str, int]:
        """The number of questions of each data set."""
        return {dataset.id: dataset.questions for dataset in self.datasets}

    @property
    def missing(self) -> dict[Cell, list[tuple[int, int]]]:
        """The first question, and that after the last, of each part that was not released."""
        spans: dict[Cell, list[tuple[int, int]]] = {}
        for model in self.models:
            for part in model.missing:
                stop = self.questions[part.dataset] if part.stop is None else part.stop
                for prompt in part.prompts or self.prompts:
                    cell = (part.dataset, model.file, prompt)
                    spans.setdefault(cell, []).append((part.start, stop))
        return spans

    @property
    def without_a_cell(self) -> list[str]:
        """The models that lack all answers to a data set in a phrasing, so that they have no mean.

        They are named as in files.
        """
        empty = {
            model
            for (dataset, model, _), spans in self.missing.items()
            if sum(stop - start for start, stop in spans) >= self.questions[dataset]
        }
        return [model.file for model in self.models if model.file in empty]
