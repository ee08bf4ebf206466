"""The smoke study's report as a reader sees it: in Chromium, without a network."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from support import checkout
from support.browser import CHROMIUM, Log
from support.rerun_edits import PLOTS

REPORT = "results/smoke/report.html"
VERDICTS = "results/smoke/claims/verdicts.json"
ROWS = "[...document.querySelectorAll('nav tbody tr')]"
#: No name and no setting runs out of the left column
FITS = "(column => column.scrollWidth <= column.clientWidth)(document.querySelector('nav'))"
FIGURE = "[...document.images].find(image => image.src.startsWith('data:image/png'))"

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def report(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report as `make smoke` makes it, in a folder of its own: others copy that of `smoke`."""
    folder = checkout.copy_made(smoke, tmp_path_factory.mktemp("report"), "inputs", "smoke")
    program = f"SNAKEMAKE={shlex.join(checkout.SNAKEMAKE)}"
    make = ["make", "--old-file=env", "report", "STUDY=smoke", program]
    subprocess.run(make, cwd=folder, check=True)
    return folder / REPORT


@pytest.fixture
def page(report: Path, blank: Page) -> Iterator[Page]:
    """It, open; at the end it has complained of nothing, and asked nothing of a network."""
    log = Log(blank)
    blank.goto(report.as_uri())
    yield blank
    assert log.errors == []
    own = ("data:", report.as_uri())
    assert log.asked
    assert [url[:200] for url in log.asked if not url.startswith(own)] == []


def made_in(page: Page) -> Path:
    """The folder that a report was made in."""
    return Path(page.url.partition("#")[0].removeprefix("file://").removesuffix(REPORT))


def settled(page: Page) -> None:
    """Wait until nothing moves: a link of the left column is replaced while that slides in."""
    page.wait_for_function("document.getAnimations().length == 0")


def click(page: Page, text: str) -> None:
    """Click the only link of this text."""
    settled(page)
    page.locator("a").filter(has_text=re.compile(rf"^\s*{text}\s*$")).click()


def rows(page: Page, category: str) -> list[str]:
    """Open a category; the names of its results."""
    click(page, category)
    page.wait_for_function(f"{ROWS}.length > 0")
    names: list[str] = page.evaluate(f"{ROWS}.map(row => row.cells[0].innerText.trim())")
    return names


def press(page: Page, row: int, button: str) -> None:
    """Press a result's button: `show` it, or `tell` of it."""
    settled(page)
    buttons = page.locator("nav tbody tr").nth(row).locator("a")
    buttons.nth(["show", "tell"].index(button)).click()


def seen(page: Page, picture: Path) -> tuple[Any, Any]:
    """The shown figure as the window shows it, and that part of its file; grey, 0 to 255."""
    page.wait_for_function(
        f"(image => image && image.complete && image.naturalWidth > 0)({FIGURE})"
    )
    settled(page)
    box = page.evaluate(f"(b => [b.x, b.y, b.width, b.height])({FIGURE}.getBoundingClientRect())")
    x, y, width, height = map(round, box)
    assert min(x, y) >= 0, "begins where no scroll bar reaches"
    page.screenshot(path=picture)
    with Image.open(picture) as window:
        part = (x, y, min(x + width, window.width), min(y + height, window.height))
        screen = window.convert("L").crop(part)
    with Image.open(made_in(page) / page.evaluate("app.state.resultPath")) as file:
        wanted = file.convert("L").resize((width, height)).crop((0, 0, *screen.size))
    return np.asarray(screen, float), np.asarray(wanted, float)


def test_each_figure_is_seen_with_its_caption(page: Page, tmp_path: Path) -> None:
    names = rows(page, "Figures")
    assert len(names) == len(PLOTS)
    assert "ECE by language" in names
    assert page.evaluate(FITS)
    for row, name in enumerate(names):
        press(page, row, "show")
        page.wait_for_function(f"results[app.state.resultPath].labels.figure == {name!r}")
        screen, wanted = seen(page, tmp_path / f"{row}.png")
        assert screen.shape[0] > 250, name  # four languages need no more
        assert screen.std() > 15, name  # not blank
        assert np.abs(screen - wanted).mean() < 8, name  # scaled by others than by PIL
        assert screen.shape[1] > 900, name  # wide enough to be read
    for row, name in enumerate(names):
        press(page, row, "tell")
        page.wait_for_function("document.querySelector('nav .prose') !== null")
        told = page.evaluate("document.querySelector('nav .prose').innerText")
        rule = page.evaluate("results[app.state.resultPath].job_properties.rule")
        caption = (checkout.REPO / f"report/{rule.removeprefix('plot_')}.rst").read_text("utf-8")
        words = re.sub(r"{%.*?%}", "", caption).partition("{{")[0].split()[:3]
        assert words, name
        assert told.split()[: len(words)] == words, name
        assert page.evaluate(FITS)
        click(page, "Figures")


def test_the_claims_page_is_readable(page: Page, tmp_path: Path) -> None:
    assert rows(page, "Claims") == ["verdicts"]
    press(page, 0, "show")
    page.wait_for_selector("iframe")
    (frame,) = page.main_frame.child_frames
    frame.wait_for_function("document.querySelectorAll('.claims tr').length > 1")
    page.screenshot(path=tmp_path / "claims.png")
    cells = frame.evaluate(
        "[...document.querySelectorAll('.claims tr')].slice(1)"
        ".map(row => [...row.cells].map(cell => cell.innerText))"
    )
    told = json.loads((made_in(page) / VERDICTS).read_text("utf-8"))["claims"]
    assert [(row[0], row[3]) for row in cells] == [(n, one["verdict"]) for n, one in told.items()]
    for row, claim in zip(cells, told.values(), strict=True):
        assert row[1].startswith(claim["says"])
        assert row[2].startswith(claim["reason"] or claim["parts"][0]["said"])
    marks = frame.evaluate(
        "[...document.querySelectorAll('.claims td:nth-child(4) div')]"
        ".map(one => getComputedStyle(one, '::before').content)"
    )
    assert len(set(marks)) == len({claim["verdict"] for claim in told.values()})
    assert "none" not in marks
    # no line runs out of the window, and letters are of a reader's size
    assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (
        frame.evaluate("parseFloat(getComputedStyle(document.querySelector('td')).fontSize)") >= 14
    )


@pytest.mark.parametrize("category", ["Tables", "Provenance"])
def test_each_file_can_be_taken_out(page: Page, category: str) -> None:
    assert len(rows(page, category)) >= 2
    links = page.evaluate(f"{ROWS}.map(row => row.querySelector('a[download]').href)")
    files = page.evaluate(f"Object.values(categories[{category!r}]).flat()")
    taken = {base64.b64decode(link.split(",", 1)[1]) for link in links}
    assert taken == {(made_in(page) / file).read_bytes() for file in files}


@pytest.mark.parametrize(("entry", "charts"), [("Workflow", 1), ("Statistics", 2)])
def test_charts_of_the_workflow_are_drawn(
    page: Page, tmp_path: Path, entry: str, charts: int
) -> None:
    click(page, entry)
    page.wait_for_function(f"document.querySelectorAll('.vega-embed canvas').length == {charts}")
    picture = tmp_path / "charts.png"
    page.screenshot(path=picture)
    with Image.open(picture) as window:
        right = window.convert("L").crop((window.width // 2, 0, *window.size))
    assert np.asarray(right).std() > 5


def test_a_network_that_is_asked_is_noticed(blank: Page) -> None:
    log = Log(blank)
    blank.goto("data:text/html,<img src='https://example.org/a.png'>")
    assert "https://example.org/a.png" in log.asked
    blank.wait_for_function("document.images[0].complete")
    assert "ERR_INTERNET_DISCONNECTED" in log.errors[0]
