"""The one way a program of multical says that its input is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(Exception):
    """Bad input, said in one sentence: the file, the key or row, found, expected."""


def program(main: Callable[[], None]) -> None:
    """Run a script's `main`; an `InputError` becomes one line on stderr and exit code 1."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
