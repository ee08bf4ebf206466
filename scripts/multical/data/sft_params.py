"""Where SFT data come from: sections of config.yaml, and the parameters of make_sft_data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from multical.data.sources import File, OddRows, Repository, Revision, Split
from multical.params import Distinct, Seed, Strict


class CldrSft(Strict):
    """English pairs about the territories that the benchmark of the same seed leaves out."""

    kind: Literal["cldr"]
    seed: Seed
    kinds: Distinct[Literal["currency", "language", "country"]] = Field(min_length=1)
    held_out: float = Field(gt=0, lt=1)


class HubSft(Strict):
    """Conversations from a data set of the hub at one commit (multical.data.hub_sft)."""

    kind: Literal["hub"]
    repo: Repository
    revision: Revision
    config: str | None = Field(default=None, description="of the data set; null for its default")
    split: Split = "train"
    layout: Literal["messages", "sharegpt", "alpaca"] = Field(
        description="messages: {role, content}; sharegpt: conversations of {from, value}; "
        "alpaca: instruction, input and output"
    )
    seed: Seed = Field(description="of the order that rows are taken in")
    examples: int | None = Field(default=None, ge=1, description="null for all")
    held_out: int = Field(default=0, ge=0, description="conversations that are never trained on")
    odd_rows: OddRows = "error"
    rows: int | None = Field(
        default=None, ge=1, description="of the split, for `make plan` where it is not yet made"
    )
    mean_tokens: float | None = Field(
        default=None, gt=0, description="of a conversation, likewise; null: max_length"
    )


SftSource = Annotated[CldrSft | File | HubSft, Field(discriminator="kind")]


class SftDataJob(Strict):
    """Conversations to make: those to train on, or those held out."""

    source: SftSource
    held_out: bool = Field(default=False, description="make the held-out part instead")

    @model_validator(mode="after")
    def _holds_some_out(self) -> SftDataJob:
        if self.held_out and not isinstance(self.source, HubSft):
            raise ValueError(f"held_out: found true for kind {self.source.kind}, expected kind hub")
        return self
