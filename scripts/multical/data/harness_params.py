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
        description="field of the log with the question's id, the same in all languages; null: "
        "the ids are numbers; needed if a language has several logs",
    )
    subject_field: str | None = Field(
        default=None, description="field of the log with the subject; null: questions have none"
    )


class HarnessJob(HarnessLogs):
    """One run on one benchmark to import."""

    run: Name
