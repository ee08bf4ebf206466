"""Facts about sovereign territories, and their localised names, from CLDR through Babel.

The packaged benchmark `cldr-facts` and its English SFT pairs are our own design. There are three
kinds of facts. Each fact is about a territory with exactly one right answer:

`currency`  the only legal tender of the territory.
`language`  the only official language of the territory, nationwide and by law in CLDR. Regional and
            de facto official languages are never a wrong option, since they are right in a sense.
`country`   the only country where a language has official status, at least regionally (Basque). The
            language must not be the answer of `language` for that country, so that no fact occurs
            twice. Each territory has one language, if possible one that the name of the territory
            does not give away, and among these the one with the most speakers there. All right
            answers differ.

We decided against other kinds. City to country, from the example cities of time zones: languages in
Latin script have few city names (English 10, Hausa 4, Malagasy none) and otherwise inherit the
identifier of the zone, so that a translated name looks like a missing one. Script of a language:
two thirds of the answers are Latin, and most others repeat the language ("Thai"). Capitals and
continents are not in Babel.

All names come from the data of the locale itself. Babel's `root` locale has no names of
territories, languages or currencies, so that a missing name never falls back to English or to a
code. In a language with another script, a name that equals the English name also counts as missing.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from babel import Locale, UnknownLocaleError, localedata
from babel.core import get_global

from multical.errors import InputError

KINDS = ("currency", "language", "country")

#: Territories of CLDR that mostly have the currency and language of another one, that have no
#: permanent population, or whose status is disputed
NOT_SOVEREIGN = frozenset(
    "AC AI AQ AS AW AX BL BM BQ BV CC CK CP CQ CW CX DG EA EH EU EZ FK FO GF GG GI GL GP GS GU "
    "HK HM IC IM IO JE KY MF MO MP MQ MS NC NF NU PF PM PN PR QO RE SH SJ SX TA TC TF TK UM UN "
    "VG VI WF XA XB YT ZZ".split()
)

#: By kind and territory, facts that CLDR 47 lacks, has not updated, or that are disputed
NOT_ASKED = {
    ("currency", "BG"): "the euro replaced the lev on 1 January 2026",
    ("currency", "BN"): "the Singapore dollar is customary tender",
    ("currency", "SG"): "the Brunei dollar is customary tender",
    ("currency", "LR"): "the US dollar is legal tender, too",
    ("currency", "SZ"): "the South African rand is accepted as tender, too",
    ("language", "BF"): "French became a working language in 2024",
    ("language", "ET"): "four more federal working languages since 2020",
    ("language", "IQ"): "Kurdish is official nationwide, too",
    ("language", "ME"): "the constitution says Montenegrin",
    ("language", "MK"): "Albanian is official, too, since 2019",
    ("language", "ML"): "French became a working language in 2023",
    ("language", "NE"): "French became a working language in 2025",
    ("language", "ZA"): "twelve official languages",
    ("country", "BO"): "Aymara is official in Peru, too",
    ("country", "CD"): "Luba-Lulua is a national language, French the official one",
    ("country", "ER"): "no official language by law",
    ("country", "GH"): "Akan is sponsored by the government, English official",
    ("country", "GT"): "Kʼicheʼ is a national language, Spanish the official one",
    ("country", "MA"): "the official standard is another Tamazight",
    ("country", "MW"): "Nyanja is official in Zimbabwe, too",
    ("country", "NG"): "English alone is official",
    ("country", "NO"): "Northern Sami has official status in Finland and Sweden, too",
    ("country", "SN"): "Wolof is a national language, French the official one",
    ("country", "TW"): "Hakka is a national language, Mandarin the official one",
}

#: Standards of one language under several names, which are not clearly wrong for each other
ALIKE = ({"id", "ms"}, {"bs", "hr", "sr"}, {"fa", "tg"})


@dataclass(frozen=True)
class Fact:
    """One fact as CLDR codes. `asked` is in the stem, and `answer` is the right answer.

    `also_right` are the codes of other answers that must not be wrong options.
    """

    kind: str
    territory: str
    asked: str
    answer: str
    also_right: frozenset[str]


@lru_cache(maxsize=1)
def territories() -> tuple[str, ...]:
    """Codes of the sovereign territories (ISO 3166-1 alpha-2, and `XK`), sorted."""
    names = localedata.load("en")["territories"]
    return tuple(sorted(t for t in names if len(t) == 2 and t not in NOT_SOVEREIGN))


def split(seed: int, held_out: float) -> tuple[frozenset[str], frozenset[str]]:
    """Split all territories into those for the benchmark and those for SFT.

    The split depends only on the seed and the held-out fraction. Raises `InputError` if the
    fraction is not between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise InputError(f"held_out: found {held_out}, expected a fraction between 0 and 1")
    order = list(territories())
    random.Random(f"{seed}:split").shuffle(order)
    count = round(held_out * len(order))
    return frozenset(order[:count]), frozenset(order[count:])


def facts(kind: str) -> list[Fact]:
    """All facts of a kind, sorted by territory. Raises `InputError` for an unknown kind."""
    make = {"currency": _currency, "language": _language, "country": _country}.get(kind)
    if make is None:
        raise InputError(f"kinds: found {kind!r}, expected some of {list(KINDS)}")
    asked = (make(t) for t in territories() if (kind, t) not in NOT_ASKED)
    return [fact for fact in asked if fact is not None]


def _currency(territory: str) -> Fact | None:
    current = [c for c in get_global("territory_currencies").get(territory, []) if c[2] is None]
    tender = [code for code, _, _, is_tender in current if is_tender]
    if len(tender) != 1:
        return None
    also_right = frozenset(code for code, *_ in current)
    return Fact("currency", territory, territory, tender[0], also_right)


def _language(territory: str) -> Fact | None:
    status = _status(territory)
    official = _official(territory)
    # a second language that is de facto official would make the question ambiguous
    if len(official) != 1 or "de_facto_official" in status.values():
        return None
    alike = {code for group in ALIKE if official[0] in group for code in group}
    return Fact("language", territory, territory, official[0], frozenset(alike.union(status)))


def _country(territory: str) -> Fact | None:
    names = localedata.load("en")
    home = names["territories"][territory]
    single = _language(territory)
    unique = [
        code
        for code in _status(territory)
        if names["languages"].get(code, home) != home
        and _spread()[code] == 1
        and not (single and code == single.answer)
    ]
    if not unique:
        return None
    spoken_by = {
        code: max(info["population_percent"] for info in entries)
        for code, entries in _languages(territory).items()
    }
    asked = min(
        unique,
        key=lambda code: (gives_away(home, names["languages"][code], "Latn"), -spoken_by[code]),
    )
    # countries with speakers are never a wrong option, since CLDR's statuses lag behind laws
    spoken = [t for t in territories() if asked in _languages(t)]
    return Fact("country", territory, asked, territory, frozenset(spoken))


def _languages(territory: str) -> dict[str, Any]:
    """The entries of each language in CLDR, of all its scripts (`sr` and `sr_Latn`)."""
    merged: dict[str, list[Any]] = {}
    for code, info in get_global("territory_languages").get(territory, {}).items():
        merged.setdefault(code.split("_")[0], []).append(info)
    return merged


def _status(territory: str) -> dict[str, str]:
    """The languages with any official status, and their status."""
    return {
        code: info["official_status"]
        for code, entries in _languages(territory).items()
        for info in entries
        if info["official_status"]
    }


def _official(territory: str) -> list[str]:
    """The languages that are official nationwide and by law, and have an English name in CLDR."""
    names = localedata.load("en")["languages"]
    status = _status(territory)
    return sorted(c for c, value in status.items() if value == "official" and c in names)


@lru_cache(maxsize=1)
def _spread() -> Counter[str]:
    """By language, the number of territories, sovereign or not, where it has an official status."""
    return Counter(
        code for territory in get_global("territory_languages") for code in _status(territory)
    )


class Names:
    """The names of territories, languages and currencies in one locale."""

    def __init__(self, tag: str) -> None:
        """`tag` is a BCP 47 tag. Raises `InputError` if CLDR has no such locale."""
        try:
            locale = Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError) as error:
            raise InputError(f"languages: found {tag!r}, for which CLDR has no names") from error
        parent = get_global("parent_exceptions").get(str(locale), "root")
        if parent != "root" and parent.split("_")[0] != locale.language:
            raise InputError(
                f"languages: {tag!r} takes its names from {parent!r}, another language"
            )
        likely = get_global("likely_subtags").get(locale.language, "")
        self.script = locale.script or [*likely.split("_"), "", ""][1]
        self.tag = tag
        self._data = localedata.load(str(locale))
        self._english = localedata.load("en")

    def get(self, kind: str, code: str) -> str | None:
        """The name of a "currency", "language" or "country" code, or None if it is missing."""
        table = TABLES[kind]
        name = self._data.get(table, {}).get(code)
        if name is None or name == code or (self.is_english(kind, code) and self.script != "Latn"):
            return None
        return str(name)

    def is_english(self, kind: str, code: str) -> bool:
        """Whether the name equals the English name, as it may."""
        table = TABLES[kind]
        return bool(self._data.get(table, {}).get(code) == self._english[table].get(code))


#: By kind, Babel's table with the names of the answers
TABLES = {"currency": "currency_names", "language": "languages", "country": "territories"}

#: Shortest shared run of letters that gives away an answer, by script; 4 in other scripts
_GIVEAWAY = {"Hans": 2, "Hant": 2, "Kore": 2, "Ethi": 2, "Jpan": 3}


def gives_away(asked: str, answer: str, script: str) -> bool:
    """Whether two names share a run of letters, such as Thailand and Thai Baht.

    A run has at least 4 letters (2 or 3 in syllabic scripts), ignoring case, accents and spaces.
    This measure is rough: it misses Netherlands and Dutch.
    """
    left, right = _letters(asked), _letters(answer)
    n = _GIVEAWAY.get(script, 4)
    return any(left[i : i + n] in right for i in range(len(left) - n + 1))


def _letters(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    # only the accents of Latin, Greek and Cyrillic, since the marks of Indic scripts are vowels
    bare = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")
    return "".join(c for c in unicodedata.normalize("NFC", bare) if not _is_separator(c))


def _is_separator(character: str) -> bool:
    return unicodedata.category(character)[0] in "ZPSC"
