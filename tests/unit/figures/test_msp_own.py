"""Paper 2's own runs: from records of letters to tables and figures, by the same programs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from sklearn.metrics import roc_auc_score

import plot_msp_abstention
import plot_msp_auroc
import plot_msp_datasets
import plot_msp_prompts
import verify_claims
from multical import records
from multical.claims import schema
from multical.claims.params import AnswerClaims
from multical.claims.schema import NOT_TESTABLE
from multical.data import questions
from multical.errors import InputError
from multical.figures import msp_style, style
from multical.figures.params import AnswerDataset, AnswerModel, Answers, PromptText
from multical.metrics import abstention
from multical.metrics.params import Split
from support import figure_data
from support.claim_data import BOOTSTRAP, CLAIMS
from support.msp_study import Study
from support.synthetic import own_answers

METHODS = ["msp", "maxlogit", "margin", "entropy"]
PROMPTS = [
    {
        "name": "response",
        "multiple_choice": "Costs $1 or $2?\n{question}\n\n{options}\n\nResponse:",
    },
    {"name": "answer", "multiple_choice": "{question} Only A, B, C or D.\n{options}\nAnswer:"},
]
DATASETS = [
    {"id": "arc", "name": "ARC", "benchmark": "arc-challenge", "language": "en"},
    {"id": "quiz", "name": "Quiz", "benchmark": "facts", "language": "de"},
]


def model(run: str, size: float | None = 7.0, api: bool = False) -> dict[str, Any]:
    return {"file": run, "name": run.upper(), "size": size, "max_logit": not api}


def study(
    folder: Path, models: list[dict[str, Any]], frames: list[pd.DataFrame], **settings: Any
) -> Study:
    """A study whose records are written as its scoring jobs write them, a file a run and set."""
    found = Study(folder, "", models, {}, **{
        "datasets": DATASETS, "methods": METHODS, "grid": "min",
        "ks": [5, 20, 100, "half"], **settings,
    })  # fmt: skip
    paths = []
    for frame in frames:
        paths.append(f"records/{frame['run'].iloc[0]}/{frame['benchmark'].iloc[0]}.parquet")
        records.write(folder / paths[-1], frame)
    found.records = " ".join(paths)
    return found


SKILLS = {"good": 0.15, "fair.facts.ls0.1.s0": 0.5, "api": 0.8, "poor": 4.0}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Four runs, one fine-tuned and one behind an API, on two data sets, one of 20 questions."""
    frames = [
        frame
        for place, (run, skill) in enumerate(SKILLS.items())
        for frame in (
            own_answers(run, "arc-challenge", 150, skill, place, power=1.5),
            own_answers(run, "facts", 20, skill, place, language="de", options=2),
        )
    ]
    bounds = [np.array([False, True, False, True])] * len(frames[4])
    frames[4] = frames[4].assign(letter_bounds=pd.Series(bounds))
    models = [model(run, None if run == "api" else place + 1.0, run == "api")
              for place, run in enumerate(SKILLS)]  # fmt: skip
    found = study(tmp_path_factory.mktemp("own"), models, frames)
    found.tables()
    return found


def letters(study: Study, run: str, benchmark: str, prompt: str) -> tuple[Any, Any]:
    """(n, k) probabilities of the letters, and which is right."""
    frame = records.read(study.folder / f"records/{run}/{benchmark}.parquet")
    rows = frame[frame["prompt"] == prompt]
    logits = np.stack(rows["letter_logits"].to_list()).astype(float)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rows["gold"].to_numpy()


def test_aurocs_are_those_of_the_letters(own: Study) -> None:
    auroc = own.table("cells").set_index(["dataset", "model", "prompt", "method"])["auroc"]
    auroc = auroc.sort_index()
    for run in SKILLS:
        p, gold = letters(own, run, "facts", "answer")
        correct, ordered = p.argmax(axis=1) == gold, np.sort(p, axis=1)
        cell = auroc["quiz", run.upper(), "answer"]
        for method, confidence in (
            ("msp", ordered[:, -1]),
            ("margin", ordered[:, -1] - ordered[:, -2]),
            ("entropy", (p * np.log(p)).sum(axis=1)),
        ):
            assert cell[method] == pytest.approx(roc_auc_score(correct, confidence))
        assert ("maxlogit" in cell) == (run != "api")


def test_tables_have_columns_for_all_methods(own: Study) -> None:
    auroc = own.table("auroc").set_index(["dataset", "model"])
    for method in METHODS:
        assert auroc[f"{method}_auroc"].drop(("all", "API")).loc["all"].notna().all()
    assert auroc.loc[("all", "API"), ["maxlogit_auroc", "maxlogit_significant"]].isna().all()
    assert auroc.loc[("all", "GOOD"), "margin_significant"].endswith("/4")
    assert "Entropy AUROC" in (own.folder / "auroc.tex").read_text()
    pairs = own.table("correlations").query("dataset == 'all' and prompt.isna()")
    assert {("accuracy", "entropy_auroc"), ("size", "margin_auroc")} <= set(
        zip(pairs["x"], pairs["y"], strict=True)
    )
    cells = own.table("cells").query("method in ['msp', 'maxlogit'] and dataset == 'arc'")
    datasets = own.table("datasets").set_index("dataset")
    assert datasets.loc["arc", "accuracy"] == pytest.approx(cells["accuracy"].mean())
    assert datasets.loc["quiz", "questions"] == 20
    assert set(own.table("scores")["method"]) == {"none", *METHODS}
    printed = (own.folder / "scores.tex").read_text()
    assert "LLM & No abstention & MSP & Max Logit & Margin & Entropy" in printed
    assert r"\emph{ARC, conservative}" in printed


def test_the_split_starts_from_phrasing_and_question(own: Study) -> None:
    """The threshold of one cell, chosen by hand on the answers that the seed puts first."""
    frame = records.read(own.folder / "records/good/facts.parquet")
    rows = sorted(
        zip(frame["prompt"], frame["question_id"], frame["letter_logits"], frame["gold"],
            strict=True),
        key=lambda row: row[:2],
    )  # fmt: skip
    order = abstention.permutation(40, Split().seed)[:20]
    p = np.stack([row[2] for row in rows]).astype(float)
    p = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
    right = np.array([row[3] for row in rows]) == p.argmax(axis=1)
    margin = np.abs(p[:, 0] - p[:, 1])
    found = own.table("thresholds").query("k == '20' and scheme == 'conservative'")
    found = found.query("dataset == 'quiz' and model == 'GOOD' and method == 'margin'")
    threshold = found["value"].iloc[0]

    def score(at: float) -> float:
        given = margin[order] >= at
        return float((right[order][given] - 2.0 * ~right[order][given]).sum())

    grid = own.table("score_curves").query("dataset == 'quiz' and method == 'margin'")["threshold"]
    assert grid.min() < margin[order].min()
    assert score(threshold) == max(score(at) for at in grid.unique())


def test_too_large_ks_are_left_out(own: Study) -> None:
    scores = own.table("scores")
    ks = scores.groupby("dataset", sort=False)["k"].unique().map(list).to_dict()
    assert ks == {k: ["5", "20", *more, "half"]
                  for k, more in (("all", []), ("arc", ["100"]), ("quiz", []))}  # fmt: skip
    with pytest.raises(InputError) as error:
        own.must("compute_msp_calibration", main_k=40)
    assert str(error.value) == (
        "abstention.main_k: found 40, expected fewer than the 40 answers of a model to quiz, all "
        "phrasings together"
    )


def test_thresholds_start_below_entropies(own: Study) -> None:
    with pytest.raises(InputError, match=r"abstention.grid: found zero, expected min"):
        own.must("compute_msp_abstention", grid="zero")
    curves = own.table("score_curves").query("method == 'entropy'")
    assert (curves["threshold"] < 0).all()
    first = curves.groupby(["dataset", "model", "scheme"])["abstained"].first()
    assert (first.loc["all"] == 0).any()


def test_intervals_draw_the_questions_of_both_phrasings(own: Study) -> None:
    own.must("compute_msp_intervals")
    table = own.table("intervals")
    means = table[table["prompt"].isna() & (table["measure"] == "auroc")]
    auroc = own.table("auroc").set_index(["dataset", "model"])
    for method in METHODS:
        chosen = means[means["method"] == method].set_index(["dataset", "model"])["value"]
        expected = auroc[f"{method}_auroc"].dropna()
        assert chosen.sort_index().to_dict() == pytest.approx(expected.sort_index().to_dict())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    figure_data.draw_once(monkeypatch)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inputs") / "arc-challenge.parquet"
    asked = {"question": "An $x_1$ {options} " + "long word " * 60, "options": ["a", "b $2", "c"]}
    rows = [{"question_id": name, "language": "en", "answer": 0, **asked} for name in ("b", "a")]
    questions.write(path, pd.DataFrame(rows))
    return str(path)


@pytest.mark.usefixtures("quick")
def test_figures_are_drawn(own: Study, benchmark: str) -> None:
    for name in [*own.figures("quiz"), *own.own_figures("all", benchmark, PROMPTS)]:
        assert (own.folder / f"{name}.png").stat().st_size > 1_500


def test_errors_are_drawn_as_the_study_has_them(own: Study) -> None:
    """The mean of the cells, as v4 has it; own runs are given it by their rule."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(msp_style, "fitted_scatter", lambda ax, points, x, y, _: drawn.append(y))
        names = "accuracy_vs_calibration accuracy_vs_calibration_platt"
        own.must("plot_msp_calibration", names, "figures/errors/", error="calibration_error_cells")
    assert drawn == ["calibration_error_cells", "calibration_error_cells_platt"]


def test_thirty_models_are_told_apart() -> None:
    models = [AnswerModel(**model(f"m{place}")) for place in range(30)]
    datasets = [AnswerDataset(**one) for one in DATASETS]
    looks = msp_style.styles(Answers(study="results/x", models=models, datasets=datasets))
    points = [(look["color"], look["marker"]) for look in looks.values()]
    lines = [(look["color"], look["linestyle"]) for look in looks.values()]
    assert len(set(points)) == 30
    assert len(set(lines[:15])) == 15


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_rings_and_the_line_of_a_guess_have_names(own: Study) -> None:
    raw = {"study": "results/x", "models": [model(run) for run in SKILLS], "datasets": DATASETS}
    looks = msp_style.styles(Answers.model_validate(raw))
    curves = own.table("score_curves").query("dataset == 'all'")
    curves = curves[curves["model"].isin(looks)]
    figure = plot_msp_abstention.against_threshold(curves, looks, ["msp"])
    assert legend_of(figure)[-1] == "chosen on labelled\nanswers"
    points = own.table("points").query("dataset == 'all' and prompt.isna()")
    points = points[points["model"].isin(looks)]
    figure = plot_msp_auroc.scatter({"": points}, "accuracy", looks, ["msp"])
    assert legend_of(figure)[-1] == "AUROC of a guess"
    ax = figure.axes[0]
    assert min(line.get_zorder() for line in ax.lines) > ax.yaxis.get_zorder(), "grid lines cut it"


def test_the_line_of_a_guess_crosses_bars_of_aurocs_alone(own: Study) -> None:
    measures = {"accuracy": "Accuracy", "msp_auroc": "MSP AUROC", "margin_auroc": "Margin AUROC"}
    names = {one["id"]: one["name"] for one in DATASETS}
    figure = plot_msp_datasets.bars(own.table("datasets"), measures, names)
    assert "AUROC of a guess" in legend_of(figure)
    (ax,) = figure.axes
    (line,) = ax.lines
    left, right = np.asarray(line.get_xdata(), float)
    bars: Any = ax.patches
    edges = [bar.get_x() for bar in bars]
    assert sum(edge < left - 1e-9 for edge in edges) == len(names)
    assert max(edges) < right


def test_methods_that_are_unknown(own: Study) -> None:
    with pytest.raises(InputError, match=r"--params: methods.1: found 'logit', expected: .*'msp'"):
        own.must("compute_msp_auroc", methods=["msp", "logit"])


def test_prompts_are_shown_with_their_headings() -> None:
    row = pd.Series({"language": "de", "question": "Wo?", "options": ["hier", "dort"]})
    headings = {"ask": {"de": "Frage:"}}
    text = "{ask} {question}\n{options}"
    prompt = PromptText(name="own", multiple_choice=text, headings=headings)
    assert plot_msp_prompts.filled(prompt, row) == "Frage: Wo?\nA. hier\nB. dort"


def test_questions_in_another_language_are_not_shown(own: Study, benchmark: str) -> None:
    with pytest.raises(InputError, match=r"parquet: no question in de, expected at least one"):
        own.prompts(benchmark, PROMPTS, "de", "figures/no")


def test_records_that_are_missing(own: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "records", own.records.split()[0])
    with pytest.raises(InputError, match=r"records: no msp of \('arc-challenge', 'en', 'fair"):
        own.must("compute_msp_auroc")


def certain(run: str, right: bool) -> pd.DataFrame:
    """Answers that are all right, or all wrong, with a confidence of 1."""
    frame = own_answers(run, "arc-challenge", 30, 1.0, 0, prompts=("answer",))
    logits = np.where(np.arange(4) == (frame["gold"].to_numpy()[:, None] + (not right)) % 4, 90, 0)
    return frame.assign(letter_logits=list(logits.astype(np.float32)))


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two models of unknown size, certain of all answers, in one phrasing of one data set."""
    found = study(
        tmp_path_factory.mktemp("awkward"),
        [model("right", None, api=True), model("wrong", None, api=True)],
        [certain("right", True), certain("wrong", False)],
        datasets=DATASETS[:1], methods=["msp", "margin", "entropy"], ks=[5, 40],
    )  # fmt: skip
    found.tables()
    return found


def test_what_is_undefined_is_missing(awkward: Study) -> None:
    auroc = awkward.table("auroc").set_index(["dataset", "model"])
    assert auroc["accuracy"].to_list() == [1, 0] * 2
    assert auroc["entropy_auroc"].isna().all()
    assert (auroc["msp_significant"] == "0/1").all()
    assert "RIGHT & 100.0 & -- & 0/1" in (awkward.folder / "auroc.tex").read_text()
    calibration = awkward.table("calibration")
    assert calibration["calibration_error"].isna().all()
    assert (calibration["unbinned"] == 30).all()
    assert awkward.table("scores").query("method == 'none'")["value"].isin([100, -100, -200]).all()
    assert set(awkward.table("scores")["k"]) == {5, 20}  # the main one, and none of 40
    awkward.must("compute_msp_intervals")
    assert awkward.table("intervals").query("measure == 'auroc'")["value"].isna().all()


@pytest.mark.usefixtures("quick")
def test_figures_of_nothing_are_drawn(awkward: Study, benchmark: str) -> None:
    for name in [*awkward.figures("arc"), *awkward.own_figures("all", benchmark, PROMPTS)]:
        assert (awkward.folder / f"{name}.png").stat().st_size > 1_000


def verdicts(study: Study) -> dict[str, Any]:
    settings = {key: study.settings[key] for key in ("study", "models", "datasets", "bins")}
    settings |= {"kind": "chat_confidence", "bootstrap": BOOTSTRAP, **schema.dumped(CLAIMS)}
    settings["schemes"] = {"balanced": 1, "conservative": 2}
    params = AnswerClaims.model_validate(settings)
    files = {path.name: str(path) for path in study.folder.glob("*.csv")}
    paths = [str(study.folder / name) for name in study.records.split()]
    found: dict[str, Any] = verify_claims.verify(params, paths, files, 1)["claims"]
    return found


def test_claims_that_cannot_be_tested(awkward: Study) -> None:
    found = verdicts(awkward)
    assert {one["verdict"] for one in found.values()} == {NOT_TESTABLE}
    assert [found[name]["reason"] for name in ("M1", "P1", "P2", "P3", "P4")] == [
        "the claim is about models before and after fine-tuning, and results/x is about the "
        "confidence of chat models",
        "the calibration error of RIGHT is not defined",
        "the AUROC of RIGHT, arc, answer, or its test, is not defined",
        "no correlation of accuracy and MSP AUROC",
        "too few models or bootstrap replicates: whatever the data, its p can be no less than 0.25 "
        "here, and only a p under 0.05 counts",
    ]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [([1.0, 1.0, 2.0, 2.0], "no line: fewer than\n3 different values"), ([1, 2, 3, 3], "$R^2$")],
)
def test_two_sizes_have_no_line_and_no_p(sizes: list[float], said: str) -> None:
    raw = {"study": "results/x", "models": [model(run) for run in SKILLS], "datasets": DATASETS}
    params = Answers.model_validate(raw)
    names = list(params.names.values())
    points = pd.DataFrame({"model": names, "size": sizes, "auroc": [0.5, 0.6, 0.8, 0.7]})
    _, ax = style.subplots()
    msp_style.fitted_scatter(ax, points, "size", "auroc", msp_style.styles(params))
    (note,) = ax.texts
    assert note.get_text().startswith(said)
    assert len(ax.lines) == len(names) + said.startswith("$")


@pytest.mark.parametrize(
    ("font", "text"),
    [
        ("Noto Sans Ethiopic", "የኢትዮጵያ ገንዘብ"),
        ("Noto Sans Arabic", "عملة"),
        ("Noto Sans Telugu", "కరెన్సీ"),
    ],
)
def test_a_prompt_in_any_script_has_its_letters(font: str, text: str) -> None:
    if font not in get_font_names():
        pytest.skip(f"{font} is not installed")
    figure = plot_msp_prompts.panels({"own": f"Q: {text}?"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a glyph that no font has
        figure.draw_without_rendering()
