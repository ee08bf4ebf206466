"""Runs of lm-evaluation-harness: sections of config.yaml, the parameters of import_harness."""

from __future__ import annotations

from pydantic import Field

from multical.params import BaseOrTuned, Name


class HarnessLogs(BaseOrTuned):
    """What the sample logs of one run on one benchmark are of, and how they are read."""

    model: Name
    benchmark: Name
    prompt: Name = Field(description="what to call the harness's prompt")
    id_field: str | None = Field(
        default=None,
        description="field of the questions that names them, the same in all languages; null "
        "numbers them; several logs of one language need it",
    )
    subject_field: str | None = Field(default=None, description="field that holds the subject")


class HarnessJob(HarnessLogs):
    """One run on one benchmark to import."""

    run: Name
