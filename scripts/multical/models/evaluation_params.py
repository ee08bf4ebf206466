"""The parameters of evaluate_sft.

They are separate from those of train_sft, so that a new key does not make runs train again.
"""

from __future__ import annotations

from pydantic import Field

from multical.params import ChatDate, Dtype, Name, Precision, Strict, TrainableFormat


class EvaluationJob(Strict):
    """A trial whose loss on held-out conversations to measure."""

    run: Name
    chat_format: TrainableFormat
    chat_date: ChatDate | None = None
    max_length: int = Field(
        ge=8, description="largest number of tokens per conversation, as in training"
    )
    dtype: Dtype
    matmul_precision: Precision
