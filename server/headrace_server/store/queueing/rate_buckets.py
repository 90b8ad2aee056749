"""The token buckets of rate limits (Q4): of a queue, and of its concurrency keys. A bucket without a row is full."""

from collections.abc import Iterable, Mapping

from headrace_server.core.ids import Micros
from headrace_server.core.rates import RateLimit
from headrace_server.store.engine import Query
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import QueuePolicy, policy_of

_UPSERT = "ON CONFLICT (namespace, queue, concurrency_key) DO UPDATE SET full_at = excluded.full_at"


def full_at(query: Query, namespace: str, queue: str, concurrency_key: str) -> Micros:
    """When a bucket is full again; an empty key means that of the queue."""
    found = query(
        "SELECT full_at FROM rate_buckets WHERE namespace = ? AND queue = ? AND concurrency_key = ?",
        (namespace, queue, concurrency_key),
    )
    return Micros(found[0][0]) if found else Micros(0)


def store_buckets(ledger: Ledger, namespace: str, queue: str, buckets: Mapping[str, Micros]) -> None:
    """Keeps when buckets of a queue are full again, by concurrency key; drops those that are full by now."""
    if not buckets:
        return
    ledger.run(
        "DELETE FROM rate_buckets WHERE namespace = ? AND queue = ? AND full_at <= ?", (namespace, queue, ledger.now)
    )
    values = [(namespace, queue, key, time) for key, time in buckets.items() if time > ledger.now]
    ledger.insert("rate_buckets", ("namespace", "queue", "concurrency_key", "full_at"), values, _UPSERT)


def forget_buckets(ledger: Ledger, namespace: str, queue: str) -> None:
    """Drops the buckets of a queue that is no more."""
    ledger.run("DELETE FROM rate_buckets WHERE namespace = ? AND queue = ?", (namespace, queue))


def refund_releases(ledger: Ledger) -> None:
    """Gives tokens back for grants of this transaction and earlier ones that never started. Called before slots are
    given out, and before the commit."""
    released = ledger.counters.released
    if not released:
        return
    for (namespace, queue, concurrency_key), count in released.items():
        policy = policy_of(ledger, namespace, queue)
        if policy is not None:
            for key, limit in _limits(policy, concurrency_key):
                known = full_at(ledger.look_up, namespace, queue, key)
                if known > ledger.now:
                    ledger.effects.freed = True
                    ledger.run(
                        "UPDATE rate_buckets SET full_at = ? WHERE namespace = ? AND queue = ? AND concurrency_key = ?",
                        (limit.refunded(known, count), namespace, queue, key),
                    )
    released.clear()


def _limits(policy: QueuePolicy, concurrency_key: str) -> Iterable[tuple[str, RateLimit]]:
    if policy.rate_limit is not None:
        yield "", policy.rate_limit
    if concurrency_key and policy.rate_limit_per_key is not None:
        yield concurrency_key, policy.rate_limit_per_key
