"""Resource levels of languages."""

#: From the best resourced down.
LEVELS = ("high", "mid", "low")
