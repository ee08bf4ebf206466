"""The explorer of a tiny study as a reader uses it: in Chromium, without a network."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page

from multical import paths
from multical.figures import msp_style
from multical.page import explorer, questions
from multical.page.contents import STYLES
from support import explored
from support.browser import AXE, CHROMIUM, Log, audit
from support.explored import LANGUAGES, MODELS_ROOT, ROOT
from support.rerun_edits import GEMMA, SMOKE

WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
CONDITIONS = {"base": "one", "SFT": "one.own.ls0.s0", "SFT + smoothing 0.1": "one.own.ls0.1.s0"}
SMOOTHED = "SFT + smoothing 0.1"
#: The cells of a table by the beginning of its caption
CELLS = """start => {
    const tables = [...document.querySelectorAll('#explorer-root table')];
    const { tBodies } = tables.find(table => table.caption.textContent.startsWith(start));
    return [...tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent)); }"""
#: What the cards of questions show
CARDS = """[...document.querySelectorAll('.x-questions > li')].map(card => ({
    text: card.querySelector('.x-text').textContent, link: card.querySelector('a').href,
    lang: card.querySelector('.x-text a').lang, dir: card.querySelector('.x-text a').dir,
    side: getComputedStyle(card.querySelector('.x-text a')).direction,
    options: [...card.querySelectorAll('.x-options li')].map(option => ({
        text: option.querySelector('[lang]')?.textContent, right: option.matches('.x-right'),
        picks: [...option.querySelectorAll('.x-pick')].map(pick => pick.textContent)})),
    labels: card.querySelector('.x-labels').textContent}))"""

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two models."""
    place = tmp_path_factory.mktemp("explored")
    return explored.write(place, explored.answers(), explored.config())


@pytest.fixture(scope="module")
def file(study: Path) -> Path:
    """Its page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(study)
        text = explored.page(explorer.data(explored.config(), ROOT))
    (study / "page.html").write_text(text, encoding="utf-8")
    return study / "page.html"


@pytest.fixture
def opened(blank: Page) -> Iterator[Callable[..., Page]]:
    """Opens a page; at the end it has complained of nothing, and asked for nothing but itself."""
    log = Log(blank)

    def open_page(file: Path, view: str = "") -> Page:
        blank.goto("about:blank")
        blank.goto(file.as_uri() + view)
        drawn(blank)
        return blank

    blank.set_viewport_size(WIDE)  # type: ignore[arg-type]
    blank.emulate_media(reduced_motion="reduce")
    yield open_page
    assert log.errors == []
    own = ("data:", "blob:", "about:", "file://")
    assert [url[:200] for url in log.asked if not url.startswith(own)] == []


@pytest.fixture
def page(opened: Callable[..., Page], file: Path) -> Page:
    return opened(file)


def drawn(page: Page) -> None:
    """Wait until all charts are drawn."""
    page.wait_for_function(
        "[...document.querySelectorAll('.x-chart')].every(chart => chart.dataset.drawn)"
    )


def choose(page: Page, name: str, value: str) -> None:
    """Choose in a list of choices, by its name in the address."""
    page.select_option(f"#x-{name}", value)
    asked(page, name, value)
    drawn(page)


def asked(page: Page, name: str, value: str) -> None:
    page.wait_for_function(
        "([name, value]) => new URLSearchParams(location.hash.slice(9)).get(name) == value",
        arg=[name, value],
    )


def follow(page: Page, text: str) -> None:
    """Follow a link of the explorer."""
    page.locator("#explorer-root a", has_text=re.compile(rf"^{re.escape(text)}$")).first.click()
    drawn(page)


def title(page: Page) -> str:
    return page.inner_text("#x-title")


def shown(value: float, low: float, high: float) -> str:
    """A cell of a table, from numbers of metrics.csv."""
    if pd.isna(value):
        return "–"
    return f"{value:.3f}" if pd.isna(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def alike(cell: str, value: float, low: float, high: float) -> bool:
    """Whether a cell shows these numbers; a last 5 may be rounded up or down."""
    wanted = shown(value, low, high)
    numbers, others = (list(map(float, re.findall(r"-?[\d.]+", x))) for x in (cell, wanted))
    return len(numbers) == len(others) and all(
        abs(a - b) < 0.0011 and abs(a - exact) < 0.000501
        for a, b, exact in zip(numbers, others, (value, low, high), strict=False)
    )


def metrics_of(folder: Path, root: str = ROOT) -> Any:
    """The rows of metrics.csv by run, readout, metric and language."""
    table = pd.read_csv(folder / paths.METRICS.format(root=root))
    return table.set_index(["run", "readout", "metric", "language"]).to_dict("index")


def language_of(cell: str) -> str:
    """The tag at the end of a cell that names a language."""
    return cell.split(" ")[-1]


def by_language(page: Page, caption: str) -> dict[str, list[str]]:
    """The rows of the table of languages, by tag and in their order."""
    return {language_of(row[0]): row for row in page.evaluate(CELLS, caption)}


def download(page: Page, button: str, place: int = 0) -> tuple[str, str]:
    """The name and the text of a file that a button saves."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).nth(place).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_text("utf-8")


@pytest.mark.parametrize("metric", ["ece", "accuracy", "auroc", "mce"])
def test_values_are_those_of_metrics_csv(page: Page, study: Path, metric: str) -> None:
    choose(page, "metric", metric)
    rows = by_language(page, "")
    metrics = metrics_of(study)
    assert set(rows) == set(LANGUAGES)
    for language, cells in rows.items():
        for cell, run in zip(cells[4:], CONDITIONS.values(), strict=True):
            row = metrics[run, "text_ppl", metric, language]
            assert alike(cell, row["value"], row["ci_low"], row["ci_high"]), (cell, row)
        assert int(cells[3]) == explored.QUESTIONS
        assert cells[1] == row["resource_level"]


def test_each_choice_is_in_the_address_and_a_link_reproduces_it(
    page: Page, opened: Callable[..., Page], file: Path, study: Path
) -> None:
    choose(page, "model", "two")
    choose(page, "readout", "letter")
    choose(page, "metric", "brier")
    choose(page, "sort", f"value {SMOOTHED}")
    choose(page, "direction", "down")
    page.get_by_label("SFT", exact=True).uncheck()
    asked(page, "conditions", f"base|{SMOOTHED}")
    drawn(page)
    table = page.evaluate(CELLS, "Brier score")
    metrics = metrics_of(study)
    for row in table:
        tag = language_of(row[0])
        if tag == "bn":
            assert row[4:] == ["–", "–"], "no letters there"
            continue
        for cell, run in zip(row[4:], ("two", "two.own.ls0.1.s0"), strict=True):
            cells = metrics[run, "letter", "brier", tag]
            assert alike(cell, cells["value"], cells["ci_low"], cells["ci_high"])
    values = [float(row[5].split(" ")[0]) for row in table if row[5] != "–"]
    assert values == sorted(values, reverse=True)
    assert language_of(table[-1][0]) == "bn"
    view = page.evaluate("location.hash")
    assert {name: one for name, (one,) in parse_qs(view.partition("?")[2]).items()} == {
        "model": "two", "readout": "letter", "metric": "brier", "direction": "down",
        "sort": f"value {SMOOTHED}", "conditions": f"base|{SMOOTHED}",
    }  # fmt: skip
    again = opened(file, view)
    assert again.evaluate(CELLS, "Brier score") == table
    assert again.input_value("#x-model") == "two"


def test_choices_have_plain_names_and_their_keys_as_tooltips(page: Page) -> None:
    for name, key, text in (
        ("readout", "text_ppl", "perplexity of the texts"),
        ("metric", "debiased_ece2", "debiased ECE²"),
    ):
        option = page.locator(f"#x-{name} option[value={key}]")
        assert option.text_content() == text
        assert option.get_attribute("title") == key


def test_what_a_reader_of_questions_must_know_is_said(
    opened: Callable[..., Page], study: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(study)
        data = explorer.data(explored.config(), ROOT)
    data["questions"]["synthetic"]["about"] = "names <b> are in the language"
    (tmp_path / "page.html").write_text(explored.page(data), encoding="utf-8")
    page = opened(tmp_path / "page.html", "#explore?language=he")
    said = page.inner_text("section[aria-labelledby=x-questions]")
    assert "synthetic: names <b> are in the language." in said


def test_back_leads_to_the_view_before(page: Page) -> None:
    first = page.inner_html("#explorer-root table")
    choose(page, "metric", "accuracy")
    follow(page, "Hebrew")
    assert title(page) == "Hebrew"
    page.go_back()
    page.wait_for_function("document.getElementById('x-title').innerText != 'Hebrew'")
    assert title(page) == "Accuracy by language"
    page.go_back()
    page.wait_for_function("document.getElementById('x-metric').value == 'ece'")
    assert page.inner_html("#explorer-root table") == first


def test_languages_are_sorted_by_their_columns(page: Page) -> None:
    def order() -> list[str]:
        return list(by_language(page, ""))

    levels = {"ar": 0, "en": 0, "bn": 1, "he": 1, "yo": 2}
    ranks = [levels[tag] for tag in order()]
    assert ranks == sorted(ranks)
    page.get_by_role("button", name="Language").click()
    asked(page, "sort", "name")
    assert order() == ["ar", "bn", "en", "he", "yo"]
    head = page.locator("th[aria-sort]")
    assert head.count() == 1
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")  # the button kept the focus
    asked(page, "direction", "down")
    assert order() == ["yo", "he", "en", "bn", "ar"]
    assert head.get_attribute("aria-sort") == "descending"
    assert page.evaluate("document.activeElement.id") == "x-by-name"


def test_filters_leave_languages_of_a_level_or_script(page: Page) -> None:
    choose(page, "level", "mid")
    assert set(by_language(page, "")) == {"bn", "he"}
    choose(page, "script", "Hebrew")
    assert set(by_language(page, "")) == {"he"}
    choose(page, "level", "")
    choose(page, "script", "Latin")
    assert set(by_language(page, "")) == {"en", "yo"}
    assert page.inner_text(".x-status").startswith("Shown: 2 languages")


def test_changes_are_those_of_effects_csv(page: Page, study: Path) -> None:
    choose(page, "show", "change")
    choose(page, "metric", "debiased_ece2")
    effects = pd.read_csv(study / paths.EFFECTS.format(root=ROOT))
    keys = ["model", "before", "after", "readout", "metric", "language"]
    changes: Any = effects.set_index(keys).to_dict("index")
    for change in ("base → SFT", f"SFT → {SMOOTHED}"):
        choose(page, "change", change)
        choose(page, "sort", "change")
        rows = by_language(page, "")
        values = []
        for tag, cells in rows.items():
            row = changes["one", *change.split(" → "), "text_ppl", "debiased_ece2", tag]
            number, p = cells[4:]
            assert alike(number, row["value"], row["ci_low"], row["ci_high"])
            assert number.startswith("-" if row["value"] < 0 else "+")
            assert p == shown_p(row["p_holm"])
            values.append(row["value"])
        assert values == sorted(values)


def shown_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def test_a_language_says_what_changed_in_it(page: Page, study: Path) -> None:
    keys = ["readout", "metric", "model", "after"]
    changes = pd.read_csv(study / paths.EFFECTS.format(root=ROOT))
    effects: Any = changes.set_index([*keys, "language"])
    over = pd.read_csv(study / paths.EFFECTS_OVER_LANGUAGES.format(root=ROOT))
    means: Any = over[over["group"] == "non-english"].set_index(keys)["value"]
    said = []
    for tag in LANGUAGES:
        choose(page, "language", tag)
        for metric, tested in (("ece", "debiased_ece2"), ("accuracy", "accuracy")):
            choose(page, "metric", metric)
            rows = page.evaluate(CELLS, "What changed in")
            assert [row[0] for row in rows] == ["base → SFT", f"SFT → {SMOOTHED}"]
            for after, (_, change, p, words) in zip(("SFT", SMOOTHED), rows, strict=True):
                reading = ("text_ppl", tested, "one", after)
                row = effects.loc[(*reading, tag)]
                assert alike(change, row["value"], row["ci_low"], row["ci_high"])
                assert p == shown_p(row["p_holm"])
                is_open = row["ci_low"] <= 0 <= row["ci_high"]
                is_alike = (row["value"] > 0) == (means[reading] > 0)
                strength = "shown" if row["p_holm"] < 0.05 else "suggested"
                kind = "undecided" if is_open else strength if is_alike else f"contrary {strength}"
                assert words.startswith(f"{kind}:")
                assert ("not significant" in words) == (not is_open and strength != "shown")
                assert is_open or ("raised" in words) == (row["value"] > 0)
                said.append(kind)
    assert len(set(said)) > 1


def test_changes_keep_the_metric_and_say_what_they_are(page: Page, study: Path) -> None:
    marks = "[...document.querySelectorAll('.mark-symbol.role-mark path')]"
    filled = f"{marks}.map(mark => getComputedStyle(mark).fill)"
    choose(page, "show", "change")
    assert page.input_value("#x-metric") == "ece"
    assert "There is no" not in page.inner_text(".x-status")
    caption = page.locator(".x-caption")
    assert "A change of ECE has no interval and no test: it is" in caption.inner_text()
    metrics = metrics_of(study)
    for tag, cells in by_language(page, "").items():
        before, after = (
            metrics[CONDITIONS[name], "text_ppl", "ece", tag]["value"] for name in ("SFT", SMOOTHED)
        )
        assert float(cells[4]) == pytest.approx(after - before, abs=0.000501)
    assert set(page.evaluate(filled)) <= {"none", "transparent", "rgba(0, 0, 0, 0)"}
    choose(page, "metric", "confidence")
    assert "p < 0.05 after Holm's correction for all tests" in caption.inner_text()
    assert page.locator("#explorer-root caption").inner_text() == "Change of confidence by language"
    heads = page.locator("#explorer-root th[scope=col]").all_inner_texts()
    assert heads[-1] == "p after Holm's correction"
    effects = pd.read_csv(study / paths.EFFECTS.format(root=ROOT))
    own = effects.query("model == 'one' and metric == 'confidence' and readout == 'text_ppl'")
    wanted = (own[own["after"] == SMOOTHED]["p_holm"] < 0.05).sum()
    assert sum(one.startswith("rgb(") for one in page.evaluate(filled)) == wanted


def test_languages_with_values_are_counted(page: Page) -> None:
    choose(page, "readout", "letter")
    assert page.inner_text(".x-status").startswith("Shown: 4 languages (1 more without values), ")
    choose(page, "show", "change")
    assert page.inner_text(".x-status").startswith("Shown: 4 languages (1 more without values), ")
    choose(page, "readout", "text_ppl")
    assert page.inner_text(".x-status").startswith("Shown: 5 languages, ")


def test_a_readout_without_the_metric_says_so(page: Page) -> None:
    choose(page, "readout", "margin")
    assert "There is no metric “ece” here." in page.inner_text(".x-status")


def test_names_of_languages_in_the_chart_are_links(opened: Callable[..., Page], file: Path) -> None:
    for view, rest in (("", {}), ("#explore?question=q00003&script=Latin", {"script": ["Latin"]})):
        page = opened(file, view)
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        drawn(page)
        names = page.locator(".x-chart").get_by_role("link")
        tags = ["en", "yo"] if rest else LANGUAGES
        said = [name.get_attribute("aria-label") for name in names.all()]
        assert {language_of(str(name)).strip("()") for name in said} == set(tags)
        link = page.locator(".x-chart").get_by_role("link", name="English (en)")
        link.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.id == 'x-title'")
        assert title(page) == "English"
        assert parse_qs(page.url.partition("?")[2]) == {"language": ["en"], **rest}
        page.go_back()
        drawn(page)
        page.locator(".x-chart").get_by_role("link", name="Yoruba (yo)").click()
        drawn(page)
        assert title(page) == "Yoruba"


def test_tab_stops_once_in_a_chart_and_arrows_lead_through_it(page: Page) -> None:
    choose(page, "sort", "name")
    names = ["Arabic", "Bangla", "English", "Hebrew", "Yoruba"]
    links = page.locator(".x-chart").get_by_role("link")
    assert [str(name.get_attribute("aria-label")).split(" (")[0] for name in links.all()] == names
    page.focus("#x-script")
    focused = (
        "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
    )
    stops = []
    while "Save" not in (stop := page.evaluate(focused)):
        stops.append(stop)
        page.keyboard.press("Tab")
    assert [stop for stop in stops if "(" in stop and "Which" not in stop] == ["Arabic (ar)"]
    page.keyboard.press("Shift+Tab")
    for key, name in (("ArrowDown", 1), ("End", 4), ("ArrowDown", 4), ("ArrowUp", 3), ("Home", 0)):
        page.keyboard.press(key)
        assert page.evaluate(focused).startswith(names[name])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focused).startswith("Bangla"), "where it was left"
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id == 'x-title'")
    assert title(page) == "Bangla"


#: A clipboard that a page may write to, or not
CLIPBOARD = """works => { navigator.clipboard.writeText = async text => {
    if (!works) throw new Error('not allowed');
    window.copied = text; }; }"""


def test_the_link_to_a_view_is_copied(page: Page, file: Path) -> None:
    page.evaluate(CLIPBOARD, True)
    choose(page, "metric", "brier")
    button = page.get_by_role("button", name="Copy link to this view")
    button.click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("copied") == f"{file.as_uri()}#explore?metric=brier"
    choose(page, "metric", "ece")
    assert not page.get_by_text("Copied.").count(), "that was another view"
    page.evaluate(CLIPBOARD, False)
    button.click()
    field = page.get_by_label("Link to this view")
    assert field.input_value() == f"{file.as_uri()}#explore?metric=ece"


LONG = """<a href="#own">To it</a>
<details class="long" open><summary><b id="own">One</b></summary><p id="one">a</p></details>
<details class="long" open><summary>Two</summary>
<p id="two" style="height: 300cm">b</p></details><main>"""


def printed_pages(page: Page) -> int:
    return page.pdf().count(b"/Type /Page\n")


def test_what_is_long_is_folded_on_narrow_screens_alone(
    opened: Callable[..., Page], file: Path, tmp_path: Path
) -> None:
    text = file.read_text(encoding="utf-8").replace("<main>", LONG)
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = opened(tmp_path / "page.html")

    def seen() -> list[bool]:
        return [page.is_visible("#one"), page.is_visible("#two")]

    assert seen() == [True, True]
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.locator("#one").wait_for(state="hidden")
    assert seen() == [False, False]
    page.get_by_text("To it").click()
    page.locator("#one").wait_for(state="visible")
    assert seen() == [True, False]
    whole = printed_pages(page)
    page.locator("#two").evaluate("paragraph => paragraph.remove()")
    assert whole - printed_pages(page) >= 5, "all is printed"
    page = opened(tmp_path / "page.html", "#own")
    assert seen() == [True, False]


def test_a_click_on_the_chart_leads_to_the_language(page: Page) -> None:
    choose(page, "sort", "name")
    mark = page.locator(".x-chart path[aria-roledescription], .x-chart g.mark-symbol path").first
    mark.dispatch_event("click")
    page.wait_for_function("location.hash.includes('language=')")
    assert title(page) == "Arabic"


def test_a_language_has_its_diagrams_and_their_numbers(page: Page, study: Path) -> None:
    follow(page, "Hebrew")
    titles = page.locator(".x-chart text").filter(has_text="ECE")
    metrics = metrics_of(study)
    eces = [metrics[run, "text_ppl", "ece", "he"]["value"] for run in CONDITIONS.values()]
    wanted = [f"{name}ECE {value:.3f}" for name, value in zip(CONDITIONS, eces, strict=True)]
    assert titles.all_text_contents() == wanted
    bins = pd.read_csv(study / paths.RELIABILITY_BY_LANG.format(root=ROOT))
    bins = bins[(bins["language"] == "he") & (bins["readout"] == "text_ppl")]
    points = []
    for condition, run in CONDITIONS.items():
        rows = bins[bins["run"] == run].groupby("point")
        for _, part in rows:
            if part["n"].sum():
                ends = part.iloc[0][
                    [f"point_{x}" for x in ("confidence", "accuracy", "low", "high")]
                ]
                points.append([condition, float(part["n"].sum()), *ends])
    rows = page.evaluate(CELLS, "Points of the diagrams")
    assert len(rows) == len(points) > 3
    for cells, (condition, *numbers) in zip(rows, points, strict=True):
        assert cells[0] == condition
        assert list(map(float, cells[1:])) == pytest.approx(numbers, abs=0.000501)
    for condition, cells in zip(CONDITIONS, page.evaluate(CELLS, "Hebrew (he)"), strict=True):
        for metric, cell in zip(("ece", "confidence", "accuracy"), cells[1:], strict=True):
            row = metrics[CONDITIONS[condition], "text_ppl", metric, "he"]
            assert alike(cell, row["value"], row["ci_low"], row["ci_high"])


def given(study: Path, run: str, language: str) -> pd.DataFrame:
    """Answer, confidence and right option by question, anew from the records."""
    path = study / paths.RECORDS.format(root=ROOT, run=run, benchmark="synthetic")
    frame = pq.read_table(path).to_pandas()
    frame = frame[frame["language"] == language].set_index("question_id")
    scores = pd.DataFrame(
        (frame["text_logliks"] / frame["text_tokens"]).to_list(), index=frame.index
    )
    answer = scores.to_numpy().argmax(axis=1)
    shares = (scores.T - scores.max(axis=1)).T.map(lambda x: 2.718281828459045**x)
    confidence = 1 / shares.sum(axis=1)
    return pd.DataFrame({"answer": answer, "sure": confidence, "gold": frame["gold"]})


def test_questions_show_texts_options_and_what_each_condition_answered(
    page: Page, study: Path
) -> None:
    follow(page, "English")
    while page.locator("#x-more").count():
        page.click("#x-more")
        drawn(page)
    cards = page.evaluate(CARDS)
    assert len(cards) == explored.QUESTIONS
    assert page.locator("#explorer-root img").count() == 0, "texts are no HTML"
    tables: Any = {name: given(study, run, "en") for name, run in CONDITIONS.items()}
    changes = []
    for card in cards:
        question = re.search(r"question=(q\d+)", card["link"])
        assert question
        name = question[1]
        assert card["text"] == explored.TEXTS["en"].format(name)
        assert card["lang"] == "en"
        for place, option in enumerate(card["options"]):
            assert option["text"] == f"{explored.TEXTS['en'][:4]} {'ABCD'[place]} {name}"
            assert option["right"] == (place == tables["base"].loc[name, "gold"])
            picks = [
                f"{condition} {table.loc[name, 'sure']:.3f}"
                for condition, table in tables.items()
                if table.loc[name, "answer"] == place
            ]
            assert option["picks"] == picks
        before, after = (tables[x].loc[name] for x in ("SFT", SMOOTHED))
        isnew = before["answer"] != after["answer"]
        change = before["sure"] + after["sure"] if isnew else abs(before["sure"] - after["sure"])
        words = "another answer, sum of the confidences" if isnew else "change of confidence"
        number = re.search(rf"{words} ([\d.]+)", card["labels"])
        assert number
        assert float(number[1]) == pytest.approx(change, abs=0.0016)
        changes.append(float(number[1]))
    assert changes == sorted(changes, reverse=True)


def test_questions_are_filtered_and_sorted(page: Page, study: Path) -> None:
    follow(page, "Hebrew")
    choose(page, "subject", "art & <b>music</b>")
    assert page.inner_text("#x-questions") == "16 questions"
    choose(page, "culture", "CS")
    assert page.inner_text("#x-questions") == "8 questions"
    cards = page.evaluate(CARDS)
    assert {card["labels"].split(" · ")[0] for card in cards} == {"art & <b>music</b>"}
    assert {card["labels"].split(" · ")[1] for card in cards} == {"culturally sensitive"}
    choose(page, "order", "wrong")
    table = given(study, CONDITIONS[SMOOTHED], "he")
    names = [re.findall(r"question=(q\d+)", card["link"])[0] for card in page.evaluate(CARDS)]
    wrong = [table.loc[name] for name in names]
    sure = [row["sure"] if row["answer"] != row["gold"] else -1 for row in wrong]
    assert sure == sorted(sure, reverse=True)


def test_a_question_is_shown_in_all_languages(page: Page) -> None:
    follow(page, "English")
    page.locator(".x-text a").first.click()
    drawn(page)
    name = re.findall(r"question=(q\d+)", page.url)[0]
    assert title(page) == f"The question {name} in 5 languages"
    cards = page.evaluate(CARDS)
    assert {card["lang"] for card in cards} == set(LANGUAGES)
    for card in cards:
        assert card["text"] == explored.TEXTS[card["lang"]].format(name)
        assert card["dir"] == "auto"
        assert f"language={card['lang']}" in card["link"]
        assert card["side"] == ("rtl" if card["lang"] in ("ar", "he") else "ltr")
    choose(page, "script", "Hebrew")
    assert title(page) == f"The question {name} in 1 language"
    said = page.locator("q[lang=en]").text_content()
    assert said == explored.TEXTS["en"].format(name), "filters leave the reference language"
    follow(page, "English")
    assert title(page) == "English"


def test_the_questions_that_changed_most_in_all_languages(page: Page, study: Path) -> None:
    follow(page, f"Which answers changed most, in all languages? (SFT → {SMOOTHED})")
    count = len(LANGUAGES) * explored.QUESTIONS
    assert page.inner_text("#x-questions") == f"{count} questions"
    most = 0.0
    for language in LANGUAGES:
        before, after = (given(study, CONDITIONS[x], language) for x in ("SFT", SMOOTHED))
        is_new = before["answer"] != after["answer"]
        most = max(most, (before["sure"] + after["sure"])[is_new].max())
    first = page.evaluate(CARDS)[0]["labels"]
    shown = re.findall(r"another answer, sum of the confidences ([\d.]+)", first)
    assert float(shown[0]) == pytest.approx(most, abs=0.0016)
    page.get_by_label("SFT", exact=True).uncheck()
    asked(page, "conditions", f"base|{SMOOTHED}")
    assert page.evaluate(CARDS)[0]["labels"] == first, "the change is between what is not shown"


def test_numbers_are_saved_as_csv(page: Page, study: Path) -> None:
    name, text = download(page, "Save numbers (CSV)")
    assert name == "results_tiny-one-synthetic-text_ppl-ece.csv"
    rows = list(csv.DictReader(io.StringIO(text)))
    metrics = metrics_of(study)
    assert {row["language"] for row in rows} == set(LANGUAGES)
    for row in rows:
        for condition, run in CONDITIONS.items():
            cells = metrics[run, "text_ppl", "ece", row["language"]]
            ends = (
                ("value", condition),
                ("ci_low", f"{condition}, low"),
                ("ci_high", f"{condition}, high"),
            )
            for column, title in ends:
                assert float(row[title]) == pytest.approx(cells[column], rel=1e-8)
    follow(page, "English")
    name, text = download(page, "Save numbers (CSV)", 1)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    choose(page, "language", "yo")
    _, other = download(page, "Save numbers (CSV)", 1)
    saved = {row["question"][:4] for row in csv.DictReader(io.StringIO(other))}
    assert saved == {"'=Kí"}, "no formula for a spreadsheet"
    assert len(rows) == explored.QUESTIONS
    texts = {explored.TEXTS["en"].format(row["question_id"]) for row in rows}
    assert {row["question"] for row in rows} == texts
    table = given(study, "one", "en")
    for row in rows:
        assert float(row["base: confidence"]) == pytest.approx(
            table.loc[row["question_id"], "sure"], abs=0.000501
        )


@pytest.mark.parametrize("view", ["", "#explore?language=he", "#explore?question=q00003"])
def test_charts_are_saved_as_svg(opened: Callable[..., Page], file: Path, view: str) -> None:
    page = opened(file, view)
    page.emulate_media(color_scheme="dark")
    drawn(page)
    name, text = download(page, "Save chart (SVG)")
    assert name.endswith(".svg")
    tree = ElementTree.fromstring(text)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    words = " ".join(
        "".join(one.itertext()) for one in tree.iter("{http://www.w3.org/2000/svg}text")
    )
    assert SMOOTHED in words
    (ground,) = [one for one in tree.iter() if one.get("fill") == "#ffffff" and one.get("width")]
    assert ground is not None, "on white, also in dark mode"


def test_an_address_with_unknown_names_says_so(opened: Callable[..., Page], file: Path) -> None:
    page = opened(file, "#explore?model=three&metric=<b>&language=xx&conditions=none")
    status = page.inner_text(".x-status")
    for text in ("model “three”", "metric “<b>”", "language “xx”"):
        assert f"There is no {text} here." in status
    assert set(by_language(page, "")) == set(LANGUAGES)


def test_a_link_to_another_part_of_the_page_keeps_the_view(page: Page) -> None:
    choose(page, "model", "two")
    page.evaluate("location.hash = '#elsewhere'")
    choose(page, "metric", "brier")
    assert page.input_value("#x-model") == "two"


def test_filters_may_leave_no_language(opened: Callable[..., Page], file: Path) -> None:
    page = opened(file, "#explore?level=low&script=Hebrew")
    assert page.inner_text(".x-status").startswith("Shown: 0 languages")
    assert by_language(page, "") == {}


def test_runs_are_told_apart_by_their_seed(opened: Callable[..., Page], tmp_path: Path) -> None:
    runs = ["one", *(f"one.own.ls{b}.s{seed}" for b in ("0", "0.1") for seed in (0, 1))]
    settings = explored.config(models=["one"], seeds=[0, 1])
    explored.write(tmp_path, explored.answers(runs, ["en", "he"]), settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        text = explored.page(explorer.data(settings, ROOT))
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = opened(tmp_path / "page.html")
    metrics = metrics_of(tmp_path)
    for seed in ("0", "1"):
        choose(page, "seed", seed)
        for language, cells in by_language(page, "").items():
            row = metrics[f"one.own.ls0.s{seed}", "text_ppl", "ece", language]
            assert alike(cells[5], row["value"], row["ci_low"], row["ci_high"])


def test_the_focus_stays_with_its_control_or_goes_to_the_new_view(page: Page) -> None:
    page.focus("#x-metric")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("location.hash.includes('metric=')")
    drawn(page)
    assert page.evaluate("document.activeElement.id") == "x-metric"
    page.focus("#x-language-he")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id == 'x-title'")
    assert title(page) == "Hebrew"


VIEWS = [
    "",
    "#explore?show=change&metric=accuracy",
    "#explore?language=he",
    "#explore?language=*",
    "#explore?question=q00003",
]


@pytest.mark.skipif(AXE is None, reason="no axe: make test installs it")
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_an_audit_finds_nothing_serious(
    opened: Callable[..., Page], file: Path, size: Any, colours: Literal["light", "dark"]
) -> None:
    for view in VIEWS:
        page = opened(file, view)
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=colours)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        drawn(page)
        assert audit(page) == []


def test_nothing_is_wider_than_a_narrow_screen(opened: Callable[..., Page], file: Path) -> None:
    for view in VIEWS:
        page = opened(file, view)
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        page.wait_for_timeout(50)
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        charts = "[...document.querySelectorAll('.x-chart svg')].map(svg => svg.clientWidth)"
        assert all(width > 250 for width in page.evaluate(charts))


def test_a_large_study_says_how_to_read_its_questions(
    opened: Callable[..., Page], study: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(study)
        patch.setattr(questions, "MOST_RECORDS", 10)
        text = explored.page(explorer.data(explored.config(), ROOT))
    (tmp_path / "large.html").write_text(text, encoding="utf-8")
    page = opened(tmp_path / "large.html", "#explore?language=he")
    assert "720 records, more than the 10 whose questions" in page.inner_text("#explorer-root")
    code = page.inner_text("#explorer-root pre")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=study, check=True, capture_output=True, text=True
    )
    assert "question" in done.stdout
    assert "text_logliks" in done.stdout
    assert "מהו" in done.stdout


def test_one_base_model_without_texts(opened: Callable[..., Page], tmp_path: Path) -> None:
    settings = explored.logs()
    explored.write(tmp_path, explored.answers(["one"], ["en", "he"]), settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        text = explored.page(explorer.data(settings, ROOT))
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = opened(tmp_path / "page.html")
    assert set(by_language(page, "")) == {"en", "he"}
    assert page.locator("#x-model, #x-show, #x-change").count() == 0
    follow(page, "Hebrew")
    assert "no file with the texts" in page.inner_text("#explorer-root")
    assert page.locator("caption", has_text="What changed in").count() == 0
    (card, *_) = page.evaluate(CARDS)
    assert re.fullmatch(r"q\d+", card["text"])


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study of paper 2, in the folder of its tables."""
    folder = explored.write_models(tmp_path_factory.mktemp("duo"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = explored.page(explorer.data(explored.models_config(), MODELS_ROOT))
    (folder / "page.html").write_text(text, encoding="utf-8")
    return folder / "page.html"


def table_of(duo: Path, name: str) -> pd.DataFrame:
    path = paths.STUDY_TABLE.format(root=MODELS_ROOT, name=f"{name}.csv")
    return pd.read_csv(duo.parent / path)


def test_models_are_points_with_the_values_of_the_tables(
    opened: Callable[..., Page], duo: Path
) -> None:
    page = opened(duo)
    points = table_of(duo, "points")
    points = points[points["prompt"].isna()].set_index(["dataset", "model"])
    assert page.locator(".x-chart").count() == 2
    for dataset in ("all", "quiz"):
        choose(page, "dataset", dataset)
        rows = page.evaluate(CELLS, "Values of the models")
        assert [row[0] for row in rows] == ["Good", "Poor", "Fair"]
        names = ["accuracy", "msp_auroc", "margin_auroc", "calibration_error_cells"]
        for model, *cells in rows:
            for name, cell in zip(names, cells, strict=False):
                value = points.loc[(dataset, model), name]
                assert alike(cell, value, float("nan"), float("nan"))
        assert rows[1][-1] == "–", "the size is not known"
    fills = page.locator(".x-chart").first.locator(".mark-symbol path")
    colours = [fills.nth(place).get_attribute("fill") for place in range(3)]
    assert [colours[0], colours[2]] == [msp_style.COLOURS[0], msp_style.COLOURS[2].lower()]
    choose(page, "x", "calibration_error_cells")
    words = page.locator(".x-chart").first.locator("text").all_text_contents()
    assert {"Good", "Poor", "Fair", "calibration error by data set"} <= set(words)
    page.get_by_role("button", name="MSP AUROC").click()
    asked(page, "sort", "msp_auroc")
    order = [row[0] for row in page.evaluate(CELLS, "Values of the models")]
    assert order == list(points.loc["quiz"]["msp_auroc"].sort_values().index)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_names_of_points_meet_no_other_and_are_whole(
    opened: Callable[..., Page], duo: Path, tmp_path: Path, size: Any
) -> None:
    data = explored.embedded_of(duo.read_text(encoding="utf-8"))
    near = {"Good": (0.50, 0.60), "Poor": (0.51, 0.601), "Fair": (0.8, 0.9)}
    for point in data["points"]:
        point["accuracy"], point["msp_auroc"] = near[point["model"]]
    (tmp_path / "page.html").write_text(explored.page(data), encoding="utf-8")
    page = opened(tmp_path / "page.html")
    page.set_viewport_size(size)
    page.wait_for_timeout(50)
    drawn(page)
    chart = page.locator(".x-chart").first
    names = chart.locator("text").filter(has_text=re.compile("^(Good|Poor|Fair)$")).all()
    boxes: Any = [name.bounding_box() for name in names]
    whole: Any = chart.locator("svg").bounding_box()
    assert len(boxes) == 3
    assert all(box["x"] + box["width"] <= whole["x"] + whole["width"] for box in boxes)
    for a, b in combinations(boxes, 2):
        assert (
            a["x"] + a["width"] < b["x"] or b["x"] + b["width"] < a["x"]
            or a["y"] + a["height"] < b["y"] or b["y"] + b["height"] < a["y"]
        )  # fmt: skip


@pytest.mark.parametrize("scheme", ["balanced", "conservative"])
def test_sliders_give_the_scores_of_the_table(
    opened: Callable[..., Page], duo: Path, scheme: str
) -> None:
    page = opened(duo)
    curves = table_of(duo, "score_curves")
    curves = curves[(curves["method"] == "msp") & (curves["dataset"] == "all")]
    penalty = {"balanced": "1", "conservative": "2"}[scheme]
    thresholds = sorted(curves["threshold"].unique())
    at = len(thresholds) // 3
    for name, value, told in (
        ("threshold", str(at), f"{thresholds[at]:.9g}"),
        ("penalty", penalty, penalty),
    ):
        page.fill(f"#x-{name}", value)
        asked(page, name, told)
        drawn(page)
    own = curves[(curves["scheme"] == scheme) & (curves["threshold"] == thresholds[at])]
    rows = page.evaluate(CELLS, "Scores at the threshold")
    assert len(rows) == len(own) == 3
    for model, score, _, _, abstained in rows:
        row = own[own["model"] == model].iloc[0]
        assert float(score) == pytest.approx(row["score"], abs=0.0501)
        assert float(abstained) == pytest.approx(row["abstained"], abs=0.0501)
    view = page.evaluate("location.hash")
    again = opened(duo, view)
    assert again.evaluate(CELLS, "Scores at the threshold") == rows
    name, text = download(again, "Save numbers (CSV)", 1)
    assert name == "results_duo-all-msp-abstention.csv"
    saved = pd.read_csv(io.StringIO(text)).sort_values(["model", "threshold"])
    whole = curves[curves["scheme"] == scheme].sort_values(["model", "threshold"])
    assert list(saved["model"]) == list(whole["model"])
    assert list(saved["score"]) == pytest.approx(list(whole["score"]), abs=1e-6)


def test_thresholds_chosen_on_labelled_answers_are_marked(
    opened: Callable[..., Page], duo: Path
) -> None:
    page = opened(duo, "#explore?penalty=2")
    chart = page.locator(".x-figure").nth(1)
    assert "for its model and this cost on 20 labelled answers" in chart.inner_text()
    assert "threshold chosen on labelled answers" in chart.locator("text").all_text_contents()
    named = chart.locator(".role-legend-symbol path").last
    assert named.get_attribute("fill") == "#fff", "a ring, not a line"
    assert named.get_attribute("stroke") == "#1b1f24", "of no model"
    rings = chart.locator(".mark-symbol.role-mark path")
    strokes = [ring.get_attribute("stroke") for ring in rings.all()]
    lines = chart.locator(".mark-line.role-mark path")
    assert strokes == [line.get_attribute("stroke") for line in lines.all()]
    assert len(set(strokes)) == 3
    curves = table_of(duo, "score_curves")
    chosen = curves[curves["chosen"] & (curves["scheme"] == "conservative")]
    assert rings.count() == len(chosen.query("method == 'msp' and dataset == 'all'")) == 3
    page = opened(duo, "#explore?penalty=3")
    assert (
        "No thresholds were chosen for this cost" in page.locator(".x-figure").nth(1).inner_text()
    )


def test_a_threshold_in_the_address_is_a_value(opened: Callable[..., Page], duo: Path) -> None:
    curves = table_of(duo, "score_curves")
    thresholds = sorted(curves[curves["method"] == "msp"]["threshold"].unique())
    wanted = thresholds[len(thresholds) // 4]
    page = opened(duo, f"#explore?threshold={wanted:.6f}&penalty=2")
    caption = page.locator("caption", has_text="Scores at the threshold").inner_text()
    assert caption == f"Scores at the threshold {wanted:.3f}, a wrong answer costs 2"
    page = opened(duo, "#explore?threshold=some&penalty=")
    status = page.inner_text(".x-status")
    assert "There is no threshold “some” here. There is no penalty “” here." in status


def test_the_page_stays_while_a_slider_moves(opened: Callable[..., Page], duo: Path) -> None:
    page = opened(duo)
    page.set_viewport_size({"width": 1400, "height": 400})
    page.locator("#x-threshold").evaluate("slider => slider.scrollIntoView({ block: 'center' })")
    page.focus("#x-threshold")
    place = page.evaluate("scrollY")
    assert place > 0
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        drawn(page)
    assert page.evaluate("scrollY") == place


def test_a_link_to_the_explorer_leaves_the_view(
    opened: Callable[..., Page], file: Path, tmp_path: Path
) -> None:
    linked = tmp_path / "page.html"
    far = '<a href="#explorer">Go</a><p style="height: 300vh"></p><main>'
    text = file.read_text(encoding="utf-8").replace("<main>", far)
    linked.write_text(text, encoding="utf-8")
    page = opened(linked, "#explore?metric=accuracy")
    title = page.locator("#x-title").text_content()
    page.get_by_text("Go", exact=True).click()
    drawn(page)
    assert page.evaluate("location.hash") == "#explore?metric=accuracy"
    assert page.locator("#x-title").text_content() == title
    heading = page.get_by_role("heading", name="Explore")
    top = heading.evaluate("one => one.getBoundingClientRect().top")
    assert 0 <= top < 100
    assert heading.evaluate("one => one === document.activeElement")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "x-model"


def shades(place: Locator) -> tuple[float, float]:
    """How much darker or lighter than further in the sides of an element are, as a picture."""
    with Image.open(io.BytesIO(place.screenshot())) as picture:
        row = np.asarray(picture.convert("L"), float)[-20]
    return abs(row[3] - row[40]), abs(row[-4] - row[-40])


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_what_is_wider_than_its_box_has_shadows_at_its_sides(
    blank: Page, colours: Literal["light", "dark"]
) -> None:
    blank.set_viewport_size(NARROW)  # type: ignore[arg-type]
    blank.emulate_media(color_scheme=colours)
    style = "".join((explorer.HERE / name).read_text(encoding="utf-8") for name in STYLES)
    wide = "<p style='width: 900px; height: 200px; margin: 0'></p>"
    white = "R0lGODlhAQABAIAAAP///////yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="
    sized = "style='width: 900px; height: 200px; max-width: none'"
    image = f"<img {sized} src='data:image/gif;base64,{white}' alt=''>"
    for box, inner in (("scroll", wide), ("x-scroll", wide), ("card", image)):
        blank.set_content(f"<style>{style}</style><main><div class={box}>{inner}</div></main>")
        place = blank.locator(f".{box}")
        left, right = shades(place)
        assert left < 3 < 20 < right, box
        place.evaluate("one => { one.scrollLeft = 9999 }")
        left, right = shades(place)
        assert right < 3 < 20 < left, box
        place.evaluate("one => { one.firstElementChild.style.width = '100%' }")
        assert max(shades(place)) < 3, box


def test_some_models_can_be_chosen(opened: Callable[..., Page], duo: Path) -> None:
    page = opened(duo)
    page.get_by_label("Poor", exact=True).uncheck()
    asked(page, "models", "Good|Fair")
    assert [row[0] for row in page.evaluate(CELLS, "Scores at")] == ["Good", "Fair"]


@pytest.mark.skipif(AXE is None, reason="no axe: make test installs it")
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_an_audit_of_models_finds_nothing_serious(
    opened: Callable[..., Page], duo: Path, colours: Literal["light", "dark"]
) -> None:
    page = opened(duo)
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=colours)
        page.wait_for_timeout(50)
        drawn(page)
        assert audit(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.smoke
def test_the_page_of_the_smoke_study_has_it(opened: Callable[..., Page], smoke: Path) -> None:
    file = smoke / SMOKE / "index.html"
    page = opened(file)
    metrics = metrics_of(smoke, SMOKE)
    runs = {name: run.replace("one", GEMMA) for name, run in CONDITIONS.items()}
    runs = {name: run.replace("own", "facts") for name, run in runs.items()}
    for metric in dict.fromkeys(key[2] for key in metrics if key[1] == "text_ppl"):
        choose(page, "metric", metric)
        for language, cells in by_language(page, "").items():
            for cell, run in zip(cells[4:], runs.values(), strict=True):
                row = metrics[run, "text_ppl", metric, language]
                assert alike(cell, row["value"], row["ci_low"], row["ci_high"]), (cell, row)
    questions = pq.read_table(smoke / paths.BENCHMARK.format(benchmark="cldr-facts")).to_pandas()
    texts: Any = questions.set_index(["language", "question_id"])["question"]
    for language in dict.fromkeys(key[3] for key in metrics):
        choose(page, "language", language)
        cards = page.evaluate(CARDS)
        assert 0 < len(cards) <= 10
        for card in cards:
            name = re.findall(r"question=([\w.]+)", card["link"])[0]
            assert card["text"] == texts[language, name]
            assert sum(option["right"] for option in card["options"]) == 1
            assert sum(len(option["picks"]) for option in card["options"]) == len(CONDITIONS)
