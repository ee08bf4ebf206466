"""The user's own files that the config names: what is there, and what must be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from snakemake.persistence import MetadataRecord

from multical.config import schema
from multical.data.benchmark_params import QuestionFile
from multical.errors import InputError
from multical.models.fetch_params import FolderModel
from multical.patches.snakemake import write_records
from multical.workflow import job_params, own_files
from support import checkout, harness_study
from support import released_data as data

MADE = "results/made"
FILE = QuestionFile(kind="file", path="quiz.jsonl")
MODEL = FolderModel(kind="folder", path="little")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a result, of which there is no record."""
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path(MADE).touch()
    return tmp_path


def record(**known: Any) -> None:
    about = {"rule": "any", "record_format_version": 6, **known}
    write_records({MADE: MetadataRecord.model_validate(about)}, again=[MADE])


@pytest.mark.parametrize("source", [FILE, MODEL])
def test_what_is_gone_is_named(source: Any) -> None:
    """Although there is a result of it, which nobody knows to be current."""
    record(job_hash=7)
    with pytest.raises(InputError) as error:
        own_files.of_source("kind.x", source, MADE)
    expected = "a file that exists" if source is FILE else "a folder with files"
    assert str(error.value) == (
        f"config: kind.x.source.path: found {source.path}, expected {expected}"
    )


@pytest.mark.parametrize("source", [FILE, MODEL])
def test_what_came_in_a_bundle_counts_without_them(source: Any) -> None:
    record(job_hash=None)
    assert own_files.of_source("kind.x", source, MADE) == []
    Path(MADE).unlink()
    with pytest.raises(InputError):
        own_files.of_source("kind.x", source, MADE)


def test_what_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although there is a result of it."""
    Path("quiz.jsonl").touch()
    monkeypatch.setattr(os, "access", lambda *path: False)  # which root always may
    with pytest.raises(InputError, match=r"found quiz\.jsonl, expected permission to read it"):
        own_files.of_source("kind.x", FILE, MADE)


def test_a_folder_is_no_file() -> None:
    Path("quiz.jsonl").mkdir()
    with pytest.raises(InputError, match="expected a file that exists"):
        own_files.named("key", "quiz.jsonl")
    assert own_files.named("key", None) == []


def test_files_in_sub_folders_count() -> None:
    Path("disk").mkdir()
    Path("disk/c.safetensors").touch()
    names = ["config.json", ".rev", "sub/a.safetensors", "sub/deep/b.safetensors", ".git/HEAD"]
    for name in names:
        Path("little", name).parent.mkdir(parents=True, exist_ok=True)
        Path("little", name).touch()
    Path("little/linked").symlink_to("../disk")
    Path("little/sub/round").symlink_to("..")
    found = own_files.of_source("models.little", MODEL, MADE)
    assert sorted(found) == sorted(
        f"little/{name}" for name in [*names[:4], "linked/c.safetensors"]
    )


def test_released_outputs_must_be_there_even_if_a_manifest_lists_them() -> None:
    raw = checkout.config()
    entry = raw["studies"]["results/msp_v2"]
    entry["source"] |= {"archive": "release", "variable": None}
    config = schema.load(raw | {"studies": {"results/msp_v2": entry}})
    with pytest.raises(InputError) as error:
        own_files.of_release(config, "results/msp_v2")
    assert str(error.value) == (
        "config: studies.results/msp_v2.source.archive: found release, expected an archive or "
        "folder that exists"
    )
    data.write(Path("release"))
    assert own_files.of_release(config, "results/msp_v2") == []


def test_logs_of_the_harness_must_be_there() -> None:
    raw = checkout.config()
    logs = harness_study.RUN | {"samples": {"en": "nowhere/*.jsonl"}}
    config = schema.load(raw | {"studies": {"results/logs": harness_study.study(logs)}})
    made = Path("results/logs/records/tiny/quiz.parquet")
    made.parent.mkdir(parents=True)
    made.touch()
    with pytest.raises(InputError, match=r"samples\.en: nowhere/\*\.jsonl: no such file"):
        job_params.sample_files(config, "results/logs", "tiny", "quiz")
