"""The page of the smoke study as a reader sees it: in Chromium, without a network."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Page

from multical.page import products
from support.browser import AXE, CHROMIUM, Log, audit
from support.rerun_edits import GEMMA, PLOTS, SMOKE, SMOLLM

WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
#: The cells of a table, by its caption
CELLS = """caption => [...document.querySelectorAll('table')]
    .filter(table => table.caption.innerText == caption)
    .map(table => [...table.rows].map(row => [...row.cells].map(cell => cell.innerText)))[0]"""

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.smoke,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)"),
]


@pytest.fixture
def page(smoke: Path, blank: Page) -> Iterator[Page]:
    """It, open; at the end it has complained of nothing, and asked for nothing but itself."""
    log = Log(blank)
    path = smoke / SMOKE / "index.html"
    blank.set_viewport_size(WIDE)  # type: ignore[arg-type]
    blank.goto(path.as_uri())
    yield blank
    assert log.errors == []
    own = ("data:", path.as_uri())
    assert log.asked
    assert [url[:200] for url in log.asked if not url.startswith(own)] == []


def unfold(page: Page) -> None:
    """Open all that is folded, also by a narrow screen, in the frame after it gets narrow."""
    frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(frame)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


def made_in(page: Page) -> Path:
    """The folder of the study."""
    return Path(page.url.partition("#")[0].removeprefix("file://")).parent


def test_the_finding_has_the_numbers_of_the_tables(page: Page) -> None:
    lead = page.inner_text(".lead")
    summary = pd.read_csv(made_in(page) / "summary.csv")
    rows = summary[(summary["group"] == "non-english") & (summary["readout"] == "text_ppl")]
    means = rows.set_index(["run", "metric"])["value"]
    for metric in ("confidence", "accuracy", "ece"):
        changes = [
            means[f"{model}.facts.ls0.s0", metric] - means[model, metric]
            for model in (GEMMA, SMOLLM)
        ]
        assert f"({changes[0]:+.3f} and {changes[1]:+.3f})" in lead
    effects = pd.read_csv(made_in(page) / "stats/effects_over_languages.csv")
    effects = effects[(effects["group"] == "non-english") & (effects["readout"] == "text_ppl")]
    rows_of = {(row.after, row.model, row.metric): row for row in effects.itertuples()}
    shown = page.evaluate(CELLS, "Changes by SFT and by smoothing")
    metrics = ["confidence", "accuracy", "debiased_ece2"]
    assert len(shown) == 1 + 2 * 2
    for after, model, *cells in shown[1:]:
        for metric, cell in zip(metrics, cells, strict=True):
            row = rows_of[after, model, metric]
            ends = f"{row.value:+.3f} [{row.ci_low:+.3f}, {row.ci_high:+.3f}]"
            assert cell == ends


def test_each_figure_is_there_as_it_was_drawn_with_its_caption(page: Page) -> None:
    figures: Any = page.evaluate(
        "[...document.querySelectorAll('figure')].map(figure => ({"
        "picture: figure.querySelector('img').src, file: figure.querySelector('.files a').href, "
        "wide: figure.querySelector('img').naturalWidth, "
        "caption: figure.querySelector('figcaption').innerText}))"
    )
    assert len(figures) == len(PLOTS)
    for figure in figures:
        file = Path(figure["file"].removeprefix("file://")).with_suffix(".png")
        with Image.open(file) as drawn:
            wanted = np.asarray(drawn.convert("RGB"))
        data = base64.b64decode(figure["picture"].partition(",")[2])
        with Image.open(io.BytesIO(data)) as shown:
            seen = np.asarray(shown.convert("RGB"))
        assert np.abs(seen.astype(int) - wanted.astype(int)).max() <= products.STEP / 2
        assert figure["wide"] == wanted.shape[1]
        assert len(figure["caption"].split()) > 20


def test_tables_have_the_cells_of_their_files(page: Page) -> None:
    with open(made_in(page) / "tables/selective.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    unfold(page)
    head, *shown = page.evaluate(CELLS, "Selective table")
    names = {products.plain(name).striptags(): name for name in rows[0]}
    assert len(shown) == len(rows)
    for row, cells in zip(rows, shown, strict=True):
        for name, cell in zip(head, cells, strict=True):
            assert cell.split(" [")[0] == products.number(row[names[name]])


@pytest.mark.skipif(AXE is None, reason="no axe: make test installs it")
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_an_audit_finds_nothing_serious(
    page: Page, size: Any, colours: Literal["light", "dark"]
) -> None:
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=colours, reduced_motion="reduce")
    unfold(page)
    assert audit(page) == []


def test_the_audit_sees_a_fault(blank: Page) -> None:
    if AXE is None:
        pytest.skip("no axe: make test installs it")
    blank.set_content("<main><h1>x</h1><img src='data:,'><p style='color: #ccc'>pale</p></main>")
    assert {fault.partition(":")[0] for fault in audit(blank)} >= {"image-alt", "color-contrast"}


def test_nothing_is_wider_than_a_narrow_screen(page: Page) -> None:
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_a_narrow_screen_has_figures_folded(page: Page) -> None:
    height = "document.documentElement.scrollHeight"
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.locator("#tables .long[open]").first.wait_for(state="detached")
    assert page.locator(".long[open]").count() == 0
    folded = page.evaluate(height)
    unfold(page)
    assert folded < page.evaluate(height) / 2


def test_dark_and_print_have_colours_of_their_own(page: Page) -> None:
    colours = "[...['backgroundColor', 'color']].map(key => getComputedStyle(document.body)[key])"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(colours)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colours)
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    card = "getComputedStyle(document.querySelector('.card')).backgroundColor"
    assert page.evaluate(card) == "rgb(255, 255, 255)", "figures are drawn on white"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(colours)[0] == "rgb(255, 255, 255)"
    assert not page.is_visible("header nav")


def test_it_can_be_read_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the finding"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "finding"
    page.focus("#claims summary")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('#claims details').open")
