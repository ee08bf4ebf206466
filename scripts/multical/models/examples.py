"""Conversations as token ids with labels, for training and for held-out loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multical.data import conversations
from multical.data.conversations import Conversation
from multical.errors import InputError
from multical.models.chat import IGNORED, Chat

#: Token ids and labels of one conversation: 8 bytes per token, where lists would take 49
Row = dict[str, NDArray[np.int32]]


@dataclass(frozen=True)
class Examples:
    """Tokenised conversations, and how many were truncated or dropped."""

    rows: list[Row]  # input_ids and labels; the label is IGNORED for a token without loss
    truncated: int  # conversations cut to max_length
    dropped: int  # conversations without a token to train

    @property
    def trained_tokens(self) -> int:
        """Number of labels that are not IGNORED, over all examples."""
        return sum(int(np.sum(row["labels"] != IGNORED)) for row in self.rows)

    @classmethod
    def of(
        cls, pairs: Sequence[Conversation], chat: Chat, max_length: int, path: str | Path
    ) -> Examples:
        """Tokenise the conversations of a file.

        Raises `InputError`, with the line, for a conversation that the chat format cannot express,
        and if there is no token to train.
        """
        rows, truncated = [], 0
        for number, pair in enumerate(pairs):
            try:
                ids, labels = chat.encode_for_training(pair["messages"])
            except InputError as error:
                raise InputError(f"{conversations.place(path, number)}: {error}") from error
            truncated += len(ids) > max_length
            # the first token has no predecessor, so the model does not predict it
            labels = [IGNORED, *labels[1:max_length]]
            rows.append(row_of(ids[:max_length], labels))
        trainable = [row for row in rows if np.any(row["labels"] != IGNORED)]
        if not trainable:
            raise InputError(
                f"{path}: no token to train in {len(rows)} conversations, {truncated} of "
                f"them cut to max_length {max_length}; expected answers within that length"
            )
        return cls(trainable, truncated, len(rows) - len(trainable))


def row_of(ids: list[int], labels: list[int]) -> Row:
    """A row of `Examples`."""
    return {"input_ids": np.array(ids, np.int32), "labels": np.array(labels, np.int32)}
