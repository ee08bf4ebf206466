"""transformers 5.23 tells chat templates today's date, so that a prompt would change overnight.

It accepts no other date: it replaces functions among a template's variables by texts.

Until transformers > 5.23.0: a date that the caller of a template gives.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import date, datetime

from multical.errors import InputError
from multical.patches.replace import replaced


class Clock:
    """Stands in for the class `datetime` of transformers; `day` is an ISO date, or None."""

    def __init__(self, day: str | None) -> None:
        self.day = day

    def now(self) -> datetime:
        """Midnight of the day; raises `InputError` without one."""
        if self.day is None:
            raise InputError(
                "its chat template writes today's date, so that results would differ tomorrow; "
                "expected the key chat_date of the model, such as 2024-07-26"
            )
        return datetime.combine(date.fromisoformat(self.day), datetime.min.time())


def date_is(day: str | None) -> AbstractContextManager[None]:
    """Chat templates get this date inside the `with` block; for None, `InputError` if they ask."""
    # here, since programs that run no model import this module, too
    from transformers.utils import chat_template_utils

    return replaced(chat_template_utils, "datetime", Clock(day))
