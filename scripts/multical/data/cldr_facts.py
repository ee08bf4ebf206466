"""Facts about sovereign territories, and their localised names, from CLDR through Babel.

The packaged benchmark `cldr-facts` and its English SFT pairs are our own design.
Three kinds of fact, each asked of a territory that has exactly one right answer:

`currency`  the currency that is the territory's only legal tender.
`language`  the language that is the territory's only official one (nationwide
            and by law in CLDR; regional and de facto official ones count as
            right, so they are never a wrong option).
`country`   the other way round: the only country where a language is official,
            be it regionally (Basque), where it is not the answer of `language`,
            so that no fact is asked twice. One language a territory: if possible
            one that the territory's name does not give away, and of these the
            one that most people there speak. Every right answer differs.

Other kinds were weighed. City to country, from the exemplar cities of time
zones: languages in Latin script hold few city names of their own (English 10,
Hausa 4, Malagasy none) and else inherit the zone's identifier, so a translated
name cannot be told from a missing one. Script of a language: two thirds of the
answers are Latin, most others repeat the language ("Thai"). Capitals and
continents are not in Babel.

Names come from the locale's own data alone. Babel's `root` locale holds no name
of a territory, language or currency, so a name is there or it is missing, and
nothing falls back to English or to a code. A name that equals the English one in
a language of another script counts as missing, too.
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

#: CLDR names them as territories; their currency and language are mostly those of
#: another one, or they have no permanent population, or their status is disputed.
NOT_SOVEREIGN = frozenset(
    "AC AI AQ AS AW AX BL BM BQ BV CC CK CP CQ CW CX DG EA EH EU EZ FK FO GF GG GI GL GP GS GU "
    "HK HM IC IM IO JE KY MF MO MP MQ MS NC NF NU PF PM PN PR QO RE SH SJ SX TA TC TF TK UM UN "
    "VG VI WF XA XB YT ZZ".split()
)

#: Facts on which CLDR 47 is silent, late or disputed, by kind and territory.
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

#: Standards of one language under several names: one is no clean wrong option for another.
ALIKE = ({"id", "ms"}, {"bs", "hr", "sr"}, {"fa", "tg"})


@dataclass(frozen=True)
class Fact:
    """One fact, as CLDR codes; `asked` stands in the stem and `answer` is right.

    `also_right` are the codes of `kind`'s answers that must not be wrong options.
    """

    kind: str
    territory: str
    asked: str
    answer: str
    also_right: frozenset[str]


@lru_cache(maxsize=1)
def territories() -> tuple[str, ...]:
    """Codes of the sovereign territories, sorted (ISO 3166-1 alpha-2, and `XK`)."""
    names = localedata.load("en")["territories"]
    return tuple(sorted(t for t in names if len(t) == 2 and t not in NOT_SOVEREIGN))


def split(seed: int, held_out: float) -> tuple[frozenset[str], frozenset[str]]:
    """Territories for the benchmark and for SFT: disjoint, and together all of them.

    Depends on the seed and the held-out fraction alone. Raises `InputError` for a
    fraction that is not between 0 and 1.
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
    # A de facto official language beside it would make the question ambiguous.
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
    # A country where it is spoken at all is no wrong option: CLDR's statuses lag behind laws.
    spoken = [t for t in territories() if asked in _languages(t)]
    return Fact("country", territory, asked, territory, frozenset(spoken))


def _languages(territory: str) -> dict[str, Any]:
    """Language -> its entries in CLDR, of all scripts (`sr` and `sr_Latn` are one)."""
    merged: dict[str, list[Any]] = {}
    for code, info in get_global("territory_languages").get(territory, {}).items():
        merged.setdefault(code.split("_")[0], []).append(info)
    return merged


def _status(territory: str) -> dict[str, str]:
    """Languages of any official status, with the status."""
    return {
        code: info["official_status"]
        for code, entries in _languages(territory).items()
        for info in entries
        if info["official_status"]
    }


def _official(territory: str) -> list[str]:
    """Languages official nationwide and by law that CLDR names in English."""
    names = localedata.load("en")["languages"]
    status = _status(territory)
    return sorted(c for c, value in status.items() if value == "official" and c in names)


@lru_cache(maxsize=1)
def _spread() -> Counter[str]:
    """Language -> number of territories, sovereign or not, where it has any official status."""
    return Counter(
        code for territory in get_global("territory_languages") for code in _status(territory)
    )


class Names:
    """The names that one locale itself has for territories, languages and currencies."""

    def __init__(self, tag: str) -> None:
        """`tag` is a BCP 47 tag. Raises `InputError` where CLDR has no such locale."""
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
        """The name of a "currency", "language" or "country" code, None if it is missing."""
        table = TABLES[kind]
        name = self._data.get(table, {}).get(code)
        if name is None or name == code or (self.is_english(kind, code) and self.script != "Latn"):
            return None
        return str(name)

    def is_english(self, kind: str, code: str) -> bool:
        """Whether the name is letter by letter the English one (a language's right, too)."""
        table = TABLES[kind]
        return bool(self._data.get(table, {}).get(code) == self._english[table].get(code))


#: Babel's table of names for the codes that answer a kind.
TABLES = {"currency": "currency_names", "language": "languages", "country": "territories"}

#: Shortest shared run of letters that counts as a giveaway, by script; else 4.
_GIVEAWAY = {"Hans": 2, "Hant": 2, "Kore": 2, "Ethi": 2, "Jpan": 3}


def gives_away(asked: str, answer: str, script: str) -> bool:
    """Whether two names share a run of letters, such as Thailand and Thai Baht.

    A run is 4 letters or more (2 or 3 in syllabic scripts), without regard to
    case, accents and spaces. A rough measure: it misses Netherlands and Dutch.
    """
    left, right = _letters(asked), _letters(answer)
    n = _GIVEAWAY.get(script, 4)
    return any(left[i : i + n] in right for i in range(len(left) - n + 1))


def _letters(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    # Only the accents of Latin, Greek and Cyrillic: the marks of Indic scripts are vowels.
    bare = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")
    return "".join(c for c in unicodedata.normalize("NFC", bare) if not _is_separator(c))


def _is_separator(character: str) -> bool:
    return unicodedata.category(character)[0] in "ZPSC"
