"""Runs of lm-evaluation-harness: sections of config.yaml, and parameters of import_harness."""

from __future__ import annotations

from pydantic import Field

from multical.params import BaseOrTuned, BenchmarkName, Name


class HarnessLogs(BaseOrTuned):
    """What one run on one benchmark is, and how to read its sample logs."""

    model: Name = Field(description="name of the model")
    benchmark: BenchmarkName
    prompt: Name = Field(description="a name for the harness's prompt")
    id_field: str | None = Field(
        default=None,
        description="field of the log with the question's id; null: the ids are the numbers of the "
        "questions; needed if a language has several logs",
    )
    parallel: bool | None = Field(
        default=None,
        description="whether an id is that of the same question in all languages; null: if there "
        "is an id_field",
    )
    subject_field: str | None = Field(
        default=None, description="field of the log with the subject; null: questions have none"
    )

    @property
    def is_parallel(self) -> bool:
        """Whether questions of different languages are paired by their ids."""
        return self.id_field is not None if self.parallel is None else self.parallel


class HarnessJob(HarnessLogs):
    """One run on one benchmark to import."""

    run: Name
