"""The parameters of evaluate_sft, apart from those of training: a key of them retrains nothing."""

from __future__ import annotations

from pydantic import Field

from multical.params import Dtype, Name, Precision, Strict, TrainableFormat


class EvaluationJob(Strict):
    """A trial whose loss on held-out conversations is measured."""

    run: Name
    chat_format: TrainableFormat
    max_length: int = Field(ge=8, description="tokens of a conversation, as in training")
    dtype: Dtype
    matmul_precision: Precision
