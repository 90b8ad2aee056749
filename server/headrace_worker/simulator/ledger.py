"""Tokens and money: what a turn used, and the running totals that results carry.

Prices are those that the recorded runs were billed at. Totals only grow; a resumed conversation starts from what its
transcript has already spent.
"""

from dataclasses import dataclass, replace

from headrace_worker.simulator.output import Json

_INPUT_USD = 4e-6
_OUTPUT_USD = 20e-6


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more model calls."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)

    @property
    def cost_usd(self) -> float:
        return self.input_tokens * _INPUT_USD + self.output_tokens * _OUTPUT_USD

    def per_message(self) -> Json:
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "service_tier": "standard",
        }

    def per_result(self) -> Json:
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"thinking_tokens": 0},
            "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
            "service_tier": "standard",
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
            "inference_geo": "",
            "iterations": [],
            "speed": "standard",
            "fallback_credit": None,
        }

    def per_model(self, model: str) -> Json:
        return {
            "inputTokens": self.input_tokens,
            "outputTokens": self.output_tokens,
            "cacheReadInputTokens": 0,
            "cacheCreationInputTokens": 0,
            "webSearchRequests": 0,
            "costUSD": self.cost_usd,
            "contextWindow": 1_000_000,
            "maxOutputTokens": 128_000,
            "thinkingTokens": 0,
            "cacheCreationEphemeral5mInputTokens": 0,
            "cacheCreationEphemeral1hInputTokens": 0,
            "canonicalModel": model,
            "provider": "firstParty",
            "costBasis": "list",
        }


@dataclass(slots=True)
class Ledger:
    """What the connection has used, by model."""

    totals: dict[str, Usage]
    since_result: dict[str, Usage]
    spent_usd: float = 0.0
    """By this process alone: what a budget is held against."""
    api_seconds: float = 0.0
    """What its calls of the model took, those that came to an end."""
    results: int = 0

    @classmethod
    def carrying(cls, totals: dict[str, Usage]) -> "Ledger":
        return cls(dict(totals), {})

    @property
    def cost_usd(self) -> float:
        return sum(usage.cost_usd for usage in self.totals.values())

    def add(self, model: str, usage: Usage) -> None:
        self.totals[model] = self.totals.get(model, Usage()) + usage
        self.since_result[model] = self.since_result.get(model, Usage()) + usage
        self.spent_usd += usage.cost_usd

    def reset(self) -> None:
        self.totals.clear()
        self.since_result.clear()

    def close_result(self) -> Json:
        """The fields of a result that come from the ledger; the next result starts anew."""
        fields: Json = {
            "duration_api_ms": round(self.api_seconds * 1000),
            "total_cost_usd": self.cost_usd,
            "modelUsage": {model: usage.per_model(model) for model, usage in self.totals.items()},
            "model_usage_since_last_result": {m: usage.per_model(m) for m, usage in self.since_result.items()},
            "result_index": self.results,
        }
        self.since_result.clear()
        self.results += 1
        return fields


def estimate(prompt_characters: int, answer: str, given: Json | None) -> Usage:
    """About four characters a token, unless the script says otherwise."""
    guess = Usage(10 + prompt_characters // 4, max(1, len(answer) // 4))
    wanted = {key: int(value) for key, value in (given or {}).items() if key in ("input_tokens", "output_tokens")}
    return replace(guess, **wanted)
