"""What languages are called in English, by CLDR, and lists of names."""

from __future__ import annotations

from collections.abc import Sequence

from babel import Locale

ENGLISH = Locale("en")


def language(code: str) -> str:
    """The name of a language with its script or territory: `Chinese (Traditional)`.

    The code itself where CLDR has no name for it.
    """
    base, _, more = code.partition("-")
    name = ENGLISH.languages.get(base)
    if name is None:
        return code
    rest = ENGLISH.scripts.get(more) or ENGLISH.territories.get(more) or more
    return f"{name} ({rest})" if rest else str(name)


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
