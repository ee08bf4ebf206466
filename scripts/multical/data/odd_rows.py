"""Rows that make no valid question or conversation: named all at once, or left out and counted."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from multical.errors import InputError

#: Largest number of rows that a message lists by number
LISTED = 20
#: Largest length of a value in a message
SHOWN = 200


class OddRowError(Exception):
    """A row that makes no valid question or conversation.

    `kind` is a phrase by which rows are counted; the message tells what the row has. `leave_out`
    is whether the row is left out: never, if somebody asked for it (odd_rows), or always.
    """

    def __init__(
        self,
        kind: str,
        message: str = "",
        leave_out: Literal["never", "asked", "always"] = "asked",
    ) -> None:
        super().__init__(message or f"found {kind}")
        self.kind, self.leave_out = kind, leave_out


def broken(kind: str, message: str) -> OddRowError:
    """The error of a row in another schema, which is never left out."""
    return OddRowError(kind, message, "never")


@dataclass(frozen=True)
class _Odd:
    where: str
    place: str
    error: OddRowError
    group: Any


class OddRows:
    """The odd rows of a source: all of them an error, or left out.

    `mode` is the value of the key odd_rows; if it is None, the source has no such key, and every
    odd row is an error.
    """

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode
        self.rows: list[_Odd] = []

    def add(self, where: str, place: str, error: OddRowError, group: Any = None) -> None:
        """Note the row at `place`, such as "line 3", of the file or split `where`.

        `group` is what the row belongs to, such as its language.
        """
        self.rows.append(_Odd(where, place, error, group))

    @property
    def by_kind(self) -> Counter[str]:
        """The number of odd rows by kind."""
        return Counter(odd.error.kind for odd in self.rows)

    @property
    def by_group(self) -> Counter[Any]:
        """The number of odd rows by group."""
        return Counter(odd.group for odd in self.rows)

    def check(self) -> None:
        """Raise `InputError` with all rows that may not be left out; log those that are."""
        wrong = [odd for odd in self.rows if not self._is_left_out(odd)]
        if wrong:
            raise InputError(self._sentence(wrong))
        if self.rows:
            print(f"left out: {self.told()}", file=sys.stderr)

    def told(self) -> str:
        """The odd rows by kind: `two options alike (3: a.jsonl lines 2, 5, 9), ...`."""
        return _listed(self.rows)

    def _sentence(self, wrong: list[_Odd]) -> str:
        first = wrong[0]
        sentence = f"{first.where}: {first.place}: {first.error}"
        if len(wrong) > 1:
            sentence += f"; {len(wrong)} rows in all: {_listed(wrong)}"
        if self.mode and all(odd.error.leave_out == "asked" for odd in wrong):
            sentence += "; odd_rows: leave_out leaves such rows out"
        return sentence

    def _is_left_out(self, odd: _Odd) -> bool:
        if self.mode is None:
            return False
        how = odd.error.leave_out
        return how == "always" or (how == "asked" and self.mode == "leave_out")


def _listed(rows: list[_Odd]) -> str:
    kinds: dict[str, list[_Odd]] = defaultdict(list)
    for odd in rows:
        kinds[odd.error.kind].append(odd)
    return ", ".join(f"{kind} ({len(own)}: {_places(own)})" for kind, own in kinds.items())


def _places(rows: list[_Odd]) -> str:
    """The places of rows: `a.jsonl lines 2, 5; b.jsonl line 3; and 40 more`."""
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for odd in rows[:LISTED]:
        unit, number = odd.place.rsplit(" ", 1)
        numbers[odd.where, unit].append(int(number))
    named = [
        f"{where} {unit}{'s' * (len(own) > 1)} {', '.join(map(str, sorted(own)))}"
        for (where, unit), own in numbers.items()
    ]
    rest = [f"and {len(rows) - LISTED} more"] if len(rows) > LISTED else []
    return "; ".join([*named, *rest])


def shown(value: Any) -> str:
    """A value as a message shows it, cut if it is long."""
    try:
        text = repr(value)
    except RecursionError:
        return "values too deep inside each other"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
