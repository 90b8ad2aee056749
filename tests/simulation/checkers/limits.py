"""I5, Q3, Q4, Q7: no limit of a queue is ever exceeded by a grant, and nothing of a stopped queue is granted.

It reads policies and stops as they are in the store, and counts leases and starts by itself.
"""

from collections import Counter
from dataclasses import dataclass, field

from headrace.v1 import event_pb2, queue_pb2
from headrace_server.core.states import LEASED
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh, Known
from simulation.violation import hold


@dataclass(slots=True)
class _Bucket:
    """Starts of a queue or key, against what its rate has ever allowed."""

    level: float
    """Tokens that are there."""
    time: int
    """When that was, by the store's clock, which may jump: it only gives for what it ran forward."""
    rate: tuple[int, int, int]
    started: dict[str, int] = field(default_factory=dict)
    """Starts that may still be given back, by job: the epoch."""


class LimitChecker:
    """Judges every grant by the policy that was in force before or after the commit that made it."""

    def __init__(self) -> None:
        self._policies: dict[str, queue_pb2.Queue] = {}
        self._stopped: set[str] = set()
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        before, stopped_before = self._policies, self._stopped
        self._policies = {
            name: queue_pb2.Queue.FromString(body) for name, body in connection.rows("SELECT name, body FROM queues")
        }
        self._stopped = {queue for (queue,) in connection.rows("SELECT queue FROM queue_stops")}
        self._check_rates(fresh)
        granted = [known for known, logged in fresh.events if logged.kind == "attempt_assigned"]
        if not granted:
            return
        queues, keys = _leased(chronicle)
        for known in granted:
            queue, key = known.row.queue, known.row.concurrency_key
            stopped = queue in self._stopped and queue in stopped_before
            hold(not stopped, "Q7", f"{known.id} is granted while queue {queue} is stopped")
            now, then = self._policies.get(queue), before.get(queue)
            if now is None or then is None or known.row.state not in LEASED:
                continue
            most = _most(now.max_concurrency, then.max_concurrency)
            hold(not most or queues[queue] <= most, "I5", f"{queues[queue]} jobs of {queue} run, {most} may")
            most = _most(now.max_concurrency_per_key, then.max_concurrency_per_key) if key else 0
            hold(not most or keys[queue, key] <= most, "I5", f"{keys[queue, key]} jobs of key {key} run, {most} may")

    def _check_rates(self, fresh: Fresh) -> None:
        for known, logged in fresh.events:
            if logged.kind not in ("attempt_assigned", "attempt_released"):
                continue
            time = logged.event.time.ToMicroseconds()
            for name, limit in self._limits_of(known):
                if logged.kind == "attempt_assigned":
                    self._take(name, limit, known, time)
                elif logged.event.attempt_released.cause != event_pb2.RELEASE_CAUSE_NOT_CONFIRMED:
                    # One that was only lost may have started.
                    self._give_back(name, known)

    def _limits_of(self, known: Known) -> list[tuple[tuple[str, str], queue_pb2.RateLimit]]:
        policy = self._policies.get(known.row.queue)
        if policy is None:
            return []
        limits = [((known.row.queue, ""), policy.rate_limit)]
        if known.row.concurrency_key:
            limits.append(((known.row.queue, known.row.concurrency_key), policy.rate_limit_per_key))
        return [(name, limit) for name, limit in limits if limit.count]

    def _take(self, name: tuple[str, str], limit: queue_pb2.RateLimit, known: Known, time: int) -> None:
        rate = (limit.count, limit.period.ToMicroseconds(), limit.burst or limit.count)
        bucket = self._buckets.get(name)
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[name] = _Bucket(float(rate[2]), time, rate)
        forward = max(0, time - bucket.time)
        bucket.time = time
        bucket.level = min(float(rate[2]), bucket.level + forward * rate[0] / rate[1]) - 1
        bucket.started[known.id] = known.row.epoch
        if bucket.level < -1e-3:
            hold(False, "Q4", f"{known.id} starts past the rate of {name}: {bucket.level:.3f} tokens are left")

    def _give_back(self, name: tuple[str, str], known: Known) -> None:
        bucket = self._buckets.get(name)
        if bucket is not None and bucket.started.pop(known.id, None) is not None:
            bucket.level = min(float(bucket.rate[2]), bucket.level + 1)


def _leased(chronicle: Chronicle) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    queues: Counter[str] = Counter()
    keys: Counter[tuple[str, str]] = Counter()
    for known in chronicle.jobs.values():
        if known.row.state in LEASED:
            queues[known.row.queue] += 1
            keys[known.row.queue, known.row.concurrency_key] += 1
    return queues, keys


def _most(now: int, then: int) -> int:
    """The larger of two limits, of which zero is none."""
    return 0 if not now or not then else max(now, then)
