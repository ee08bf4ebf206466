"""The names of languages in English and in themselves, and of their scripts, by CLDR."""

from __future__ import annotations

from contextlib import suppress
from typing import TypedDict

from babel import Locale, UnknownLocaleError
from babel.core import get_global

ENGLISH = Locale("en")
#: Where CLDR's name says too little by itself
SCRIPTS = {"Hans": "Simplified Han", "Hant": "Traditional Han"}


class Named(TypedDict):
    """A language's name in English and in itself, and the English name of its script.

    The own name is the tag where CLDR has no such language, the script then empty.
    """

    name: str
    own: str
    script: str


def language(code: str) -> str:
    """The English name of a language, with its script or territory; the code if CLDR has none."""
    name = ENGLISH.languages.get(code.replace("-", "_"))
    if name is None:
        with suppress(UnknownLocaleError, ValueError):
            name = Locale.parse(code, sep="-").get_display_name("en")
    return name or code


def named(tag: str) -> Named:
    """The names of the language of a BCP 47 tag."""
    base, *subtags = tag.split("-")
    likely = get_global("likely_subtags").get(base.lower(), "").split("_")
    script = next((part.title() for part in [*subtags, *likely[1:]] if len(part) == 4), "")
    script = SCRIPTS.get(script) or ENGLISH.scripts.get(script, script)
    return {"name": language(tag), "own": _own(tag), "script": script}


def _own(tag: str) -> str:
    try:
        return Locale.parse(tag, sep="-").display_name or tag
    except (UnknownLocaleError, ValueError):
        return tag
