"""The policy of a queue as the verbs use it: read out of the stored message once, then remembered until it changes."""

from dataclasses import dataclass, field

from google.protobuf.message import Message

from headrace.v1 import job_pb2, queue_pb2
from headrace_server.core.fairness import FairnessScope
from headrace_server.core.ids import SECOND
from headrace_server.core.limits import (
    BACKOFF_MULTIPLIER_DEFAULT,
    INITIAL_BACKOFF_SECONDS_DEFAULT,
    MAX_ATTEMPTS_DEFAULT,
    MAX_BACKOFF_SECONDS_DEFAULT,
    MAX_SNOOZES_DEFAULT,
    PRIORITY_HEAD_START_SECONDS_DEFAULT,
    QUEUE_MAX_QUEUED_DEFAULT,
)
from headrace_server.core.rates import RateLimit
from headrace_server.core.retry import RetryPolicy
from headrace_server.core.timeouts import NONE_STATED, Timeouts
from headrace_server.store.codec import micros_of
from headrace_server.store.engine import Query
from headrace_server.store.ledger import Ledger

DEFAULT_QUEUE = "default"


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What the verbs need of a queue. Zero limits nothing."""

    max_queued: int
    priority_head_start_seconds: float
    executors: frozenset[str]
    retry_policy: RetryPolicy
    timeouts: Timeouts = NONE_STATED
    max_concurrency: int = 0
    max_concurrency_per_key: int = 0
    fairness: FairnessScope = FairnessScope.NONE
    weights: dict[str, float] = field(default_factory=dict)
    rate_limit: RateLimit | None = None
    rate_limit_per_key: RateLimit | None = None


def policy_of(ledger: Ledger, namespace: str, name: str) -> QueuePolicy | None:
    """The policy of a queue, or None. The queue `default` exists in every namespace, made or not."""
    return ledger.value(("policy", namespace, name), lambda: read_policy(ledger.look_up, namespace, name))


def forget_policy(ledger: Ledger, namespace: str, name: str) -> None:
    """Takes note that the policy has changed."""
    ledger.forget(("policy", namespace, name))


def retry_policy_of(message: job_pb2.RetryPolicy) -> RetryPolicy:
    """A retry policy that somebody stated; what it leaves open has its default."""
    return RetryPolicy(
        max_attempts=message.max_attempts or MAX_ATTEMPTS_DEFAULT,
        initial_backoff_seconds=_seconds(message, "initial_backoff", INITIAL_BACKOFF_SECONDS_DEFAULT),
        max_backoff_seconds=_seconds(message, "max_backoff", MAX_BACKOFF_SECONDS_DEFAULT),
        multiplier=message.backoff_multiplier or BACKOFF_MULTIPLIER_DEFAULT,
        max_snoozes=message.max_snoozes if message.HasField("max_snoozes") else MAX_SNOOZES_DEFAULT,
        stated=True,
    )


def timeouts_of(message: job_pb2.Timeouts) -> Timeouts:
    """The timeouts that a spec or a queue states."""
    return Timeouts(
        queue=_micros(message, "queue_timeout"),
        run=_micros(message, "run_timeout"),
        total=_micros(message, "total_timeout"),
        silence=_micros(message, "silence_timeout"),
        input=_micros(message, "input_timeout"),
        cancel_grace=_micros(message, "cancel_grace"),
    )


def read_policy(query: Query, namespace: str, name: str) -> QueuePolicy | None:
    """The same, read anew."""
    found = query("SELECT body FROM queues WHERE namespace = ? AND name = ?", (namespace, name))
    if found:
        return _policy(queue_pb2.Queue.FromString(found[0][0]))
    return _policy(queue_pb2.Queue()) if name == DEFAULT_QUEUE else None


def _policy(body: queue_pb2.Queue) -> QueuePolicy:
    return QueuePolicy(
        max_queued=body.max_queued or QUEUE_MAX_QUEUED_DEFAULT,
        priority_head_start_seconds=_seconds(body, "priority_head_start", PRIORITY_HEAD_START_SECONDS_DEFAULT),
        executors=frozenset(body.executors),
        retry_policy=retry_policy_of(body.retry_policy) if body.HasField("retry_policy") else RetryPolicy(),
        timeouts=timeouts_of(body.timeouts) if body.HasField("timeouts") else NONE_STATED,
        max_concurrency=body.max_concurrency,
        max_concurrency_per_key=body.max_concurrency_per_key,
        fairness=FairnessScope(body.fairness.scope or FairnessScope.NONE),
        weights=dict(body.fairness.weights),
        rate_limit=_rate_limit(body.rate_limit),
        rate_limit_per_key=_rate_limit(body.rate_limit_per_key),
    )


def _rate_limit(message: queue_pb2.RateLimit) -> RateLimit | None:
    if not message.count:
        return None
    return RateLimit(message.count, micros_of(message.period), message.burst or message.count)


def _micros(message: job_pb2.Timeouts, name: str) -> int | None:
    return micros_of(getattr(message, name)) if message.HasField(name) else None


def _seconds(message: Message, name: str, default: float) -> float:
    return micros_of(getattr(message, name)) / SECOND if message.HasField(name) else default
