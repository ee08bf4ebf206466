"""Views: the figures of every benchmark and SFT set of a study, by plan and by Snakemake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from multical.config import schema
from multical.errors import InputError
from multical.figures.params import ByLanguageAndGuess, ModelByLanguage, ModelConditions, Panel
from multical.workflow import job_params
from support import checkout, forks, hub_repos, rules

ROOT = "results/two"
RAW: dict[str, Any] = checkout.config()
MMLU = hub_repos.source("global-mmlu", languages=["en", "sw"])


def raw(*, benchmarks: list[str] | None = None, sets: list[str] | None = None) -> dict[str, Any]:
    """A config of one study: by default two benchmarks, one of them with labels, two SFT sets."""
    names, sft = benchmarks or ["quiz", "mmlu.lite"], sets or ["own", "other-2.5"]
    quiz = {"kind": "file", "path": "quiz.jsonl"}
    sources = {name: MMLU if name.startswith("mmlu") else quiz for name in names}
    study = RAW["studies"]["results/smoke"] | {
        "models": ["little"], "benchmarks": names, "sft_data": sft, "languages": ["en", "sw"],
    }  # fmt: skip
    study["figures"] = study["figures"] | {"benchmark": names[0], "sft": sft[0]}
    study["metrics"] = study["metrics"] | {
        "readouts": ["text_ppl"],
        "bootstrap": {"replicates": 20, "seed": 0, "level": 0.95},
    }
    little = {"source": {"kind": "folder", "path": "little"}, "chat_format": "plain"}
    return RAW | {
        "models": {"little": little},
        "benchmarks": {
            name: {"source": source, "options": 4 if source is quiz else None}
            for name, source in sources.items()
        },
        "sft_data": {name: {"source": {"kind": "file", "path": "own.jsonl"}} for name in sft},
        "studies": {ROOT: study},
    }


def test_the_views_of_a_study() -> None:
    panels = job_params.panels(schema.load(raw()), ROOT)
    assert list(panels.items()) == [
        ("", ("quiz", "own")),
        ("quiz.other-2.5/", ("quiz", "other-2.5")),
        ("mmlu.lite.own/", ("mmlu.lite", "own")),
        ("mmlu.lite.other-2.5/", ("mmlu.lite", "other-2.5")),
    ]
    assert job_params.panels(schema.load(RAW), "results/demo") == {"": ("cldr-facts", "facts")}


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("root", "headline"),
    [("results/demo", "write_headline"), ("results/demo/msp", "write_msp_headline")],
)
def test_the_page_follows_all_that_the_headline_waits_for(
    tmp_path: Path, root: str, headline: str
) -> None:
    """So a figure or table that is made again makes the page again."""
    found = rules.inputs(tmp_path, root, headline, "make_page")
    figures = [name for name in found[headline] if name.endswith(".pdf")]
    tables = [name for name in found[headline] if f"{root}/tables/" in name]
    assert figures
    assert tables
    shown = [Path(name).with_suffix(end) for name in figures for end in (".png", ".json")]
    shown += [Path(name).with_suffix(end) for name in tables for end in (".csv", ".json")]
    assert {str(name) for name in shown} <= {*found["make_page"]}


def test_a_view_changes_what_is_shown_and_nothing_else() -> None:
    loaded = schema.load(raw())
    first = job_params.figure(loaded, ROOT, ByLanguageAndGuess)
    other = job_params.figure(loaded, ROOT, ByLanguageAndGuess, "mmlu.lite.other-2.5/")
    assert (first.benchmark, first.sft, first.options) == ("quiz", "own", 4)
    changed = {"benchmark": "mmlu.lite", "sft": "other-2.5", "options": None}
    assert other == first.model_copy(update=changed)
    little = job_params.figure(loaded, ROOT, ModelByLanguage, model="little")
    assert dict(little) == {
        **first.model_dump(exclude={"options"}), "model": "little", "language_names": False,
    }  # fmt: skip


@pytest.mark.parametrize("panel", ["quiz.own/", "quiz.other-2.5", "mmlu.lite/", "quiz.none/"])
def test_no_such_view(panel: str) -> None:
    with pytest.raises(KeyError):
        job_params.figure(schema.load(raw()), ROOT, Panel, panel)


def test_no_such_model() -> None:
    with pytest.raises(KeyError):
        job_params.figure(schema.load(raw()), ROOT, ModelConditions, model="large")


def test_two_views_of_one_name() -> None:
    loaded = schema.load(raw(benchmarks=["quiz", "a", "a.b"], sets=["own", "c", "b.c"]))
    with pytest.raises(InputError, match=r"studies.results/two: .* are named a.b.c, expected one"):
        job_params.panels(loaded, ROOT)


def test_which_benchmarks_have_labels() -> None:
    loaded = schema.load(raw())
    assert job_params.labelled(loaded, ROOT, "mmlu.lite")
    assert not job_params.labelled(loaded, ROOT, "quiz")


#: Programs that write what their rules declare, records of random numbers among them
STUB = """
import json
import sys
from pathlib import Path

given = dict(zip(sys.argv[1:], sys.argv[2:]))


def main():
    for flag in ("--output", "--about", "--report", "--manifest", "--loss-log", "--usage"):
        if flag in given:
            Path(given[flag]).write_text("{}\\n")
    if "--checkpoint" in given:
        Path(given["--checkpoint"]).mkdir()
"""
SCORE = """
import json
import sys
from pathlib import Path

from multical import records
from multical.synthetic import make_records


def main():
    given = dict(zip(sys.argv[1:], sys.argv[2:]))
    params = json.loads(given["--params"])
    run = "base" if params.get("sft") is None else "base.x.ls0.1.s0"
    frame = make_records([run], ["en", "sw"], 60, 0)
    labels = ["CS", "CA", None] * 40 if params["benchmark"].startswith("mmlu") else None
    names = ("run", "model", "sft", "smoothing", "seed", "benchmark")
    own = {name: params.get(name) for name in names}
    records.write(given["--output"], frame.assign(**own, culture=labels))
    Path(given["--usage"]).write_text("{}\\n")
"""


def snakemake(clone: Path, *arguments: str) -> str:
    command = [*checkout.SNAKEMAKE, *arguments]
    done = forks.run(command, cwd=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the study of `raw`, whose models are stubs."""
    folder = checkout.copy(tmp_path_factory.mktemp("clone"))
    (folder / "config.yaml").write_text(yaml.safe_dump(raw()), encoding="utf-8")
    (folder / "little").mkdir()
    for name in ("quiz.jsonl", "own.jsonl", "little/config.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    shutil.copy(folder / "tests/support/synthetic.py", folder / "scripts/multical/synthetic.py")
    for name in ("fetch_model", "make_benchmark", "make_sft_data", "train_sft", "score_run"):
        body = (SCORE if name == "score_run" else STUB) + "\n\nmain()\n"
        (folder / f"scripts/{name}.py").write_text(body, encoding="utf-8")
    return folder


@pytest.mark.workflow
def test_the_headline_needs_the_figures_of_all_views(clone: Path) -> None:
    told = snakemake(clone, "--dry-run", "--quiet", "host", "--", f"{ROOT}/headline.txt")
    for panel in job_params.panels(schema.load(raw()), ROOT):
        for name in ("ece_by_lang", "effects_by_resource", "effects_by_lang.little"):
            assert f"{ROOT}/figures/{panel}{name}.pdf" in told
        for name in ("figures/{}recalibration_transfer.pdf", "tables/{}recalibration.csv"):
            assert f"{ROOT}/{name.format(panel)}" in told
        assert f"{ROOT}/tables/{panel}main.csv" in told
        assert f"{ROOT}/tables/{panel}p_values.csv" in told
        assert (f"{ROOT}/figures/{panel}culture.pdf" in told) == panel.startswith("mmlu")


@pytest.mark.workflow
@pytest.mark.slow  # a study of its own
def test_figures_of_another_view(clone: Path, tmp_path: Path) -> None:
    panel = f"{ROOT}/figures/mmlu.lite.other-2.5"
    names = ["culture", "conditions_by_resource", "reliability_by_lang.little", "ece_by_lang"]
    names += ["effects_by_lang.little", "effects_by_resource", "recalibration_transfer"]
    names += ["temperatures_by_lang"]
    targets = [f"{panel}/{name}.pdf" for name in names]
    targets += [f"{ROOT}/tables/mmlu.lite.other-2.5/p_values.csv"]
    targets += [
        f"{ROOT}/tables/quiz.other-2.5/{name}.csv"
        for name in ("recalibration", "selective", "main")
    ]
    targets += [f"{ROOT}/figures/ece_by_lang.pdf"]
    snakemake(clone, *targets)
    for target in targets:
        sidecar = json.loads((clone / target).with_suffix(".json").read_text(encoding="utf-8"))
        assert sidecar["target"] == target
    assert sidecar["params"]["benchmark"] == "quiz"
    shown = json.loads((clone / panel / "culture.json").read_text(encoding="utf-8"))["params"]
    assert (shown["benchmark"], shown["sft"]) == ("mmlu.lite", "other-2.5")
    page = tmp_path / "report.html"
    snakemake(clone, "--report", str(page), *targets)
    text = page.read_text(encoding="utf-8")
    for said in ("other-2.5", "mmlu.lite", "reliability by language little", "main table"):
        assert said in text


@pytest.mark.workflow
def test_a_view_that_the_study_lacks(clone: Path) -> None:
    for name in ("quiz.own/ece_by_lang", "reliability_by_lang.large"):
        command = [*checkout.SNAKEMAKE, "--dry-run", f"{ROOT}/figures/{name}.pdf"]
        done = forks.run(command, cwd=clone)
        assert done.returncode != 0
