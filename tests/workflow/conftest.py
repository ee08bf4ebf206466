"""Fixtures that the workflow's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from support import checkout
from support.browser import CHROMIUM
from support.dry_runs import git, run
from support.harness_study import RUN, study
from support.rerun_edits import IMPORTED, LOG

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def smoke() -> Path:
    """A copy of the repository with its smoke study made."""
    return checkout.made()


@pytest.fixture(scope="session")
def finished(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the smoke study made, and a study of logs of more than 1 MB."""
    folder = checkout.copy_made(smoke, tmp_path_factory.mktemp("finished"), "inputs", "smoke")
    (log,) = checkout.REPO.glob("tests/support/data/harness/samples_quiz_2*.jsonl")
    (folder / LOG).parent.mkdir()
    lines = log.read_text(encoding="utf-8").splitlines()
    (folder / LOG).write_text("".join(f"{line}{' ' * 150_000}\n" for line in lines), "utf-8")
    own = {"studies": {"results/logs": study(RUN | {"samples": {"en": LOG}})}}
    with open(folder / "config.yaml", "a", encoding="utf-8") as stream:
        stream.write(yaml.safe_dump(own))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "finished")
    assert run(folder) == IMPORTED
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM)


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    """A page without a network."""
    with browser.new_context(viewport={"width": 1440, "height": 900}, offline=True) as context:
        context.set_default_timeout(60_000)
        yield context.new_page()
