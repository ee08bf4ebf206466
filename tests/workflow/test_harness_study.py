"""A study of harness runs, for real: from the committed logs to metrics and figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from multical.config import schema, studies
from multical.errors import InputError
from multical.workflow import job_params
from support import checkout, forks
from support.harness_study import BOTH, METRICS, RUN, SFT, TEXTS, TUNED, study

RAW: dict[str, Any] = checkout.config()


def raw(**studies: dict[str, Any]) -> dict[str, Any]:
    """The repository's config with these studies alone."""
    return RAW | {"studies": {f"results/{name}": one for name, one in studies.items()}}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, without results."""
    return checkout.copy(tmp_path_factory.mktemp("clone"))


def snakemake(clone: Path, told: dict[str, Any], *targets: str) -> tuple[int, str]:
    """Run Snakemake with a config; its exit code and all that it says."""
    (clone / "config.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "1", *targets]
    done = forks.run(command, cwd=clone)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.workflow
@pytest.mark.slow  # a study of its own
def test_logs_become_metrics_and_figures(clone: Path) -> None:
    told = raw(
        mine=study(RUN),
        letters=study(BOTH, readout="letter", options=4),
        tuned=study(RUN, TUNED | {"smoothing": 0.0}, TUNED, **SFT),
    )
    figures = [f"results/mine/figures/{name}.pdf" for name in ("reliability", "ece_by_lang")]
    figures += [
        f"results/letters/figures/{name}.pdf" for name in ("entropy_by_lang", "ece_by_resource")
    ]
    figures.append("results/tuned/figures/smoothing_sweep.pdf")
    figures += [f"results/{name}/figures/recalibration_transfer.pdf" for name in ("mine", "tuned")]
    tables = {"results/mine/metrics.csv": ["en"], "results/letters/metrics.csv": ["en", "fr"]}
    code, said = snakemake(
        clone,
        told,
        *tables,
        *figures,
        *(f"results/letters/tables/{name}.csv" for name in ("main", "recalibration")),
    )
    assert code == 0, said
    for name, languages in tables.items():
        table = pd.read_csv(clone / name)
        accuracy = table[table["metric"] == "accuracy"]
        assert accuracy["language"].tolist() == languages
        assert set(accuracy["value"]) == {0.25}  # as the harness reported
        assert set(accuracy["n"]) == {8}
        assert table[["sft", "smoothing", "seed"]].isna().all(axis=None)
    for name in figures:
        assert (clone / name).read_bytes().startswith(b"%PDF")
        assert (clone / name).with_suffix(".json").exists()
    code, said = snakemake(clone, told, "results/mine/figures/smoothing_sweep.pdf")
    assert code != 0
    sentence = "config: studies.results/mine.figures.sft: found null, expected the SFT data of runs"
    assert sum(line.startswith(sentence) for line in said.splitlines()) == 1, said
    assert "Traceback" not in said
    assert not list(clone.glob("results/mine/figures/smoothing_sweep.*"))


@pytest.mark.workflow
def test_no_log_and_half_a_log(clone: Path) -> None:
    cut = clone / "cut.jsonl"
    (whole,) = checkout.REPO.glob(TEXTS)
    cut.write_bytes(whole.read_bytes()[:-100])
    for samples, sentence in {
        "nowhere/*.jsonl": "config: studies.results/bad: run tiny on quiz: samples.en: "
        "nowhere/*.jsonl: no such file",
        "cut.jsonl": "error: cut.jsonl: line 8: not a sample of a multiple-choice task",
    }.items():
        told = raw(bad=study(RUN | {"samples": {"en": samples}}))
        code, said = snakemake(clone, told, "results/bad/metrics.csv")
        assert code != 0
        assert sum(sentence in line for line in said.splitlines()) == 1, said
        assert not list(clone.glob("results/bad/**/*.*"))


def test_the_headline_of_base_models_alone(clone: Path) -> None:
    """It goes without comparisons, and says which metrics it lacks."""
    told = raw(mine=study(BOTH, readout="letter"))
    code, said = snakemake(clone, told, "--dry-run", "results/mine/headline.txt")
    assert code != 0
    assert "config: studies.results/mine.metrics.metrics: found none of gap, resolution, " in said
    del told["studies"]["results/mine"]["metrics"]["metrics"]  # then all
    code, said = snakemake(clone, told, "--dry-run", "results/mine/headline.txt")
    assert code == 0, said
    assert {"write_headline", "plot_ece_by_lang", "make_selective_table"} <= set(said.split())
    for name in ("effects", "smoothing_sweep", "shift", "p_values"):
        assert name not in said


def test_runs_with_sft() -> None:
    told = study(RUN, TUNED | {"smoothing": 0.0}, TUNED, **SFT)
    loaded = schema.load(raw(mine=told))
    assert studies.scored(loaded.measured("results/mine")) == [
        ("tiny", "quiz"),
        ("tiny.own.ls0.s3", "quiz"),
        ("tiny.own.ls0.1.s3", "quiz"),
    ]
    settings = job_params.importing(loaded, "results/mine", "tiny.own.ls0.1.s3", "quiz")
    assert settings.model_dump(mode="json") == {
        "run": "tiny.own.ls0.1.s3", "model": "tiny", "sft": "own", "smoothing": 0.1, "seed": 3,
        "benchmark": "quiz", "prompt": "harness", "id_field": None, "parallel": None,
        "subject_field": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (study(), "runs: .*at least 1 item"),
        (study(RUN, RUN), "runs: tiny on quiz twice"),
        (study(TUNED, TUNED | {"smoothing": 0.10000000001}), "ls0.1.s3 on quiz twice"),
        (study(RUN | {"sft": "own"}), "runs.0: found .*'own'.* expected all three, or none"),
        (study(RUN, TUNED | {"seed": None}), "runs.1: .*expected all three"),
        (study(RUN | {"samples": {}}), "runs.0.samples: .*at least 1"),
        (study(RUN | {"model": "a/b"}), "runs.0.model: found 'a/b'"),
        (study(RUN | {"colour": 1}), "runs.0: unknown keys .*colour"),
        (study(RUN, options=1), "figures.options: found 1"),
        (study(RUN, benchmark="arc"), "figures.benchmark: found 'arc', expected one of .*quiz"),
        (study(RUN, readout="letter") | {"metrics": METRICS | {"readouts": ["msp"]}},
         "figures.readout: found 'letter', expected one of .*msp"),
        (study(RUN, reference_language="fr"), "figures.reference_language: found 'fr'"),
        (study(RUN, sft="own"), "figures: found .*expected all three"),
        (study(RUN, TUNED, **SFT),
         r"figures.sft, smoothing, seed: found 'tiny.own.ls0.s3'"),
        (study(TUNED), "found 'tiny', expected one of .*tiny.own.ls0.1.s3"),
    ],
)  # fmt: skip
def test_a_wrong_study_gets_a_sentence(told: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        schema.load(raw(mine=told))
    assert "studies.results/mine" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_studies_have_no_metrics_of_this_kind() -> None:
    with pytest.raises(InputError, match="kind released, expected multilingual, harness or api"):
        job_params.metrics(schema.load(RAW), "results/msp_v2")
