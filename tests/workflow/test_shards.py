"""A study cut into jobs by language: what runs when the languages change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from multical.config import schema
from multical.params import canonical
from multical.workflow import drivers, scoring_params
from support import checkout, forks

ROOT = "results/tiny"
WHOLE = f"{ROOT}/records/small/quiz.parquet"
#: A program that writes what its rule declares, at once
STUB = """
import sys
from pathlib import Path

given = dict(zip(sys.argv[1:], sys.argv[2:]))
for flag in ("--output", "--usage", "--report", "--about", "--manifest"):
    if flag in given:
        Path(given[flag]).write_text("made")
if "--checkpoint" in given:
    Path(given["--checkpoint"]).mkdir()
"""

pytestmark = pytest.mark.workflow


def raw(languages: list[str], size: int | None, **scoring: Any) -> dict[str, Any]:
    """The configuration of a study of one base model on the quiz."""
    found: dict[str, Any] = checkout.config()
    study = found["studies"]["results/smoke"]
    study |= {"models": ["small"], "benchmarks": ["quiz"], "languages": languages}
    study["questions_per_language"] = None
    study["scoring"] |= {"multiple_choice_languages": ["en", "fr"], "dtype": "float32"}
    study["scoring"] |= {"batch_tokens": 500, "languages_per_job": size, **scoring}
    study["figures"]["benchmark"] = "quiz"
    small = {"chat_format": "plain", "source": {"kind": "folder", "path": "small/checkpoint"}}
    source = {"kind": "file", "path": "quiz.parquet", "fewshot": "fewshot.parquet"}
    return found | {
        "models": {"small": small},
        "benchmarks": {"quiz": {"options": 3, "source": source}},
        "studies": {ROOT: study},
    }


def configure(folder: Path, *languages: str, size: int | None, **scoring: Any) -> None:
    text = yaml.safe_dump(raw([*languages], size, **scoring))
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def snakemake(folder: Path, *arguments: str) -> list[str]:
    """Run Snakemake; the shards and merges that it runs, in order of name."""
    command = [*checkout.SNAKEMAKE, *arguments, WHOLE]
    done = forks.run(command, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = re.findall(rf"output: {ROOT}/records/small/(\S+)\.parquet", done.stderr + done.stdout)
    return sorted(outputs)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose study was scored, by `STUB`, in a job for each of three languages."""
    folder = checkout.copy(tmp_path_factory.mktemp("made"))
    for name in ("fetch_model", "make_benchmark", "score_run", "merge_records"):
        (folder / f"scripts/{name}.py").write_text(STUB, encoding="utf-8")
    for name in ("quiz.parquet", "fewshot.parquet", "small/checkpoint/config.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}", encoding="utf-8")
    configure(folder, "en", "ja", "fr", size=1)
    assert snakemake(folder) == ["quiz", "quiz/en", "quiz/fr", "quiz/ja"]
    return folder


@pytest.mark.parametrize(
    ("languages", "size", "scoring", "jobs"),
    [
        (["ja", "fr", "en"], 1, {}, []),
        (["en", "ar", "ja", "fr"], 1, {}, ["quiz", "quiz/ar"]),
        (["en", "fr"], 1, {}, ["quiz"]),
        (
            ["en", "ja", "fr"],
            1,
            {"multiple_choice_languages": ["en", "fr", "ja"]},
            ["quiz", "quiz/ja"],
        ),
        (["en", "ja", "fr"], 2, {}, ["quiz", "quiz/en+ja"]),
        (["en", "ja", "fr"], 1, {"num_fewshot": 2}, ["quiz", "quiz/en", "quiz/fr", "quiz/ja"]),
        (["en", "ja", "fr"], None, {}, ["quiz"]),
    ],
)
def test_exactly_what_is_stale_runs_again(
    made: Path, languages: list[str], size: int | None, scoring: dict[str, Any], jobs: list[str]
) -> None:
    configure(made, *languages, size=size, **scoring)
    assert snakemake(made, "--dry-run") == jobs


def test_a_prompt_s_headings_rerun_the_languages_that_they_are_for() -> None:
    def settings(**texts: str) -> dict[str, str]:
        found = raw(["en", "ja", "fr"], 1)
        found["prompts"]["default"] |= {
            "cloze": "{question}\n{A}",
            "headings": {"A": {"default": "Answer:", **texts}},
        }
        loaded = schema.load(found)
        shards = scoring_params.shards(loaded, ROOT, "quiz")
        return {
            shard: canonical(scoring_params.scoring(loaded, ROOT, "small", "quiz", shard))
            for shard in shards
        }

    before = settings(fr="Réponse :")
    for texts, changed in (
        ({"fr": "R :"}, {"/fr"}),
        ({"fr": "Réponse :", "ja": "答え："}, {"/ja"}),
        ({"fr": "Réponse :", "default": "So:"}, {"/en", "/ja"}),
        ({"fr": "Réponse :", "ar": "الجواب:"}, set()),
    ):
        after = settings(**texts)
        assert {shard for shard in before if before[shard] != after[shard]} == changed


def test_recover_knows_the_files_of_the_cluster_s_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout.REPO)
    made = drivers.products(schema.load(raw(["en", "ja", "fr"], 2)))
    records = {file for file in made if "/records/small/" in file}
    made_by_one = ("parquet", "usage.json")
    assert records == {
        f"{ROOT}/records/small/quiz/{name}.{part}"
        for name in ("en+ja", "fr")
        for part in made_by_one
    }
