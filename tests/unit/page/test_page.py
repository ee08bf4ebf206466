"""The page of a study, made of a few figures and tables: each of its sections, and its HTML."""

from __future__ import annotations

import base64
import io
import json
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from PIL import Image

import make_page
from multical import paths
from multical.claims import report
from multical.claims.schema import load
from multical.config import files, schema
from multical.errors import InputError
from multical.figures.language_names import named
from multical.files import sha256
from multical.page import build, contents, facts, near, products
from multical.page.contents import PageJob, Product
from multical.params import canonical
from support import checkout, figure_data
from support.answer_tables import write_answers

ROOT = "results/demo"
PRODUCTS = [
    Product(form="figure", name="ece_by_lang"),
    Product(form="figure", name="effects_by_lang", model=figure_data.MODELS[0]),
    Product(form="table", name="main"),
    Product(form="table", name="settings"),
]
MAIN = {"model": ["a<b"], "group": ["all"], "smoothing": [None], "accuracy": [0.123456],
        "accuracy_low": [0.1], "accuracy_high": [0.2], "n": [12], "p": [3.2e-7]}  # fmt: skip
SETTINGS = {"run": ["a", "b"], "training_hours": [None, 1.5], "training_gpu_hours": [None, 3.0],
            "scoring_hours": [0.25, 0.25], "scoring_gpu_hours": [0.0, 0.0],
            "hardware": ["A CPU", "A CPU; A GPU"]}  # fmt: skip


class Reader(HTMLParser):
    """The elements of a page, with their attributes, and its text but for styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.text += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def sidecar(path: Path, **outputs: str) -> None:
    document = {
        "outputs": outputs,
        "rebuild": "snakemake --cores all x", "code": "0123456789abcdef", "seed": 0,
        "params": {"study": ROOT}, "inputs": {"results/demo/metrics.csv": "f" * 64},
        "python": "3.11", "libraries": {"numpy": "1"}, "wall_seconds": 5.25,
        "machine": {"cpu": "A CPU", "cpus": 2, "memory_gib": 3.5, "system": "Linux"},
    }  # fmt: skip
    path.write_text(json.dumps(document), encoding="utf-8")


def verdicts(folder: Path) -> dict[str, Any]:
    """Verdicts on two claims, one of which a part study tested."""
    claims = json.loads(json.dumps(load(checkout.REPO / "claims.yaml").model_dump(mode="json")))
    test = {"of": "a model", "value": 0.2, "low": 0.1, "high": 0.3, "p": 0.01, "p_adjusted": 0.02,
            "p_against": 0.9, "p_against_adjusted": 1.0, "detectable": 0.1}  # fmt: skip
    part = {
        **claims["claims"]["M1"]["parts"][0], "said": "change of confidence", "value": 0.2,
        "low": 0.1, "high": 0.3, "status": "holds", "passed": 1, "detectable": 0.1, "detail": "",
        "tests": [test], "variants": [{"of": "5 bins", "value": 0.1, "p": 0.2, "status": "holds"}],
    }  # fmt: skip
    both = {"source": "arXiv 1", "alpha": 0.05, "correction": "holm", "seconds": 1.0}
    document = {
        "study": ROOT, "kind": "multilingual", "command": "make", "level": 0.95, "power": 0.8,
        "claims": {
            "M1": {**both, "says": "It rises.", "verdict": "reproduced", "reason": "",
                   "parts": [part]},
            "P2": {**both, "says": "It differs.", "verdict": "not testable here",
                   "reason": "no model does well", "parts": [], "study": f"{ROOT}/msp"},
        },
    }  # fmt: skip
    folder.mkdir()
    (folder / "verdicts.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "verdicts.md").write_text("", encoding="utf-8")
    (folder / "verdicts.html").write_text("", encoding="utf-8")
    (folder / "provenance.json").write_text('{"outputs": {}}', encoding="utf-8")
    return document


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PageJob:
    """A small page of the demo, whose files are in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("config.yaml", "config", "report", "scripts"):
        Path(name).symlink_to(checkout.REPO / name)
    config = files.load()
    root = Path(ROOT)
    for folder in ("figures", "tables"):
        (root / folder).mkdir(parents=True)
    (root / "stats").mkdir()
    written = figure_data.write_tables(root)
    for kind in ("effects", "effects_over_languages"):
        written[kind].rename(root / f"stats/{kind}.csv")
    for product in PRODUCTS:
        stem = product.stem(ROOT)
        sidecar(Path(f"{stem}.json"))
        if product.form == "figure":
            image.imsave(f"{stem}.png", np.random.default_rng(0).random((8, 12, 3)))
    pd.DataFrame(MAIN).to_csv(root / "tables/main.csv", index=False)
    pd.DataFrame(SETTINGS).to_csv(root / "tables/settings.csv", index=False)
    verdicts(root / "claims")
    monkeypatch.setattr("multical.page.explorer.data", lambda config, root: {"kind": "none"})
    monkeypatch.setattr("multical.page.sources.inputs", lambda config, root: [])
    return contents.job(config, ROOT, PRODUCTS)


def test_it_opens_on_the_finding_and_loads_nothing(page: PageJob) -> None:
    text = build.html(page)
    assert text.startswith("<!DOCTYPE html>\n")
    read = Reader(text)
    found = build.context(page)["finding"]
    assert read.text.index(found.lead) < read.text.index("Where it holds, and where not")
    for attributes in read.all("link", "img", "script", "iframe"):
        assert (attributes.get("src") or attributes.get("href") or "data:").startswith("data:")
    assert "://" not in "".join(a["href"] or "" for a in read.all("a"))
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_each_language_of_an_outcome_is_named(page: PageJob) -> None:
    for part in build.context(page)["finding"].parts:
        assert part.total == 41
        _, _, listed = build.html(page).partition(part.sentence("languages").replace("'", "&#39;"))
        outcome, _, _ = listed.partition("</li>")
        what, names = part.most
        assert f"<summary>Languages {what} ({len(names)})<" in outcome
        assert f"<p>{', '.join(names)}</p>" in outcome


def test_why_ece_lies_above_its_interval_is_said_at_the_chart(page: PageJob) -> None:
    text = build.html(page)
    before, _, after = text.partition('<p id="ece">')
    assert before.count("<img") == 1, "the headline figure"
    said = after.partition("</p>")[0]
    assert "most of it lies below the value" in said
    assert "The debiased ECE\u00b2 estimates" in said
    assert text.count('href="#ece"') == 2, "from the list of languages, and from the explorer"


def test_figures_and_tables_are_open_and_can_be_folded(page: PageJob) -> None:
    long = [one for one in Reader(build.html(page)).all("details") if one.get("class") == "long"]
    assert long == [{"class": "long", "open": None}] * (len(PRODUCTS) - 1), "not the headline"


def test_each_script_of_the_config_s_languages_has_a_font(page: PageJob) -> None:
    named_otherwise = {
        "Bangla": "Bengali", "Odia": "Oriya", "Japanese": "CJK JP", "Korean": "CJK KR",
        "Simplified Han": "CJK SC",
    }  # fmt: skip
    style = build.context(page)["style"]
    for codes in files.load().resource_levels.values():
        for script in {named(code)["script"] for code in codes}:
            if script not in ("Latin", "Greek", "Cyrillic"):  # which all fonts of the first have
                assert f'"Noto Sans {named_otherwise.get(script, script)}"' in style


def test_it_is_made_of_landmarks_headings_and_labels(page: PageJob) -> None:
    read = Reader(build.html(page))
    assert [len(read.all(tag)) for tag in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
    levels = [int(tag[1]) for tag, _ in read.elements if tag in ("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for key, start in (("href", "#"), ("aria-labelledby", "")):
        named = [x for _, a in read.elements if (x := a.get(key)) and x.startswith(start)]
        assert {x.removeprefix("#") for x in named if start or x} <= set(ids) or key == "href"
        if key == "href":
            assert {x.removeprefix("#") for x in named} <= set(ids)
    assert {attributes.get("scope") for attributes in read.all("th")} == {"col", "row"}
    for attributes in read.all("img"):
        assert len(attributes["alt"] or "") > 20
    assert read.all("html") == [{"lang": "en"}]
    assert read.elements[read.elements.index(("body", {})) + 1][1]["class"] == "skip"


def test_figures_have_captions_and_provenance_and_the_headline_is_shown_once(page: PageJob) -> None:
    text = build.html(page)
    read = Reader(text)
    assert [one["alt"] for one in read.all("img")] == [
        "ECE by language. Expected calibration error (ECE, top label, equal-width bins; smaller is "
        "better) of each language: base model, after SFT on facts, and after SFT on it with label "
        "smoothing b = 0.1.",
        f"Effects by language {figure_data.MODELS[0]}. Changes by SFT of {figure_data.MODELS[0]}, "
        "and by label smoothing compared with plain SFT, in each language: accuracy, mean "
        "confidence, what confidence would change by at the same accuracy, debiased squared "
        "calibration error, Brier score and entropy (nats), after minus before, on the same "
        "questions.",
    ]  # fmt: skip
    assert read.text.count("0123456789abcdef") == len(PRODUCTS)
    assert "5.25" not in read.text, "seconds differ each time"
    links = {one["href"] for one in read.all("a")}
    assert {"figures/ece_by_lang.pdf", "tables/main.csv", "tables/main.tex",
            "tables/main.json", "msp/index.html"} <= links  # fmt: skip


def test_a_picture_is_that_of_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image.imsave(stream := io.BytesIO(), pixels, format="png")
    Path("x.png").write_bytes(stream.getvalue())
    shown = products.picture("x.png")
    assert (shown.width, shown.height) == (30, 20)
    kind, _, data = shown.source.partition(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as seen:
        found = np.asarray(seen.convert("RGB")).astype(int)
    assert np.abs(found - pixels).max() <= products.STEP / 2


def test_a_table_has_intervals_beside_values_and_escapes_names(page: PageJob) -> None:
    table = products.table(f"{ROOT}/tables/main.csv")
    assert table.columns == ["model", "group", "smoothing", "accuracy", "n", "p"]
    assert table.rows == [["a<b", "all", "", "0.123 [0.100, 0.200]", "12", "3.2e-07"]]
    assert '<th scope="row">a&lt;b</th>' in build.html(page)


def test_metrics_have_plain_names_with_keys_as_tooltips(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    row = {"metric": "debiased_ece2", "msp_auroc": 0.5, "size": 0.134515, "p": 0.25}
    pd.DataFrame([row, row | {"size": 70.0}]).to_csv(file, index=False)
    table = products.table(str(file))
    named = '<span title="debiased_ece2">debiased ECE\u00b2</span>'
    assert table.columns == ["metric", '<span title="msp_auroc">MSP AUROC</span>', "size", "p"]
    assert table.rows == [[named, "0.500", "0.135", "0.250"], [named, "0.500", "70", "0.250"]]


def test_changes_have_signs(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    row = {"before": "base", "after": "SFT", "value": 0.03, "ci_low": -0.01, "ci_high": 0.07}
    pd.DataFrame([row]).to_csv(file, index=False)
    assert products.table(str(file)).rows == [["base", "SFT", "+0.030 [-0.010, +0.070]"]]
    pd.DataFrame([row]).drop(columns="before").to_csv(file, index=False)
    assert products.table(str(file)).rows == [["SFT", "0.030 [-0.010, 0.070]"]]


def test_a_table_without_rows_is_said_to_have_none(page: PageJob) -> None:
    """Such as that of changes in other languages than English, of a study of English alone."""
    file = Path(ROOT, "tables/main.csv")
    pd.DataFrame(MAIN).iloc[:0].to_csv(file, index=False)
    assert "It has no rows in this study." in Reader(build.html(page)).text
    file.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"main\.csv: no columns, expected a table"):
        build.html(page)


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    pd.DataFrame({"x": range(100)}).to_csv(file, index=False)
    table = products.table(str(file))
    assert (len(table.rows), table.total) == (products.ROWS, 100)


def test_claims_have_their_verdict_in_words_and_what_it_rests_on(page: PageJob) -> None:
    document = json.loads(Path(ROOT, "claims/verdicts.json").read_text("utf-8"))
    read = Reader(build.html(page))
    text = " ".join(read.text.split())
    assert "M1 ✓ reproduced It rises. (arXiv 1)" in text
    assert "P2 – not testable here It differs. (arXiv 1) Why: no model does well." in text
    assert f"As tested on {ROOT}/msp." in text
    part = document["claims"]["M1"]["parts"][0]
    assert report.judgement(document["claims"]["M1"], part) in text
    assert "Evidence: results/demo/summary.csv." in text
    cells = ["+0.200 [+0.100, +0.300]", "0.01", "0.02", "0.9", "1", "+0.100 or more"]
    assert '<th scope="row">a model</th><td>' + "</td><td>".join(cells) in build.html(page)
    assert report.counted(document) in text


def test_a_study_that_can_test_no_claim_says_so(page: PageJob) -> None:
    said = "These numbers are means. No claim of the papers can be tested here."
    assert said not in " ".join(Reader(build.html(page)).text.split())
    file = Path(ROOT, "claims/verdicts.json")
    document = json.loads(file.read_text("utf-8"))
    document["claims"].pop("M1")
    file.write_text(json.dumps(document), encoding="utf-8")
    assert said in " ".join(Reader(build.html(page)).text.split())


def test_what_was_run(page: PageJob) -> None:
    said = dict(facts.facts(page.config, ROOT))
    assert said["Models"].startswith("gemma3-270m (0.268 billion parameters), smollm2")
    assert said["Fine-tuning"] == (
        "6 runs: SFT data facts; label smoothing 0, 0.1, 0.2; training seeds 0"
    )
    assert said["Languages, low-resource"].startswith("12: Amharic, Hausa, Igbo, ")
    assert "Languages, unknown-resource" not in said
    assert said["Questions"] == "Each language has 160 questions."
    assert said["Answers"] == f"{8 * 41 * 160:,} answers of 8 runs"
    assert said["Time of training"] == "1.5 hours (3.0 GPU-hours)"
    assert said["Time of scoring"] == "30.0 minutes, without a GPU"
    assert said["Hardware"] == "A CPU; A GPU"


def test_the_program_makes_the_same_bytes_again(
    page: PageJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for name in ("a", "b"):
        output, about = Path(ROOT, f"{name}.html"), Path(ROOT, f"{name}.json")
        monkeypatch.setattr(
            sys, "argv",
            ["make_page.py", "--params", canonical(page), "--page", str(output), "--sidecar",
             str(about), "--code", "abc"],
        )  # fmt: skip
        make_page.main()
        made.append(output.read_bytes())
        document = json.loads(about.read_text("utf-8"))
        assert set(document["inputs"]) >= {
            "results/demo/metrics.csv", "report/ece_by_lang.rst", "report/main_table.rst",
            "results/demo/figures/ece_by_lang.png", "results/demo/claims/verdicts.json",
        }  # fmt: skip
    assert made[0] == made[1]


def test_a_picture_that_was_changed_by_hand_is_refused(page: PageJob) -> None:
    shown = Path(ROOT, "figures/ece_by_lang.png")
    sidecar(shown.with_suffix(".json"), **{str(shown): sha256(shown)})
    build.html(page)
    image.imsave(shown, np.zeros((8, 12, 3)))
    with pytest.raises(InputError, match=f"^{shown}: changed since it was made: "):
        build.html(page)


def test_a_missing_caption_is_named(page: PageJob) -> None:
    Path("report").unlink()
    with pytest.raises(InputError, match=r"^report/ece_by_lang\.rst: not readable"):
        build.html(page)


def test_the_config_of_a_page_is_that_of_its_study_alone() -> None:
    config = files.load()
    demo, other = (contents.entries(config, root) for root in (ROOT, "results/demo/msp"))
    assert set(demo.studies) == {ROOT}
    assert set(other.studies) == {ROOT, "results/demo/msp"}, "whose runs it scores"
    assert set(demo.models) == set(figure_data.MODELS)
    levels = {code for codes in demo.resource_levels.values() for code in codes}
    assert levels == set(figure_data.FORTY_ONE)


def test_what_changes_no_result_makes_no_page_stale() -> None:
    raw = checkout.config()
    before = canonical(contents.entries(schema.load(raw), "results/lite"))
    raw["sft_data"]["tulu3-50k"]["source"]["mean_tokens"] = 1
    raw["benchmarks"]["global-mmlu-lite"]["source"]["rows"] = 1
    raw["resource_levels"]["high"].reverse()
    raw["resource_levels"]["low"].append("gsw")
    raw["studies"]["results/smoke"]["seeds"] = [4]
    assert canonical(contents.entries(schema.load(raw), "results/lite")) == before
    raw["studies"]["results/lite"]["metrics"]["bins"] = 7
    assert canonical(contents.entries(schema.load(raw), "results/lite")) != before


def test_the_inputs_of_studies_of_all_kinds() -> None:
    config = files.load()
    inputs = contents.inputs(contents.job(config, "results/msp_v2", []))
    assert paths.METRICS.format(root="results/msp_v2") not in inputs
    inputs = contents.inputs(contents.job(config, "results/demo/msp", []))
    assert "results/demo/msp/records/smollm2-135m-instruct/cldr-facts.usage.json" in inputs
    product = Product(form="figure", name="ece_by_lang")
    inputs = contents.inputs(contents.job(config, ROOT, [product]))
    assert {f"{product.stem(ROOT)}.png", f"{product.stem(ROOT)}.json"} <= {*inputs}
    assert "scripts/multical/page/page.css" in inputs
    assert "results/demo/stats/effects_over_languages.csv" in inputs


@pytest.fixture
def answered(page: PageJob, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page of a study of paper 2, with a figure of all data sets and one of English alone."""
    root = write_answers(Path("results"), "demo/msp")
    shown = [Product(form="figure", name="accuracy_vs_auroc", panel=panel) for panel in ("", "en/")]
    for product in shown:
        stem = product.stem(root)
        Path(stem).parent.mkdir(parents=True, exist_ok=True)
        sidecar(Path(f"{stem}.json"))
        image.imsave(f"{stem}.png", np.random.default_rng(0).random((8, 12, 3)))
    table = Product(form="table", name="points")
    sidecar(Path(f"{table.stem(root)}.json"))
    verdicts(Path(root, "claims"))
    monkeypatch.setattr("multical.page.facts.usage", lambda config, root: [])
    return build.html(contents.job(files.load(), root, [*shown, table]))


def test_figures_of_one_data_set_are_folded(answered: str) -> None:
    before, _, folded = answered.partition("<summary>Figures of data set English (1)</summary>")
    assert before.count("<img") == 1
    assert before.rstrip().endswith("<details>")
    assert folded.partition('<section id="tables"')[0].count("<img") == 1


def test_what_abstention_gains_is_a_part_of_the_page(answered: str) -> None:
    read = Reader(answered)
    assert {"href": "#abstention"} in read.all("a")
    assert {"id": "abstention"} in read.all("h2")
    assert "+20.0" in read.text


def test_the_scale_of_a_study_follows_the_finding(answered: str) -> None:
    text = " ".join(Reader(answered).text.split())
    assert (
        "A small demo: 7 models of 0.135 to 0.268 billion parameters, one training seed, 1,200 "
        "questions of 2 data sets, each answered with a letter. It says little about larger "
        "models. The questions are facts about countries from CLDR; all questions are asked in "
        "English, and only the names in them and the options are in the language. All 7 are "
        "versions of 2 models, but tests across models take them as independent. One seed does not "
        "show how much trainings differ."
    ) in text


def test_pages_around_and_inside_are_linked(answered: str) -> None:
    config = files.load()
    for study, kind, page in (
        ("results/demo", "chat_confidence", "msp/index.html"),
        ("results/demo/msp", "multilingual", "../index.html"),
    ):
        (link,) = near.links(contents.job(config, study, []))
        assert (link["page"], link["kind"]) == (page, facts.KINDS[kind])
    assert list(near.links(contents.job(config, "results/lite", []))) == []
    assert {"href": "../index.html"} in Reader(answered).all("a")


def test_two_pages_of_the_same_models_say_so_and_why_they_differ(answered: str) -> None:
    config = files.load()
    (link,) = near.links(contents.job(config, "results/demo", []))
    assert link["same"].startswith("It has models of this study under names of its own, and asks ")
    assert link["same"].endswith("differ from those here, read by perplexity of the texts.")
    text = " ".join(Reader(answered).text.split())
    assert (
        "It has the same models by other names (see What was run). Their accuracies and "
        "confidences there, read by perplexity of the texts, differ from those here, read from "
        "letters. Only there: gemma3-270m, base."
    ) in text
    assert "SmolLM2 SFT b=0.1 (smollm2-135m-instruct, SFT + smoothing 0.1), " in text
    other = contents.Near(kind="chat_confidence", same_models=False)
    page = contents.job(config, "results/demo", []).model_copy(update={"near": {"a/b": other}})
    assert [one["same"] for one in near.links(page)] == [""]


def test_questions_in_two_languages_are_explained(answered: str, page: PageJob) -> None:
    about = "all questions are asked in English, and only the names in them and the options are in"
    for said in (answered, build.html(page)):
        bold = said.partition('<p class="scale">')[2].partition("</p>")[0]
        assert f"The questions are facts about countries from CLDR; {about} the language." in bold
    assert about in dict(facts.facts(page.config, ROOT))["Benchmarks"]


def test_what_was_released(page: PageJob) -> None:
    root = "results/msp_v2"
    config = files.load()
    study = config.released(root)
    tables = Path(root, "tables")
    tables.mkdir(parents=True)
    ids = [one.id for one in study.datasets]
    pd.DataFrame({"dataset": ids, "questions": 1200}).to_csv(tables / "datasets.csv", index=False)
    said = dict(facts.facts(contents.entries(config, root), root))
    assert said["Models"].split(", ") == [model.name for model in study.models]
    assert said["Data sets"] == ", ".join(f"{one.name} (1,200 questions)" for one in study.datasets)
    assert said["Phrasings of the prompt"].split(", ") == study.prompts
    assert "Time of scoring" not in said, "nothing was scored here"
