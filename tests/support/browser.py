"""Pages in Chromium: what they complain of and ask for, and an audit of who can use them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from support.checkout import REPO

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request

#: Debian's, by its name there
CHROMIUM = shutil.which("chromium")
#: Of an environment of its own, tests/requirements.txt
AXE = next(
    iter(REPO.glob("tests/.venv/lib/*/site-packages/axe_playwright_python/axe.min.js")), None
)


class Log:
    """What the console and the scripts of a page complained of, and each URL that it asked for."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.asked: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            self.errors.append(message.text)

    def _request(self, request: Request) -> None:
        self.asked.append(request.url)


def audit(page: Page) -> list[str]:
    """What axe finds that is serious or worse: its rule, and the element."""
    assert AXE is not None
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
