"""How programs report wrong input: an `InputError`, in one line and without secrets."""

from __future__ import annotations

import atexit
import gc
import os
import re
import sys
import traceback
from collections.abc import Callable


class InputError(Exception):
    """Bad input, described in one sentence: file, key or row, value found, value expected."""


#: Environment variables that hold a secret
SECRET = re.compile(r"TOKEN|PASSWORD|SECRET|API_?KEY")
#: A login in a URL, a token in the query of a URL, and a token of the Hugging Face hub
URL_LOGIN = re.compile(r"(?<=://)[^/\s@'\"]+@")
URL_TOKEN = re.compile(r"(?<=[?&])([\w-]*(?:token|key|signature|secret)[\w-]*)=[^&\s'\")]+", re.I)
HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}")
HIDDEN = "***"


def redacted(text: str) -> str:
    """The text for a log, with `***` in place of each secret.

    Secrets are the values of environment variables such as HF_TOKEN, logins and tokens in URLs,
    and texts that look like a token of the Hugging Face hub.
    """
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8:  # not 0, 1, true
            text = text.replace(value, HIDDEN)
    text = URL_LOGIN.sub(f"{HIDDEN}@", text)
    return HUB_TOKEN.sub(HIDDEN, URL_TOKEN.sub(rf"\1={HIDDEN}", text))


def program(main: Callable[[], None]) -> None:
    """Run a script's `main`; an `InputError` becomes one line on stderr and exit code 1.

    Any other error is printed with its traceback. Secrets are hidden in both cases.

    What is imported by now is no garbage, so Python does not look for any there. At the end that
    takes longer than to draw a small figure, so nothing is left for it to look at then.
    """
    gc.freeze()
    atexit.register(gc.freeze)
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {redacted(str(error))}")
    except Exception:
        sys.exit(redacted(traceback.format_exc()))
