"""The one way a program of multical says that its input is wrong."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable


class InputError(Exception):
    """Bad input, in one sentence: the file, the key or row, what was found, what was expected."""


#: Variables that hold a token
SECRET = re.compile(r"TOKEN|PASSWORD|SECRET|API_?KEY")
#: Who logs in, in an address; a token in its query; a token of the hub
SIGNED = re.compile(r"(?<=://)[^/\s@'\"]+@")
QUERIED = re.compile(r"(?<=[?&])([\w-]*(?:token|key|signature|secret)[\w-]*)=[^&\s'\")]+", re.I)
HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}")
HIDDEN = "***"


def redacted(text: str) -> str:
    """A text for logs, with every token and password replaced.

    Those of the environment, those in addresses, and what looks like a token of the hub.
    """
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8:  # not 0, 1, true
            text = text.replace(value, HIDDEN)
    text = SIGNED.sub(f"{HIDDEN}@", text)
    return HUB_TOKEN.sub(HIDDEN, QUERIED.sub(rf"\1={HIDDEN}", text))


def program(main: Callable[[], None]) -> None:
    """Run a script's `main`; an `InputError` becomes one line on stderr and exit code 1.

    Any other error keeps its traceback, in which no token stands either.
    """
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {redacted(str(error))}")
    except Exception:
        sys.exit(redacted(traceback.format_exc()))
