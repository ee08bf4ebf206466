"""Paper 2 from released outputs to figures: on a made-up release, a real slice, and the whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib import rc_context

from support import figure_data, forks
from support import released_data as data
from support.msp_study import Study

ROOT = Path(__file__).parents[3]
needs_archive = pytest.mark.skipif(
    not Path(data.ARCHIVE).exists(),
    reason=f"the released outputs of paper 2 are not at {data.ARCHIVE} (set MSP_V2_ARCHIVE)",
)
#: File name, the study's name, size in billions of parameters, has maximum logits.
V2 = [
    ("Falcon-7b", "Falcon 7B", 7, True),
    ("Falcon-40b", "Falcon 40B", 40, True),
    ("Llama-7b", "Llama 2 7B", 7, True),
    ("Llama-13b", "Llama 2 13B", 13, True),
    ("Llama-70b", "Llama 2 70B", 70, True),
    ("Llama3-8b", "Llama 3 8B", 8, True),
    ("Llama3-70b", "Llama 3 70B", 70, True),
    ("Mistral", "Mistral 7B", 7, True),
    ("Mixtral", "Mixtral 8x7B", 46.7, True),
    ("Solar", "SOLAR 10.7B", 10.7, True),
    ("Yi-6b", "Yi 6B", 6, True),
    ("Yi-34b", "Yi 34B", 34, True),
    ("gpt-3.5-turbo", "GPT3.5 Turbo", None, False),
    ("gpt-4-turbo", "GPT4 Turbo", None, False),
]
MODELS: list[dict[str, Any]] = [
    dict(zip(("file", "name", "size", "max_logit"), row, strict=True)) for row in V2
]
COUNTS = {"arc": 2590, "hellaswag": 6000, "mmlu": 6000, "truthfulqa": 817, "winogrande": 6000}
VERIFIED = ("auroc", "calibration", "correlations", "mann_whitney", "one_sample", "scores",
            "abstention")  # fmt: skip


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("made_up")
    release = data.write(folder / "release")
    study = Study(folder, release, list(data.MODELS.values()), data.DATASETS)
    study.importing()
    study.tables()
    return study


def test_tables_have_the_columns_that_are_promised(made_up: Study) -> None:
    promised = {
        "auroc": "dataset model accuracy msp_auroc msp_significant maxlogit_auroc "
                 "maxlogit_significant",
        "calibration": "dataset model calibration_error",
        "mann_whitney": "dataset model prompt value u p",
        "scores": "dataset model k scheme method value mean low high",
        "abstention": "dataset model k scheme method value mean low high",
        "correlations": "x y r2 slope p n",
    }  # fmt: skip
    for name, columns in promised.items():
        assert set(columns.split()) <= set(made_up.table(name).columns)
        assert r"\bottomrule" in (made_up.folder / f"{name}.tex").read_text()
        assert json.loads((made_up.folder / f"{name}.json").read_text())["code"] == "test"
    auroc = made_up.table("auroc")
    assert set(auroc["dataset"]) == {"all", "arc", "quiz"}
    assert auroc[auroc["model"] == "Big"]["maxlogit_auroc"].isna().all()
    assert set(made_up.table("mann_whitney")["model"]) == set(data.MODELS)
    assert set(made_up.table("scores")["method"]) == {"none", "msp", "maxlogit"}


def test_tables_mean_what_they_say(made_up: Study) -> None:
    """One accuracy, one mean of cells and one score, recomputed from the files."""
    share = []
    for dataset in data.DATASETS:
        for prompt in data.PROMPTS:
            files = sorted(Path(made_up.source).glob(f"{dataset}_big-*norm*{prompt}.txt"))
            grades = [line.split()[0] for f in files for line in f.read_text().splitlines()[1:]]
            share.append(sum(grade == "Correct" for grade in grades) / len(grades))
    auroc = made_up.table("auroc").set_index(["dataset", "model"])
    assert auroc.loc[("all", "Big"), "accuracy"] == pytest.approx(sum(share) / 4)
    scores = made_up.table("scores").query("method == 'none' and scheme == 'balanced'")
    whole = scores.query("dataset == 'arc' and model == 'Big' and k == '20'")["mean"].iloc[0]
    assert whole == pytest.approx(100 * (share[0] + share[1] - 1), abs=1.5)


def test_figures_are_drawn_and_rebuilt_to_the_same_bytes(made_up: Study) -> None:
    with rc_context(figure_data.QUICK):
        names = made_up.figures("all")
        paths = [made_up.folder / f"{name}.{kind}" for name in names for kind in ("pdf", "png")]
        first = [path.read_bytes() for path in paths]
        made_up.figures("all")
    for path, content in zip(paths, first, strict=True):
        assert path.read_bytes() == content, path.name
    sidecar = json.loads((made_up.folder / f"{names[0]}.json").read_text())
    assert sidecar["params"]["dataset"] == "all"


def test_intervals_hold_their_values(made_up: Study) -> None:
    made_up.must("compute_msp_intervals")
    table = made_up.table("intervals")
    auroc = made_up.table("auroc").set_index(["dataset", "model"])["msp_auroc"]
    means = table[table["prompt"].isna() & (table["measure"] == "auroc")]
    means = means[means["method"] == "msp"].set_index(["dataset", "model"])
    assert means["value"].to_dict() == pytest.approx(auroc.to_dict())
    assert (means["ci_low"] < means["ci_high"]).all()


def test_nothing_is_written_from_half_a_data_set(tmp_path: Path) -> None:
    release = data.write(tmp_path / "release")
    next(release.glob("quiz_big*")).unlink()
    study = Study(tmp_path, release, list(data.MODELS.values()), data.DATASETS)
    done = study.import_apart()
    assert done.returncode != 0
    assert done.stderr.startswith("error: quiz_big-q0to40_no_abst_norm_logits")
    assert not (tmp_path / "r.parquet").exists()


def verify(study: Study, expected: Path) -> subprocess.CompletedProcess[str]:
    return forks.run(
        [sys.executable, str(ROOT / "scripts" / "verify_expected.py"), "--expected", str(expected),
         "--report", "report.csv", "--tables", *(f"{name}.csv" for name in VERIFIED)],
        cwd=study.folder,
    )  # fmt: skip


def test_verification_fails_on_a_number_outside(made_up: Study, tmp_path: Path) -> None:
    row = made_up.table("auroc").query("dataset == 'all' and model == 'Big'")
    ours = 100 * float(row["accuracy"].iloc[0])
    head = "table,dataset,model,quantity,value,factor,tolerance,source\n"
    good = f"auroc,all,Big,accuracy,{ours:.1f},100,0.05,x\n"
    bad = f"auroc,all,Big,accuracy,{ours + 0.1:.1f},100,0.05,x\n"
    expected = tmp_path / "expected.csv"
    for rows, code, said in (
        (good, 0, "all 1 published numbers reproduce"),
        (good + bad, 1, "1 of 2 numbers are outside"),
        ("auroc,all,Nobody,accuracy,1,1,0,x\n", 1, "line 2: no such number"),
        ("", 1, "no rows"),
    ):
        expected.write_text(head + rows)
        done = verify(made_up, expected)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


@needs_archive
def test_a_slice_of_the_release_runs_from_files_to_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure_data.draw_once(monkeypatch)
    chosen = [model for model in MODELS if model["file"] in ("Falcon-7b", "Llama3-8b", "Yi-34b",
                                                             "gpt-4-turbo")]  # fmt: skip
    counts = dict.fromkeys(("arc", "truthfulqa", "winogrande"), 500)
    files = data.slice_of_archive(tmp_path / "s", [m["file"] for m in chosen], list(counts))
    study = Study(tmp_path, files, chosen, counts)
    study.importing("--manifest", str(data.MANIFEST))
    study.tables()
    for name in study.figures("arc"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1_500
    auroc = study.table("auroc").query("dataset == 'all'").set_index("model")["msp_auroc"]
    assert auroc["Falcon 7B"] < 0.6 < auroc["GPT4 Turbo"]


@needs_archive
def test_every_published_number_reproduces(tmp_path: Path) -> None:
    study = Study(tmp_path, data.ARCHIVE, MODELS, COUNTS, seeds=0, ks=[20])
    study.importing("--manifest", str(data.MANIFEST))
    study.tables()
    done = verify(study, ROOT / "expected" / "msp_v2.csv")
    assert done.returncode == 0, done.stderr
    assert "all 1730 published numbers reproduce" in done.stderr
