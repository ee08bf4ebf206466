"""A study of one's own from a folder of released outputs: the content of its files counts."""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import yaml

from multical.config.files import LOCAL
from support import checkout, forks
from support import released_data as data

RECORDS = "results/own/records/released.parquet"
STUDY = {
    "kind": "released",
    "source": {
        "archive": "release",
        "repository": "https://example.org/x",
        "commit": "0" * 40,
        "folder": "outputs",
    },
    "models": list(data.MODELS.values()),
    "datasets": [{"id": k, "name": k, "questions": n} for k, n in data.DATASETS.items()],
    "prompts": data.PROMPTS,
}

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the study, whose records are made."""
    folder = checkout.copy(tmp_path_factory.mktemp("released") / "clone")
    data.write(folder / "release/outputs")
    own = {"studies": {"results/own": STUDY}}
    (folder / LOCAL).write_text(yaml.safe_dump(own), encoding="utf-8")
    checkout.snakemake(folder, "--", RECORDS)
    return folder


def right(clone: Path) -> int:
    return int(pd.read_parquet(clone / RECORDS, columns=["correct"])["correct"].sum())


def would_run(clone: Path, **environ: str) -> bool:
    command = [*checkout.SNAKEMAKE, "--dry-run", "--", RECORDS]
    done = forks.run(command, cwd=clone, env=os.environ | environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return "Nothing to be done" not in done.stdout + done.stderr


def test_the_content_of_its_files_is_recorded(clone: Path) -> None:
    command = [sys.executable, "tools/show_provenance.py", RECORDS, "--json", "said.json"]
    done = forks.run(command, cwd=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((clone / "said.json").read_text(encoding="utf-8"))
    files = sorted((clone / "release/outputs").iterdir())
    assert said["given"] == {
        str(file.relative_to(clone)): sha256(file.read_bytes()).hexdigest() for file in files
    }


def test_the_archive_of_another_study_is_not_its_own(clone: Path) -> None:
    assert not would_run(clone, MSP_V2_ARCHIVE="elsewhere", MSP_V2_ONE_SHOT_ARCHIVE="elsewhere")


def test_grades_that_change_in_place_count(clone: Path) -> None:
    before = right(clone)
    name = data.name("quiz", "big", 0, 40, "norm", data.PROMPTS[0])
    file = clone / "release/outputs" / name
    time, text = file.stat().st_mtime_ns, file.read_text(encoding="utf-8")
    changed = text.replace("Wrong", "Correct")
    file.write_text(changed, encoding="utf-8")
    os.utime(file, ns=(time, time))
    assert would_run(clone)
    checkout.snakemake(clone, "--", RECORDS)
    assert right(clone) - before == text.count("Wrong") > 0
    assert not would_run(clone)
