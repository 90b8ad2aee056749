"""What tokens cost, by family of models: only where the CLI has not said what an attempt costs, e.g. while it runs.

A list, not a bill: the CLI's own word takes its place as soon as there is one.
"""

from dataclasses import dataclass

from headrace_server.core.job import Usage

VERSION = "2026-01"
"""Of the table: it says when these were the prices."""
_PER = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Millionths of a US dollar for a million tokens of each kind."""

    input: int
    output: int
    cache_creation: int
    cache_read: int


PRICES = {
    "opus": Price(5_000_000, 25_000_000, 6_250_000, 500_000),
    "sonnet": Price(3_000_000, 15_000_000, 3_750_000, 300_000),
    "haiku": Price(1_000_000, 5_000_000, 1_250_000, 100_000),
}
DEAREST = PRICES["opus"]
"""Of a family that is not in the list."""


def cost_usd_micros(usage: Usage, family: str) -> int:
    """What a usage costs: what the CLI says, or by the list where it says nothing."""
    if usage.cost_usd_micros:
        return usage.cost_usd_micros
    price = PRICES.get(family, DEAREST)
    return -(
        -(
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_creation_tokens * price.cache_creation
            + usage.cache_read_tokens * price.cache_read
        )
        // _PER
    )
