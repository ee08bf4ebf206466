"""What findings are made of: their shapes, the parts of each, and the words for numbers.

Where a finding holds, intervals say: a language or model whose interval holds 0, or what a guess
has, is undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from multical import paths
from multical.figures import tables
from multical.figures.language_names import language
from multical.figures.params import Conditions

#: The languages of the means, the first that a study has, with what follows their number
GROUPS = {"non-english": " other than English", "all": ""}
#: The metrics of a finding, with what sentences call them
METRICS = {"confidence": "confidence", "accuracy": "accuracy", "ece": "ECE"}


@dataclass(frozen=True)
class Part:
    """One part of the finding: the languages or models for which it holds, or its contrary.

    `corrected` is in how many it holds by a test after Holm's correction; None without tests.
    """

    says: str
    holds: list[str]
    fails: list[str]
    undecided: list[str]
    corrected: int | None = field(default=None, kw_only=True)

    @property
    def total(self) -> int:
        """The number of languages or models."""
        return len(self.holds) + len(self.fails) + len(self.undecided)

    def __str__(self) -> str:
        told = [f"{len(names)} {what}" for what, names in self._others() if names]
        if self.corrected is not None:
            told.insert(0, f"{self.corrected} after Holm's correction")
        counts = f" ({', '.join(told)})" * bool(told)
        return f"{self.says} in {len(self.holds)} of {self.total}{counts}"

    def _others(self) -> list[tuple[str, list[str]]]:
        return [("the contrary", self.fails), ("undecided", self.undecided)]

    @property
    def most(self) -> tuple[str, list[str]]:
        """The most frequent outcome and its names, which `sentence` leaves out."""
        outcomes = [
            ("where it holds", self.holds),
            ("where the contrary holds", self.fails),
            ("left undecided", self.undecided),
        ]
        return max(outcomes, key=lambda outcome: len(outcome[1]))

    def sentence(self, unit: str) -> str:
        """With names, but for the most frequent outcome, which is that of all others."""
        _, most = self.most

        def counted(text: str, names: list[str]) -> str:
            return text if names is most or not names else f"{text} ({', '.join(names)})"

        others = [
            counted(f"{what} in {len(names)}", names) for what, names in self._others() if names
        ]
        holds = counted(f"{self.says} in {len(self.holds)} of {self.total} {unit}", self.holds)
        told = [holds if others else f"{holds}, without exception"]
        if self.corrected is not None:
            told.append(f"in {self.corrected} after Holm's correction")
        return f"{'; '.join([*told, *others])}."


@dataclass(frozen=True)
class Finding:
    """One sentence, the numbers behind it, and its parts: of each, where it does not hold.

    `unit` is what the parts count, languages or models. `decided` says by what, and `note` what the
    numbers of the sentence are.
    """

    lead: str
    numbers: list[str]
    parts: list[Part]
    unit: str
    decided: str
    note: str = ""


@dataclass(frozen=True)
class Detail:
    """A table beside the finding. Its first row has the titles. `key` is its name in links."""

    key: str
    name: str
    title: str
    about: str
    caption: str
    rows: list[list[str]]


def mean_values(params: Conditions, conditions: Sequence[float | None]) -> tuple[pd.DataFrame, str]:
    """Means over languages other than English, or all if there is no other, and their name."""
    path = paths.SUMMARY.format(root=params.study)
    rows = tables.chosen(path, "summary", params, conditions, metric=list(METRICS))
    group = next(name for name in GROUPS if name in rows["group"].array)
    rows = rows[rows["group"] == group]
    number = f"{rows['languages'].max():.0f}"
    return rows, f"{'one language' if number == '1' else f'{number} languages'}{GROUPS[group]}"


def part_by_language(says: str, rows: pd.DataFrame, mean: float) -> Part:
    """In which languages a value has the sign of the mean."""
    names = [language(str(code)) for code in rows["language"]]
    return part_of(says, rows.set_axis(names).sort_index(), above=mean > 0)


def part_of(says: str, rows: pd.DataFrame, at: float = 0.0, above: bool = True) -> Part:
    """The names of `rows` whose interval lies above a value, or below it.

    Where there is no interval, the value itself decides.
    """
    rows = rows[rows["value"].notna()]
    low, high = (rows[end].fillna(rows["value"]) for end in ("ci_low", "ci_high"))
    over, under = low > at, high < at
    outcomes = [over, under] if above else [under, over]
    return Part(says, *(list(map(str, rows.index[some])) for some in (*outcomes, ~(over | under))))


def verb(shifts: Sequence[float]) -> str:
    """What all shifts do; `changes` if they differ."""
    if not any(shifts):
        return "does not change"
    if all(shift > 0 for shift in shifts):
        return "raises"
    return "lowers" if all(shift < 0 for shift in shifts) else "changes"


def signed(shifts: Sequence[float]) -> str:
    """Shifts with their signs."""
    return " and ".join(f"{shift:+.3f}" for shift in shifts)
