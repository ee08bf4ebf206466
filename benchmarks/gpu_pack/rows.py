"""Rows of the pack's table, and whether what was found is what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from typing import Literal

#: yes or NO: of a check. missed: of a target, as yes is. absent: something is not installed or not
#: there. no time: the time of its part was over. -: measured, with nothing to compare to
Verdict = Literal["yes", "NO", "missed", "absent", "no time", "-"]


@dataclass(frozen=True)
class Row:
    """One line of the table: what was asked and found, the tolerance, target or peer."""

    check: str
    setting: str
    found: str
    expected: str = ""
    ok: Verdict = "-"

    def line(self) -> str:
        """The row in Markdown."""
        cells = (" ".join(str(cell).replace("|", "/").split()) for cell in astuple(self))
        return "| " + " | ".join(cells) + " |"


HEAD = "| " + " | ".join(field.name for field in fields(Row)) + " |\n" + "|---" * 5 + "|"


def within(check: str, setting: str, found: float, tolerance: float, what: str) -> Row:
    """A check that a difference is no larger than a tolerance; NaN is larger than all."""
    ok: Verdict = "yes" if found <= tolerance else "NO"
    return Row(check, setting, f"{found:.3g} {what}", f"at most {tolerance:.3g}", ok)


def failures(rows: Sequence[Row]) -> list[Row]:
    """The rows that make a run fail. Targets may be missed, and peers absent."""
    return [row for row in rows if row.ok == "NO"]


def as_json(row: Row) -> dict[str, str]:
    """The row as an object of strings."""
    return asdict(row)
