"""Released outputs: sections of config.yaml, and the parameters of import_released."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from multical.params import LocalPath, Name, Strict


def _not_all(name: str) -> str:
    if name == "all":
        raise ValueError("found 'all', which means all data sets, expected another name")
    return name


#: A data set of paper 2; the folder with the figures of that data set alone has this name
DatasetId = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="name of the data set in file names"),
    AfterValidator(_not_all),
]


class Release(Strict):
    """Where the released outputs are. $MSP_V2_ARCHIVE, if set, overrides `archive`."""

    archive: LocalPath | None = Field(
        default=None, description="local archive or folder; null: download the commit"
    )
    repository: str = Field(
        pattern=r"^https://[^\s@]+$",  # no login, since the URL is recorded with the job
        description="URL of the repository",
    )
    commit: str = Field(pattern=r"^[0-9a-f]{40}$", description="full hash of the commit")
    folder: str = Field(description="folder of the outputs in the repository")
    manifest: LocalPath | None = Field(
        default=None, description="file with the SHA-256 of each released file; null: no check"
    )


class ReleasedModel(Strict):
    """A model whose outputs were released."""

    file: Name = Field(description="the model's name in file names")
    name: str = Field(description="the model's name in tables")
    size: float | None = Field(gt=0, description="billions of parameters; null: unknown")
    max_logit: bool = Field(default=True, description="whether maximum logits were released")


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
