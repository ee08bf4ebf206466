"""The parameters of the import of released outputs, and what config.yaml says of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from multical.params import LocalPath, Name, Strict


def _not_all(name: str) -> str:
    if name == "all":
        raise ValueError("found 'all', which means all data sets, expected another name")
    return name


#: A data set of paper 2; the figures of it alone lie in a folder of that name
DatasetId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$"), AfterValidator(_not_all)]


class Release(Strict):
    """Where the released outputs are; $MSP_V2_ARCHIVE goes before `archive`."""

    archive: LocalPath | None = Field(
        default=None, description="local archive or folder; null downloads the commit"
    )
    repository: str = Field(pattern=r"^https://[^\s@]+$")  # no login: it is recorded with the job
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    folder: str = Field(description="folder of the outputs in the repository")
    manifest: LocalPath | None = Field(
        default=None, description="file of SHA-256 sums, one a released file"
    )


class ReleasedModel(Strict):
    """A model of a release."""

    file: Name = Field(description="as in the names of files")
    name: str = Field(description="as in the tables")
    size: float | None = Field(gt=0, description="billions of parameters; null if not known")
    max_logit: bool = Field(default=True, description="whether maximum logits were released")


class ReleasedDataset(Strict):
    """A data set of a release."""

    id: DatasetId
    name: str
    questions: int = Field(ge=1)


class Released(Strict):
    """Other people's outputs, question by question."""

    source: Release
    models: list[ReleasedModel] = Field(min_length=1)
    datasets: list[ReleasedDataset] = Field(min_length=1)
    prompts: list[Name] = Field(min_length=1)
