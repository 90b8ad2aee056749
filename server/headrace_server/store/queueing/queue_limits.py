"""What the limits of a queue leave to be started, while one plan is made (Q3, Q4): exact, from rows of this transaction
and from what the plan has taken since."""

from dataclasses import dataclass

from headrace_server.core.ids import Micros
from headrace_server.core.limits import GRANTS_COUNT_MAX
from headrace_server.core.rates import RateLimit
from headrace_server.store.engine import Query
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing import rate_buckets
from headrace_server.store.queueing.queue_policy import QueuePolicy, policy_of

LEASED_STATES = "(4, 5, 6, 7)"


@dataclass(frozen=True, slots=True)
class Hold:
    """A limit is reached."""

    until: Micros | None
    """When it lets a job go again; None when a job has to end first."""


@dataclass(slots=True)
class _Key:
    running: int
    full_at: Micros


class QueueLimits:
    """The limits of one queue, and what was taken of them."""

    def __init__(self, ledger: Ledger, namespace: str, queue: str, policy: QueuePolicy) -> None:
        self._ledger = ledger
        self._name = (namespace, queue)
        self._policy = policy
        self._running = running_count(ledger.query, namespace, queue) if policy.max_concurrency else 0
        self._full_at = self._stored(policy.rate_limit, "")
        self._keys: dict[str, _Key] = {}
        self._taken: set[str] = set()

    def hold(self) -> Hold | None:
        """What keeps every job of the queue from being started, if anything does."""
        policy = self._policy
        if policy.max_concurrency and self._running >= policy.max_concurrency:
            return Hold(None)
        rate = policy.rate_limit
        if rate is not None and not rate.available(self._full_at, self._ledger.now):
            return Hold(rate.next_token(self._full_at))
        return None

    def key_hold(self, concurrency_key: str) -> Hold | None:
        """What keeps the jobs of a concurrency key from being started, if anything does."""
        policy = self._policy
        if not concurrency_key or not (policy.max_concurrency_per_key or policy.rate_limit_per_key):
            return None
        key = self._key(concurrency_key)
        if policy.max_concurrency_per_key and key.running >= policy.max_concurrency_per_key:
            return Hold(None)
        rate = policy.rate_limit_per_key
        if rate is not None and not rate.available(key.full_at, self._ledger.now):
            return Hold(rate.next_token(key.full_at))
        return None

    def room(self, concurrency_key: str) -> int:
        """How many jobs of a concurrency key may start, as far as that matters."""
        policy, now = self._policy, self._ledger.now
        most = GRANTS_COUNT_MAX
        if policy.max_concurrency:
            most = min(most, policy.max_concurrency - self._running)
        if policy.rate_limit is not None:
            most = min(most, policy.rate_limit.available(self._full_at, now))
        if concurrency_key and policy.max_concurrency_per_key:
            most = min(most, policy.max_concurrency_per_key - self._key(concurrency_key).running)
        if concurrency_key and policy.rate_limit_per_key is not None:
            most = min(most, policy.rate_limit_per_key.available(self._key(concurrency_key).full_at, now))
        return max(0, most)

    def take(self, concurrency_key: str) -> None:
        """Takes note that a job is started."""
        policy, now = self._policy, self._ledger.now
        self._running += 1
        if policy.rate_limit is not None:
            self._full_at = policy.rate_limit.taken(self._full_at, now)
            self._taken.add("")
        if concurrency_key and (policy.max_concurrency_per_key or policy.rate_limit_per_key):
            key = self._key(concurrency_key)
            key.running += 1
            if policy.rate_limit_per_key is not None:
                key.full_at = policy.rate_limit_per_key.taken(key.full_at, now)
                self._taken.add(concurrency_key)

    def store(self) -> None:
        """Keeps what was taken of the rate limits."""
        buckets = {key: self._keys[key].full_at if key else self._full_at for key in sorted(self._taken)}
        rate_buckets.store_buckets(self._ledger, *self._name, buckets)

    def _key(self, concurrency_key: str) -> _Key:
        known = self._keys.get(concurrency_key)
        if known is None:
            policy, name = self._policy, (*self._name, concurrency_key)
            running = key_running_count(self._ledger.query, *name) if policy.max_concurrency_per_key else 0
            full_at = self._stored(policy.rate_limit_per_key, concurrency_key)
            known = self._keys[concurrency_key] = _Key(running, full_at)
        return known

    def _stored(self, limit: RateLimit | None, concurrency_key: str) -> Micros:
        if limit is None:
            return Micros(0)
        stored = rate_buckets.full_at(self._ledger.look_up, *self._name, concurrency_key)
        return limit.bounded(stored, self._ledger.now)


def look_at_freed(ledger: Ledger) -> None:
    """Has a cycle look at what limits and folders have held, where leases have ended in this transaction: a place is
    free, whether or not a worker has more room than before (I4)."""
    left = ledger.counters.left
    for namespace, queue, concurrency_key, key in left:
        policy = policy_of(ledger, namespace, queue)
        limited = policy is not None and (
            policy.max_concurrency or (concurrency_key and policy.max_concurrency_per_key)
        )
        if limited or ledger.place_of(key).folder:
            ledger.effects.freed = True
    left.clear()


def running_count(query: Query, namespace: str, queue: str) -> int:
    """Jobs of a queue that workers hold."""
    found = query(
        "SELECT coalesce(sum(jobs), 0) FROM state_counts WHERE namespace = ? AND queue = ?"
        f" AND state IN {LEASED_STATES}",
        (namespace, queue),
    )
    return int(found[0][0])


def key_running_count(query: Query, namespace: str, queue: str, concurrency_key: str) -> int:
    """Jobs of a concurrency key that workers hold."""
    found = query(
        "SELECT coalesce(sum(leased), 0) FROM ready_keys WHERE namespace = ? AND queue = ? AND concurrency_key = ?"
        " AND concurrency_key <> ''",
        (namespace, queue, concurrency_key),
    )
    return int(found[0][0])
