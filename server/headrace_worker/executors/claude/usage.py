"""What a conversation used: tokens, calls and cost, counted once each.

Pure. A result's own account since the result before is taken where it has one, since the running totals go on across a
resume and stand still for a turn that was interrupted; else totals by difference. Before a result, the messages count,
once for each message id.
"""

from dataclasses import dataclass

from google.protobuf import duration_pb2

from headrace.v1 import outcome_pb2
from headrace_worker.executors.claude.wire import Body, integer, mapping, mappings, number, text

MICROS = 1_000_000
SYNTHETIC_MODEL = "<synthetic>"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens by kind, and what they cost."""

    input: int = 0
    output: int = 0
    cache_creation: int = 0
    cache_read: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.cache_creation + other.cache_creation,
            self.cache_read + other.cache_read,
            self.cost_usd + other.cost_usd,
        )

    def since(self, earlier: "Tokens") -> "Tokens":
        """What was added; never less than nothing."""
        return Tokens(
            max(0, self.input - earlier.input),
            max(0, self.output - earlier.output),
            max(0, self.cache_creation - earlier.cache_creation),
            max(0, self.cache_read - earlier.cache_read),
            max(0.0, self.cost_usd - earlier.cost_usd),
        )

    def at_least(self, other: "Tokens") -> "Tokens":
        """The larger of each number: two accounts of the same message."""
        return Tokens(
            max(self.input, other.input),
            max(self.output, other.output),
            max(self.cache_creation, other.cache_creation),
            max(self.cache_read, other.cache_read),
        )


class UsageMeter:
    """Follows one turn on a connection to the CLI, or all of them."""

    def __init__(self) -> None:
        self._settled = Tokens()
        self._api_millis = 0
        self._total_seen = Tokens()
        self._api_millis_seen = 0
        self._open: dict[str, Tokens] = {}
        self._counted: set[str] = set()
        self._earlier: frozenset[str] = frozenset()
        """Messages of the turn before."""
        self._tool_calls: set[str] = set()
        self._turns_settled = 0
        self._streaming: dict[str, str] = {}

    def next(self) -> "UsageMeter":
        """The meter of the connection's next turn: what was counted here is not counted there."""
        following = UsageMeter()
        following._total_seen, following._api_millis_seen = self._total_seen, self._api_millis_seen
        following._earlier = frozenset(self._counted)
        return following

    def observe(self, body: Body) -> None:
        """Takes in a frame that is not a result."""
        kind = text(body, "type")
        if kind == "assistant":
            self._message(mapping(body, "message"))
        elif kind == "stream_event":
            self._stream(mapping(body, "event"), text(body, "parent_tool_use_id"))
        elif kind == "conversation_reset":
            self._total_seen = Tokens()
            self._api_millis_seen = 0

    def settle(self, result: Body) -> outcome_pb2.Usage:
        """Takes in a result, and returns what was used since the result before."""
        total = _models(mapping(result, "modelUsage"))
        total = Tokens(total.input, total.output, total.cache_creation, total.cache_read, _cost(result))
        if isinstance(result.get("model_usage_since_last_result"), dict):
            used = _models(mapping(result, "model_usage_since_last_result"))
        elif mapping(result, "modelUsage"):
            used = total.since(self._total_seen)
        else:
            used = Tokens(cost_usd=max(0.0, total.cost_usd - self._total_seen.cost_usd)) + _tokens(
                mapping(result, "usage")
            )
        api_millis = integer(result, "duration_api_ms")
        spent = min(max(0, api_millis - self._api_millis_seen), max(0, integer(result, "duration_ms")))
        turns = len(self._counted) - self._turns_settled
        self._settled += used
        self._api_millis += spent
        self._total_seen, self._api_millis_seen = total, api_millis
        self._turns_settled = len(self._counted)
        self._open.clear()
        return _message_of(used, turns, 0, spent)

    def total(self) -> outcome_pb2.Usage:
        """What was used so far."""
        tokens = self._settled
        for counts in self._open.values():
            tokens += counts
        return _message_of(tokens, len(self._counted), len(self._tool_calls), self._api_millis)

    def _message(self, message: Body) -> None:
        if text(message, "model") == SYNTHETIC_MODEL:
            return
        self._count(text(message, "id"), _tokens(mapping(message, "usage")))
        for part in mappings(message, "content"):
            if text(part, "type") == "tool_use":
                self._tool_calls.add(text(part, "id"))

    def _stream(self, event: Body, parent: str) -> None:
        if text(event, "type") == "message_start":
            message = mapping(event, "message")
            self._streaming[parent] = text(message, "id")
            self._message(message)
        elif text(event, "type") == "message_delta" and parent in self._streaming:
            self._count(self._streaming[parent], _tokens(mapping(event, "usage")))

    def _count(self, message_id: str, tokens: Tokens) -> None:
        if message_id in self._earlier or (message_id in self._counted and message_id not in self._open):
            # A late word about a message of a settled turn.
            return
        self._counted.add(message_id)
        self._open[message_id] = self._open.get(message_id, Tokens()).at_least(tokens)

    def message_id(self, parent: str) -> str:
        """The message that is being streamed, in the main conversation or in a subagent's."""
        return self._streaming.get(parent, "")


def _cost(result: Body) -> float:
    return max(0.0, number(result, "total_cost_usd"))


def _tokens(usage: Body) -> Tokens:
    return Tokens(
        integer(usage, "input_tokens"),
        integer(usage, "output_tokens"),
        integer(usage, "cache_creation_input_tokens"),
        integer(usage, "cache_read_input_tokens"),
    )


def _models(models: Body) -> Tokens:
    """The sum over all models, subagents' and helpers' included."""
    total = Tokens()
    for name in models:
        model = mapping(models, name)
        total += Tokens(
            integer(model, "inputTokens"),
            integer(model, "outputTokens"),
            integer(model, "cacheCreationInputTokens"),
            integer(model, "cacheReadInputTokens"),
            number(model, "costUSD"),
        )
    return total


def _message_of(tokens: Tokens, turns: int, tool_calls: int, api_millis: int) -> outcome_pb2.Usage:
    return outcome_pb2.Usage(
        turns=turns,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_creation_tokens=tokens.cache_creation,
        cache_read_tokens=tokens.cache_read,
        cost_usd_micros=round(tokens.cost_usd * MICROS),
        api_duration=duration_pb2.Duration(seconds=api_millis // 1000, nanos=api_millis % 1000 * 1_000_000),
        tool_calls=tool_calls,
    )
