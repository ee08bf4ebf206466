"""The names of languages and scripts, from CLDR through Babel."""

from __future__ import annotations

from typing import TypedDict

from babel import Locale, UnknownLocaleError, localedata
from babel.core import get_global


class Named(TypedDict):
    """A language's name in English and in itself, and the English name of its script.

    The own name is that of the tag where CLDR has no such language, the script then empty.
    """

    name: str
    own: str
    script: str


def named(tag: str) -> Named:
    """The names of the language of a BCP 47 tag."""
    english = localedata.load("en")
    language, *subtags = tag.replace("_", "-").split("-")
    language = language.lower()
    likely = get_global("likely_subtags").get(language, "").split("_")
    script = next((part.title() for part in [*subtags, *likely[1:]] if len(part) == 4), "")
    name = english["languages"].get(language, tag)
    if subtags and name != tag:
        parts = [english["scripts"].get(part.title(), part) for part in subtags]
        parts = [english["territories"].get(part.upper(), part) for part in parts]
        name += f" ({', '.join(parts)})"
    return {"name": name, "own": _own(tag), "script": english["scripts"].get(script, script)}


def _own(tag: str) -> str:
    try:
        return Locale.parse(tag, sep="-").display_name or tag
    except (UnknownLocaleError, ValueError):
        return tag
