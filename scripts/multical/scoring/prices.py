"""The cost of requests to an API: their number, their tokens, and money if prices are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from multical.models.api_params import Prices


@dataclass(frozen=True)
class Bill:
    """The number of requests, and of the tokens sent and received."""

    requests: int = 0
    input: float = 0
    output: float = 0

    def __add__(self, other: Bill) -> Bill:
        return Bill(
            self.requests + other.requests, self.input + other.input, self.output + other.output
        )

    def cost(self, prices: Prices | None) -> float | None:
        """The price without discounts; None without prices."""
        if prices is None:
            return None
        return (self.input * prices.input + self.output * prices.output) / 1e6

    def describe(self, prices: Prices | None) -> str:
        """The bill in words: requests, tokens, and the cost if prices are known."""
        tokens = f"{self.input:,.0f} input and {self.output:,.0f} output tokens"
        cost = self.cost(prices)
        money = "" if prices is None else f", {cost:,.2f} {prices.currency}"
        return f"{self.requests:,} requests, {tokens}{money}"

    def document(self, prices: Prices | None) -> dict[str, Any]:
        """The bill as JSON."""
        counts = {
            "requests": self.requests,
            "input_tokens": round(self.input),
            "output_tokens": round(self.output),
        }
        if prices is None:
            return counts
        return {**counts, "cost": self.cost(prices), "currency": prices.currency}
