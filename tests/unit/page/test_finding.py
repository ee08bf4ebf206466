"""The finding of a study, from its tables: in one sentence, and where it does not hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import show_finding
from multical.config import files
from multical.errors import InputError
from multical.figures.params import Conditions
from multical.files import sha256
from multical.page import finding, finding_base, finding_parts
from multical.workflow import job_params
from support import explored, figure_data
from support.answer_tables import write_answers

ROOT = Path(__file__).parents[3]
VERDICTS = {"M1": "reproduced", "M2": "inconclusive", "P1": "reproduced"}
GEMMA, SMOLLM = figure_data.MODELS


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with multical's config, and verdicts of two studies."""
    monkeypatch.chdir(tmp_path)
    for name in ("config.yaml", "config"):
        Path(name).symlink_to(ROOT / name)
    for study in ("demo", "msp_v2"):
        file = tmp_path / "results" / study / "claims" / "verdicts.json"
        file.parent.mkdir(parents=True)
        claims = {name: {"verdict": verdict} for name, verdict in VERDICTS.items()}
        document = {"study": f"results/{study}", "kind": "made up", "claims": claims}
        file.write_text(json.dumps(document))
        outputs = {str(file): sha256(file)}
        file.with_name("provenance.json").write_text(json.dumps({"outputs": outputs}))
    return tmp_path / "results"


def shown(
    study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["show_finding.py", "--study", study])
    show_finding.main()
    return capsys.readouterr().out.splitlines()


def demo(results: Path) -> dict[str, Path]:
    """Write tables of the demo; their paths by kind."""
    written = figure_data.write_tables(results / "demo")
    (results / "demo" / "stats").mkdir()
    for kind in ("effects", "effects_over_languages"):
        written[kind] = written[kind].rename(results / "demo" / "stats" / f"{kind}.csv")
    return written


def test_paper_1(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo(results)
    lines = shown("results/demo", monkeypatch, capsys)
    assert lines[:2] == [
        "Page: results/demo/index.html",
        "Figure: results/demo/figures/ece_by_lang.pdf",
    ]
    summary = pd.read_csv(results / "demo/summary.csv")
    means = summary[summary["group"] == "non-english"].set_index(["run", "metric"])["value"]
    for line, before, after in (
        (lines[4], "", ".facts.ls0.s0"),
        (lines[5], ".facts.ls0.s0", ".facts.ls0.1.s0"),
    ):
        for metric, name in finding_parts.METRICS.items():
            first, second = (
                means[model + after, metric] - means[model + before, metric]
                for model in figure_data.MODELS
            )
            assert f"{name} {first:+.3f} and {second:+.3f}" in line
            if metric == "ece" or before == "":
                assert f"({first:+.3f} and {second:+.3f}" in lines[2]
    assert "means over 40 languages other than English" in lines[4]
    start = "On average over 40 languages other than English, fine-tuning (SFT) raises the"
    assert lines[2].startswith(f"{start} confidence of {GEMMA} and {SMOLLM} (")
    assert "hardly moves the accuracy (" in lines[2]
    assert "raises the calibration error ECE (" in lines[2]
    assert "label smoothing of 0.1 in that training lowers it again (" in lines[2]
    assert lines[3] == (
        "A small demo: 2 models of 0.135 to 0.268 billion parameters, one training seed, 160 "
        "questions in each of 41 languages. It says little about larger models. The questions are "
        "facts about countries from CLDR; all questions are asked in English, and only the names "
        "in them and the options are in the language. One seed does not show how much trainings "
        "differ."
    )
    assert lines[7:] == ["Claims: 2 reproduced (M1, P1), 1 inconclusive (M2)."]


def test_other_readouts_of_all_runs_are_told_beside_the_one_of_the_finding(results: Path) -> None:
    demo(results)
    summary = pd.read_csv(results / "demo/summary.csv")
    values = summary["value"].where(summary["metric"] != "ece", summary["value"] / 10)
    others = [
        summary.assign(readout="text_sum", value=values),
        summary[summary["sft"].isna()].assign(readout="letter"),
    ]
    pd.concat([summary, *others]).to_csv(results / "demo/summary.csv", index=False)
    found = finding.find(files.load(), "results/demo")
    own = summary[(summary["group"] == "non-english") & (summary["metric"] == "ece")]
    metrics = pd.read_csv(results / "demo/metrics.csv")
    english = metrics[(metrics["language"] == "en") & (metrics["metric"] == "ece")]
    assert found.note == (
        f"In English, which the means leave out, {changes_of_ece(english)}. Confidence is read "
        "from how likely the model finds the text of each option, by perplexity of the texts. "
        "Read by likelihood of the texts (means over 40 languages other than English), "
        f"{changes_of_ece(own.assign(value=own['value'] / 10))}."
    )


def changes_of_ece(rows: pd.DataFrame) -> str:
    """What SFT and smoothing change, from a row for each run."""
    values = rows.set_index("run")["value"]
    sft, smoothing = (
        " and ".join(
            f"{values[model + after] - values[model + before]:+.3f}" for model in (GEMMA, SMOLLM)
        )
        for before, after in (("", ".facts.ls0.s0"), (".facts.ls0.s0", ".facts.ls0.1.s0"))
    )
    return f"SFT changes ECE by {sft}, and smoothing by {smoothing}"


#: Value, ends of the interval and corrected p of a change
UP, UNCLEAR = (0.2, 0.1, 0.3, 1.0), (0.1, -0.1, 0.3, 1.0)
SURELY_UP, SURELY_DOWN = (0.2, 0.1, 0.3, 0.01), (-0.2, -0.3, -0.1, 0.01)


def measured(
    results: Path, changes: dict[tuple[str, str, str], dict[str, tuple[float, ...]]]
) -> None:
    """Write tables of the demo in three languages, with these changes.

    They are by (model, condition, metric).
    """
    path = demo(results)["effects"]
    effects = pd.read_csv(path)
    effects = effects[effects["language"].isin(["en", "fr", "yo"])]
    for (model, after, metric), by_language in changes.items():
        for language, ends in by_language.items():
            own = (effects["model"] == model) & (effects["after"] == after)
            own &= (effects["language"] == language) & (effects["metric"] == metric)
            effects.loc[own, ["value", "ci_low", "ci_high", "p_holm"]] = ends
    effects.to_csv(path, index=False)


def test_the_languages_in_which_it_does_not_hold_are_named(results: Path) -> None:
    smoothed, squared = "SFT + smoothing 0.1", "debiased_ece2"
    measured(
        results,
        {
            (GEMMA, "SFT", "confidence"): {"en": SURELY_UP, "fr": SURELY_UP, "yo": SURELY_UP},
            (SMOLLM, "SFT", "confidence"): {"en": SURELY_UP, "fr": UP, "yo": SURELY_DOWN},
            (GEMMA, "SFT", squared): {"en": UP, "fr": UNCLEAR, "yo": UP},
            (SMOLLM, "SFT", squared): {"en": SURELY_UP, "fr": SURELY_UP, "yo": UP},
            (GEMMA, smoothed, squared): {"en": UNCLEAR, "fr": SURELY_DOWN, "yo": UNCLEAR},
            (SMOLLM, smoothed, squared): {"en": SURELY_DOWN, "fr": SURELY_DOWN, "yo": SURELY_UP},
        },
    )
    found = finding.find(files.load(), "results/demo")
    assert [part.sentence(found.unit) for part in found.parts] == [
        f"SFT raises the confidence of {GEMMA} in 3 of 3 languages, without exception; in 3 after "
        "Holm's correction.",
        f"SFT raises the confidence of {SMOLLM} in 2 of 3 languages; in 1 after Holm's correction; "
        "the contrary in 1 (Yoruba).",
        f"SFT raises the debiased ECE\u00b2 of {GEMMA} in 2 of 3 languages; in 0 after Holm's "
        "correction; undecided in 1 (French).",
        f"SFT raises the debiased ECE\u00b2 of {SMOLLM} in 3 of 3 languages, without exception; in "
        "2 after Holm's correction.",
        f"Smoothing 0.1 lowers the debiased ECE\u00b2 of {GEMMA} in 1 of 3 languages (French); in "
        "1 after Holm's correction; undecided in 2.",
        f"Smoothing 0.1 lowers the debiased ECE\u00b2 of {SMOLLM} in 2 of 3 languages; in 2 after "
        "Holm's correction; the contrary in 1 (Yoruba).",
    ]
    assert [part.most for part in found.parts] == [
        ("where it holds", ["English", "French", "Yoruba"]),
        ("where it holds", ["English", "French"]),
        ("where it holds", ["English", "Yoruba"]),
        ("where it holds", ["English", "French", "Yoruba"]),
        ("left undecided", ["English", "Yoruba"]),
        ("where it holds", ["English", "French"]),
    ]
    assert str(found.parts[2]) == (
        f"SFT raises the debiased ECE\u00b2 of {GEMMA} in 2 of 3 (0 after Holm's correction, "
        "1 undecided)"
    )
    assert "95 % interval" in found.decided
    assert "the debiased ECE\u00b2, since changes of ECE cannot be tested" in found.decided
    assert "raises the calibration error ECE (" in found.lead, "each by its own name"


def test_the_changes_are_in_a_table_with_plain_names(results: Path) -> None:
    demo(results)
    found = finding.detail(files.load(), "results/demo")
    assert found is not None
    assert found.rows[0] == ["change", "model", "confidence", "accuracy", "debiased ECE\u00b2"]
    assert [row[:2] for row in found.rows[1:]] == [
        [change, model] for change in ("SFT", "SFT + smoothing 0.1") for model in figure_data.MODELS
    ]


def test_models_that_differ_get_no_common_direction(results: Path) -> None:
    written = demo(results)
    summary = pd.read_csv(written["summary"])
    own = (summary["run"] == f"{SMOLLM}.facts.ls0.s0") & (summary["metric"] == "confidence")
    summary.loc[own, "value"] = 0.1
    own = (summary["run"] == f"{SMOLLM}.facts.ls0.s0") & (summary["metric"] == "accuracy")
    summary.loc[own, "value"] = 0.9
    summary.to_csv(written["summary"], index=False)
    lead = finding.find(files.load(), "results/demo").lead
    assert ", fine-tuning (SFT) changes the confidence of " in lead
    assert "raises the accuracy" in lead


def test_what_does_not_change_is_said_not_to(results: Path) -> None:
    written = demo(results)
    summary = pd.read_csv(written["summary"])
    summary["value"] = summary.groupby(["model", "group", "metric"])["value"].transform("first")
    summary.to_csv(written["summary"], index=False)
    means = pd.read_csv(written["effects_over_languages"])
    means.assign(value=0.0).to_csv(written["effects_over_languages"], index=False)
    found = finding.find(files.load(), "results/demo")
    assert ", fine-tuning (SFT) does not change the confidence of " in found.lead
    assert "in that training does not change it (+0.000 and" in found.lead
    assert found.parts == []


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ([0.1], "tiny claims to be right more often than it is: "),
        ([-0.1], "tiny does not claim to be right more often than it is: "),
        ([-0.1, -0.2], "None of 2 models claims to be right more often than it is: "),
        ([-0.1, 0.2], "1 of 2 models (tiny-2) claim to be right more often than they are: "),
    ],
)
def test_few_models_and_languages_are_counted_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gaps: list[float], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    models = ["tiny", "tiny-2"][: len(gaps)]
    values = {
        model: {"accuracy": 0.5, "confidence": 0.5 + gap, "ece": 0.1}
        for model, gap in zip(models, gaps, strict=True)
    }
    run: dict[str, Any] = dict.fromkeys(["sft", "smoothing", "seed", "ci_low", "ci_high"])
    run |= {"benchmark": "synthetic", "readout": "text_ppl"}
    rows = [
        run | {"run": model, "model": model, "metric": metric, "value": value}
        for model, row in values.items()
        for metric, value in row.items()
    ]
    folder = Path("results/tiny")
    folder.mkdir(parents=True)
    summary = [row | {"group": "non-english", "languages": 1} for row in rows]
    pd.DataFrame(summary).to_csv(folder / "summary.csv", index=False)
    metrics = [row | {"language": "he", "resource_level": "low", "n": 9} for row in rows]
    pd.DataFrame(metrics).to_csv(folder / "metrics.csv", index=False)
    params = job_params.figure(explored.logs(), "results/tiny", Conditions)
    lead = finding_base.find(params).lead
    assert lead.startswith(said)
    assert lead.endswith(" (means over one language other than English).")


def test_base_models_alone(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = demo(results)
    for kind in ("metrics", "summary"):
        table = pd.read_csv(written[kind])
        table[table["sft"].isna()].to_csv(written[kind], index=False)
    config = files.load()
    study = config.measured("results/demo")
    figures = {**dict(study.figures), "sft": None, "smoothing": None, "seed": None}
    bare = study.model_copy(update={"figures": study.figures.model_construct(**figures)})
    config = config.model_copy(update={"studies": {**config.studies, "results/demo": bare}})
    found = finding.find(config, "results/demo")
    summary = pd.read_csv(written["summary"])
    means = summary[summary["group"] == "non-english"].set_index(["run", "metric"])["value"]
    gaps = [means[model, "confidence"] - means[model, "accuracy"] for model in (GEMMA, SMOLLM)]
    assert found.lead == (
        f"2 of 2 models ({GEMMA}, {SMOLLM}) claim to be right more often than they are: mean "
        f"confidence minus accuracy is {gaps[0]:+.3f} and {gaps[1]:+.3f} for {GEMMA} and {SMOLLM} "
        "(means over 40 languages other than English)."
    )
    assert [part.says for part in found.parts] == [
        f"{GEMMA} is overconfident", f"{SMOLLM} is overconfident"
    ]  # fmt: skip
    assert {part.total for part in found.parts} == {41}


def test_paper_2(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_answers(results)
    lines = shown(root, monkeypatch, capsys)
    assert lines[3].startswith(
        "The study: 14 models of 6 to 70 billion parameters where known, 1,200 questions "
    )
    assert lines[1:3] + lines[4:] == [
        "Figure: results/msp_v2/figures/accuracy_vs_auroc.pdf",
        "The confidence of 2 chat models misses their accuracy by 0.200 on average (calibration "
        "error), with no clear link to accuracy (r = -0.10, p = 0.9); it tells right answers from "
        "wrong ones better than a guess in 1 of 2 models (mean AUROC 0.600), better in more "
        "accurate models (r = 0.80, p = 0.001). Abstaining where confidence is low changes the "
        "score by +8.5 against always answering, and by +3.5 against the better of always and "
        "never answering, where a wrong answer costs 1 (by +34.5 and +9.5 where it costs 2).",
        "Maximum softmax probabilities of 2 models: AUROC 0.600 (0.500 to 0.700), "
        "calibration error 0.200 (0.100 to 0.300)",
        "Correlation with accuracy across models: AUROC (r = 0.80, p = 0.001), "
        "calibration error (r = -0.10, p = 0.9)",
        "Models: The AUROC is above that of a guess, 0.5, in 1 of 2 (1 undecided); Abstaining "
        "when unsure beats both always and never answering where a wrong answer costs 1, in 2 of "
        "2; Abstaining when unsure beats both always and never answering where a wrong answer "
        "costs 2, in 1 of 2 (1 the contrary).",
        "Claims: 2 reproduced (M1, P1), 1 inconclusive (M2).",
    ]
    found = finding.find(files.load(), root)
    assert [(part.fails, part.undecided) for part in found.parts] == [
        ([], ["a"]), ([], []), (["a"], [])
    ]  # fmt: skip


def test_where_two_mean_calibration_errors_differ_it_says_why(results: Path) -> None:
    note = finding.find(files.load(), write_answers(results)).note
    assert "0.200 is the mean over models, data sets and phrasings, in bins of equal width" in note
    assert (
        "pooled in one set of bins of equal mass, as claim P1 tests it, the mean is 0.125" in note
    )


@pytest.mark.parametrize(
    ("low", "said"),
    [
        (0.2, "None of 2 models is shown to answer better than a guess (by accuracy). The "),
        (0.26, "Only 1 of 2 models is shown to answer better than a guess (by accuracy). The "),
    ],
)
def test_accuracies_at_chance_are_said_first(results: Path, low: float, said: str) -> None:
    found = finding.find(files.load(), write_answers(results, "demo/msp", low))
    assert found.lead.startswith(said)
    able = found.parts[0]
    assert able.says == "The accuracy is above that of a guess, 0.25,"
    # accuracies at chance have no link to anything
    assert ("(r = " in found.lead) == ("r is the correlation" in found.note) == (low > 0.25)
    assert (able.holds, able.undecided) == ((["b"], ["a"]) if low > 0.25 else ([], ["a", "b"]))


def test_what_abstention_gains_is_in_a_table(results: Path) -> None:
    found = finding.detail(files.load(), write_answers(results))
    assert found is not None
    assert (found.key, found.name) == ("abstention", "Abstention")
    assert found.rows == [
        ["model", "a wrong answer costs", "score, always answering",
         "score, abstaining when unsure", "gain over always answering",
         "gain over the better of always and never answering"],
        ["a", "1", "-10.0", "5.0", "+15.0", "+5.0"],
        ["b", "1", "40.0", "42.0", "+2.0", "+2.0"],
        ["a", "2", "-50.0", "-1.0", "+49.0", "-1.0"],
        ["b", "2", "10.0", "30.0", "+20.0", "+20.0"],
    ]  # fmt: skip
    assert "20 labelled questions" in found.about
    assert "Where always answering scores less than that (2 of 4 times here)" in found.about


def test_a_link_to_accuracy_is_named_by_its_sign(results: Path) -> None:
    write_answers(results, r=[-0.8, 0.9, 0, 0], p=[0.01, 0.02, 1, 1])
    lead = finding.find(files.load(), "results/msp_v2").lead
    assert "(calibration error), more in more accurate models (r = 0.90, p = 0.02)" in lead
    assert "worse in more accurate models (r = -0.80, p = 0.01). Abstaining" in lead


@pytest.mark.usefixtures("results")
def test_an_unknown_study_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"^results/dem: no such study, expected one of"):
        shown("results/dem", monkeypatch, capsys)
