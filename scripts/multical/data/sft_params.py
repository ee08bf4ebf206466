"""Sources of SFT data: sections of config.yaml, and the parameters of make_sft_data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from multical.data.sources import (
    FactKinds,
    File,
    HeldOutTerritories,
    OddRows,
    Repository,
    Revision,
    Split,
)
from multical.params import Seed, Strict

HeldOut = Annotated[int, Field(ge=0, description="number of conversations that no run trains on")]


class CldrSft(Strict):
    """English question-answer pairs, not about territories of a benchmark with the same seed."""

    kind: Literal["cldr"]
    seed: Seed
    kinds: FactKinds
    held_out: HeldOutTerritories


class SftFile(File):
    """A local .jsonl file of conversations (multical.data.conversations)."""

    held_out: HeldOut = 0


class HubSft(Strict):
    """Conversations from a data set of the hub at one commit (multical.data.hub_sft)."""

    kind: Literal["hub"]
    repo: Repository
    revision: Revision
    config: str | None = Field(
        default=None, description="config of the data set; null: the default"
    )
    split: Split = "train"
    layout: Literal["messages", "sharegpt", "alpaca"] = Field(
        description="columns of the data set. messages: a list of {role, content}; sharegpt: "
        "conversations, a list of {from, value}; alpaca: instruction, input and output"
    )
    seed: Seed = Field(description="seed of the order in which rows are taken")
    examples: int | None = Field(
        default=None, ge=1, description="number of conversations; null: all"
    )
    held_out: HeldOut = 0
    odd_rows: OddRows = "error"
    rows: int | None = Field(
        default=None,
        ge=1,
        description="number of rows, used by `make plan` before the data are made",
    )
    mean_tokens: float | None = Field(
        default=None,
        gt=0,
        description="mean tokens per conversation, used by `make plan`; null: max_length",
    )


SftSource = Annotated[
    CldrSft | SftFile | HubSft,
    Field(discriminator="kind", description="where the conversations come from"),
]


class SftDataJob(Strict):
    """Training or held-out conversations to make."""

    source: SftSource
    held_out: bool = Field(default=False, description="make the held-out conversations instead")

    @model_validator(mode="after")
    def _holds_some_out(self) -> SftDataJob:
        if self.held_out and isinstance(self.source, CldrSft):
            raise ValueError("held_out: found true for kind cldr, expected kind file or hub")
        return self
