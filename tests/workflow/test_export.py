"""A study exported for other tools: what its validator says, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multical import records
from multical.stats.params import MetricsJob
from support import checkout, forks
from support.eval_schema import KEYS, has_validator, metrics_of, read_back, validated
from support.synthetic import make_records
from support.tiny_study import LANGUAGES, edit, tiny_study

pytestmark = pytest.mark.workflow
RUNS = ["little", "little.own.ls0.s0", "little.own.ls0.1.s0"]
#: In the place of the program that asks a model
SCORE = """
import shutil
import sys
from pathlib import Path

given = dict(zip(sys.argv[1:], sys.argv[2:]))
path = Path(given["--output"])
shutil.copy(f"given/{path.parent.name}.parquet", path)
Path(given["--usage"]).write_text("{}")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a study up to its metrics. The answers are made up, all else is real."""
    folder = checkout.copy(tmp_path_factory.mktemp("made"))
    program = (folder / "scripts/compute_metrics.py").read_bytes()
    tiny_study(folder)
    (folder / "scripts/compute_metrics.py").write_bytes(program)
    (folder / "scripts/score_run.py").write_text(SCORE, encoding="utf-8")
    edit(folder, "scripts/train_sft.py", '"made\\n"', '"{}"')  # in usage.json, too
    frame = make_records(RUNS, LANGUAGES, 10, 0, options=2).astype(object)
    named = frame["question_id"].map(lambda name: f"q{int(name[1:])}")
    frame = frame.assign(benchmark="quiz", question_id=named, gold=0)
    for run, rows in frame.groupby("run"):
        records.write(folder / f"given/{run}.parquet", rows)
    checkout.snakemake(folder, "results/tiny/metrics.csv")
    return folder


def exported(folder: Path, output: Path, *arguments: str) -> Any:
    program = [sys.executable, "tools/export_results.py", "--output", str(output)]
    study = [] if "--study" in arguments else ["--study", "results/tiny"]
    return forks.run([*program, *study, *arguments], cwd=folder)


def refused(done: Any) -> str:
    """Why a program refused: one line."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    return str(done.stderr).removeprefix("error: ").rstrip()


@has_validator
def test_it_is_valid_and_has_no_questions_of_others(made: Path, tmp_path: Path) -> None:
    done = exported(made, tmp_path / "out", "--organization", "nobody")
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0] == f"{tmp_path / 'out'}: 3 runs on benchmarks of results/tiny"
    assert told[2] == "lm_eval/: 6 sample logs of lm-evaluation-harness"
    assert told[-1] == "without the texts of quiz (--share quiz, if you may hand them on)"
    assert validated(tmp_path / "out") == (0, "")
    for path in (tmp_path / "out").rglob("*.json*"):
        assert "and one?" not in path.read_text("utf-8")
    path = next((tmp_path / "out/data/quiz/multical/little").glob("*.json"))
    document = json.loads(path.read_text("utf-8"))
    assert document["source_metadata"]["source_organization_name"] == "nobody"


@has_validator
def test_shared_questions_are_in_it(made: Path, tmp_path: Path) -> None:
    done = exported(made, tmp_path / "out", "--share", "quiz")
    assert "lm_eval/: 12 sample logs" in done.stdout
    assert "without the texts" not in done.stdout
    assert validated(tmp_path / "out") == (0, "")
    log = next((tmp_path / "out/lm_eval/little").glob("samples_quiz_fr_texts_*.jsonl"))
    sample = json.loads(log.read_text("utf-8").splitlines()[3])
    assert sample["doc"]["question"] == "What is 3 and one?"
    assert sample["arguments"]["gen_args_0"]["arg_1"] == " 4"


def test_what_is_refused(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for arguments, sentence in (
        (["--study", "results/other"], "results/other: no study of config.yaml, expected one of"),
        (["--share", "arc"], "--share: found 'arc', expected one of ['own', 'quiz']"),
    ):
        assert refused(exported(made, output, *arguments)).startswith(sentence)
        assert not output.exists()
    output.mkdir()
    assert refused(exported(made, output)) == (
        f"{output}: exists already, expected a new folder for the export"
    )


def test_a_stale_study_is_refused(made: Path, tmp_path: Path) -> None:
    clone = shutil.copytree(made, tmp_path / "clone", symlinks=True)
    checkout.edit_config(clone, {"studies:results/tiny:metrics:bins": 7})
    assert refused(exported(clone, tmp_path / "out")).startswith(
        "results/tiny: 1 jobs would run again (compute_metrics; results/tiny/metrics.csv: "
    )
    assert not (tmp_path / "out").exists()


def test_metrics_that_were_changed_by_hand_are_refused(made: Path, tmp_path: Path) -> None:
    clone = shutil.copytree(made, tmp_path / "clone", symlinks=True)
    table = clone / "results/tiny/metrics.csv"
    table.write_text(table.read_text("utf-8").replace("0.", "1.", 1), encoding="utf-8")
    said = refused(exported(clone, tmp_path / "out"))
    assert said.startswith("results/tiny/metrics.csv: changed since it was made: found SHA-256 ")
    assert not (tmp_path / "out").exists()


def test_a_study_without_metrics_is_refused(tmp_path: Path) -> None:
    done = exported(checkout.REPO, tmp_path / "out", "--study", "results/msp_v2")
    assert refused(done) == (
        "config: studies.results/msp_v2: kind released, expected multilingual, harness or api"
    )


@has_validator
@pytest.mark.smoke
def test_the_smoke_study_is_valid_and_reads_back(smoke: Path, tmp_path: Path) -> None:
    done = exported(smoke, tmp_path / "out", "--study", "results/smoke")
    assert done.returncode == 0, done.stderr
    assert "without the texts" not in done.stdout  # the workflow has made them itself
    assert validated(tmp_path / "out") == (0, "")
    table = pd.read_csv(smoke / "results/smoke/metrics.csv").set_index(KEYS)
    params = MetricsJob.model_validate(job(smoke))
    for kind, readout in (("letters", "letter"), ("texts", "text_sum")):
        paths = []
        for folder in sorted((tmp_path / "out/lm_eval").iterdir()):
            run = records.read(smoke / f"results/smoke/records/{folder.name}/cldr-facts.parquet")
            keys = {name: run[name].iloc[0] for name in ("run", "model", "sft", "smoothing", "seed",
                                                         "benchmark", "prompt")}  # fmt: skip
            keys = {name: None if pd.isna(value) else value for name, value in keys.items()}
            paths.append(
                read_back(tmp_path / "out", kind, keys, tmp_path / f"{kind}.{folder.name}")
            )
        again = metrics_of(paths, params, [readout])
        before = table["value"].reindex(again.index)
        assert before.notna().sum() > 100
        np.testing.assert_allclose(again, before, atol=1e-5)


def job(folder: Path) -> dict[str, Any]:
    """The parameters of a study's metrics, without intervals."""
    raw = checkout.config(folder)
    metrics = raw["studies"]["results/smoke"]["metrics"]
    own = {name: metrics[name] for name in ("readouts", "metrics", "bins", "bootstrap")}
    own["bootstrap"] |= {"replicates": 0}
    return own | {"resource_levels": {"en": "high"}}
