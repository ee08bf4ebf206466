"""Fixtures that the workflow's tests share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from multical import paths
from multical.models.checkpoints import write_manifest
from support import checkout, rerun_edits
from support.browser import CHROMIUM
from support.dry_runs import git, run
from support.harness_study import RUN, study
from support.rerun_edits import GEMMA, LOG, SFT, SMOLLM, jobs

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


@pytest.fixture(scope="session")
def smoke() -> Path:
    """A copy of the repository with its smoke study made."""
    return checkout.made()


@pytest.fixture(scope="session")
def finished(smoke: Path) -> Path:
    """A clone with the smoke study made of tiny models, and a study of logs of more than 1 MB."""
    return checkout.once("finished", lambda folder: _finish(smoke, folder))


def _finish(smoke: Path, folder: Path) -> None:
    from support import tiny  # here: torch, which most tests need not

    checkout.copy_made(smoke, folder, "inputs")
    for name, kind in ((GEMMA, "gemma3"), (SMOLLM, "tied")):  # in place of the real ones
        manifest = folder / paths.MODEL_MANIFEST.format(model=name)
        about = json.loads(manifest.read_text(encoding="utf-8"))
        shutil.rmtree(manifest.parent / "checkpoint")
        tiny.folder(manifest.parent, kind)
        write_manifest(manifest, manifest.parent / "checkpoint", about)
    (log,) = checkout.REPO.glob("tests/support/data/harness/samples_quiz_2*.jsonl")
    (folder / LOG).parent.mkdir()
    lines = log.read_text(encoding="utf-8").splitlines()
    (folder / LOG).write_text("".join(f"{line}{' ' * 150_000}\n" for line in lines), "utf-8")
    own = {"studies": {"results/logs": study(RUN | {"samples": {"en": LOG}})}}
    with open(folder / "config.yaml", "a", encoding="utf-8") as stream:
        stream.write(f"{yaml.safe_dump(own)}figures: {{style: {checkout.COARSE}}}\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "finished")
    git(folder, "gc", "--quiet")  # into few files, since each test copies them
    made = jobs("train_sft", SFT) | jobs("score_run", [GEMMA, SMOLLM, *SFT]) | rerun_edits.RESULTS
    made |= rerun_edits.SETTINGS | rerun_edits.LOSSES | rerun_edits.PAGE | rerun_edits.IMPORTED
    assert run(folder) == made


@pytest.fixture(scope="module")
def window() -> Iterator[BrowserContext]:
    """A window without a network. Its first page keeps it open: to open one takes half a second.

    All pages have one process: to start one takes as long as some tests.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        alike = ["--renderer-process-limit=1", "--disable-site-isolation-trials"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=alike)
        context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
        context.set_default_timeout(60_000)
        context.new_page()
        yield context


@pytest.fixture
def blank(window: BrowserContext) -> Iterator[Page]:
    """A page without a network."""
    with window.new_page() as page:
        yield page
