"""A headless Chromium without a network, driven over a pipe by the DevTools protocol.

Of the protocol only what the tests of the report need: open a page, run JavaScript in it, click,
take a picture, and keep all that the page logs or asks the network for.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Debian's chromium has this name.
PROGRAM = shutil.which("chromium")
SECONDS = 60.0
FLAGS = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # small in containers
    "--disable-gpu",
    "--disable-site-isolation-trials",  # frames answer as parts of their page
    "--no-first-run",
]


class BrowserError(RuntimeError):
    """The browser, or JavaScript in it, failed."""


class Page:
    """One tab: `errors` has what its console and its scripts complained of, `asked` each URL."""

    def __init__(self, send: int, receive: int) -> None:
        self.errors: list[str] = []
        self.asked: list[str] = []
        self._send, self._receive = send, receive
        self._read, self._last = b"", 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            got = self._message()
            if got.get("id") == self._last:
                break
            self._note(got)
        if "error" in got:
            raise BrowserError(f"{method}: {got['error']['message']}")
        result: dict[str, Any] = got["result"]
        return result

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._receive], [], [], max(0, end - time.monotonic()))
            more = os.read(self._receive, 1 << 20) if ready else b""
            if not more:
                raise BrowserError("Chromium says nothing more")
            self._read += more
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            said = (str(part.get("value", part.get("description"))) for part in params["args"])
            self.errors.append(" ".join(said))
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(json.dumps(params["entry"]))
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    def open(self, url: str) -> None:
        """Load a page, with all that it embeds."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str, **where: Any) -> Any:
        """The value of an expression in JavaScript."""
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True, **where)
        if "exceptionDetails" in got:
            raise BrowserError(f"{script}: {json.dumps(got['exceptionDetails'])}")
        return got["result"].get("value")

    def in_frame(self, script: str) -> Any:
        """The same in the page's only frame, whose content its own scripts may not read."""
        (frame,) = self.call("Page.getFrameTree")["frameTree"]["childFrames"]
        world = self.call("Page.createIsolatedWorld", frameId=frame["frame"]["id"])
        return self.run(script, contextId=world["executionContextId"])

    def wait(self, script: str, run: Callable[[str], Any] | None = None) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + SECONDS
        while not (run or self.run)(script):
            if time.monotonic() > end:
                raise BrowserError(f"not true after {SECONDS:g} s: {script}")
            time.sleep(0.05)

    def picture(self, path: Path) -> Path:
        """Write what a reader sees now, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return path


@contextlib.contextmanager
def page(profile: Path, width: int = 1440, height: int = 900) -> Iterator[Page]:
    """A page of a browser that starts and ends here.

    `profile` is a folder of its own; what the browser says goes into PROFILE.log.
    """
    assert PROGRAM is not None
    to_us, theirs = os.pipe()
    mine, to_them = os.pipe()
    # The browser reads from 3 and writes to 4, which a pipe's own ends must not be.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (mine, theirs)]
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [PROGRAM, *FLAGS, *sandbox, f"--user-data-dir={profile}"]
    script = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
    with open(profile.with_suffix(".log"), "wb") as log:
        browser = subprocess.Popen(
            ["bash", "-c", script, "bash", *command, f"--window-size={width},{height}"],
            pass_fds=ends,
            stdout=log,
            stderr=log,
        )
    for end in (mine, theirs, *ends):
        os.close(end)
    try:
        yield Page(to_them, to_us)
    finally:
        browser.terminate()
        browser.wait(timeout=SECONDS)
        os.close(to_them)
        os.close(to_us)
