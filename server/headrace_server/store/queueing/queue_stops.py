"""Queues of which nothing starts (Q7): paused, for a while or for good, or drained. Who starts jobs asks here.

A pause ends by itself when its time has come, whether or not its row is gone. What becomes of attempts that still run
when the time of a drain has come is not decided here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from headrace_server.core.ids import Micros
from headrace_server.store.engine import Query, Row
from headrace_server.store.ledger import Ledger

REMOVED_COUNT_MAX = 100
"""Expired pauses that one transaction removes; the others do not count either."""

_NAME = "queue stops"
_COLUMNS = "namespace, queue, kind, actor, reason, time, until"


class StopKind(IntEnum):
    """What keeps the jobs of a queue from being started; numbers are those of the column `kind`."""

    PAUSE = 1
    DRAIN = 2


@dataclass(frozen=True, slots=True)
class StopOrder:
    """Who stopped a queue, why, and when."""

    actor: str
    reason: str
    time: Micros
    until: Micros
    """Of a pause: when it ends. Of a drain: when what still runs is handed back. Zero for never."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why nothing of a queue starts: one of the two, or both."""

    pause: StopOrder | None = None
    drain: StopOrder | None = None


NO_STOP = Stop()


def stops(ledger: Ledger) -> dict[tuple[str, str], Stop]:
    """The queues of which nothing may start now, by namespace and name. Pauses that have expired are removed on the
    way, a bounded number of them."""
    stored = _stored(ledger)
    expired = [queue for queue, stop in stored.items() if _is_over(stop.pause, ledger.now)]
    if not expired:
        return stored
    for queue in expired[:REMOVED_COUNT_MAX]:
        remove_stop(ledger, *queue, StopKind.PAUSE)
    standing = ((queue, _standing(stop, ledger.now)) for queue, stop in stored.items())
    return {queue: stop for queue, stop in standing if stop != NO_STOP}


def next_expiry(ledger: Ledger) -> Micros | None:
    """The next time at which a pause ends or a drain hands back what still runs; None when there is none."""
    times = [
        order.until
        for stop in _stored(ledger).values()
        for order in (stop.pause, stop.drain)
        if order is not None and order.until > ledger.now
    ]
    return min(times, default=None)


def set_stop(ledger: Ledger, namespace: str, queue: str, kind: StopKind, order: StopOrder) -> None:
    """Stops a queue, or gives its stop another reason and time. A cycle runs when its time has come, and one soon: room
    that was kept for a job of the queue is for others."""
    _changed(ledger)
    ledger.effects.freed = True
    ledger.insert(
        "queue_stops",
        _COLUMNS.split(", "),
        [(namespace, queue, int(kind), order.actor, order.reason, order.time, order.until)],
        "ON CONFLICT (namespace, queue, kind) DO UPDATE SET"
        " actor = excluded.actor, reason = excluded.reason, time = excluded.time, until = excluded.until",
    )
    if order.until:
        ledger.effects.next_due = min(order.until, ledger.effects.next_due or order.until)


def remove_stop(ledger: Ledger, namespace: str, queue: str, kind: StopKind) -> None:
    """Ends a stop, if there is one; a cycle looks at the queue's jobs soon."""
    _changed(ledger)
    ledger.run("DELETE FROM queue_stops WHERE namespace = ? AND queue = ? AND kind = ?", (namespace, queue, int(kind)))
    ledger.effects.freed = True


def stop_of(query: Query, namespace: str, queue: str, now: Micros) -> Stop:
    """What keeps the jobs of one queue from being started now."""
    found = query(
        f"SELECT {_COLUMNS} FROM queue_stops WHERE namespace = ? AND queue = ? ORDER BY kind", (namespace, queue)
    )
    return _standing(_by_queue(found).get((namespace, queue), NO_STOP), now)


def _stored(ledger: Ledger) -> dict[tuple[str, str], Stop]:
    def load() -> dict[tuple[str, str], Stop]:
        return _by_queue(ledger.look_up(f"SELECT {_COLUMNS} FROM queue_stops ORDER BY namespace, queue, kind"))

    return ledger.value(_NAME, load)


def _changed(ledger: Ledger) -> None:
    ledger.forget(_NAME)


def _by_queue(found: Sequence[Row]) -> dict[tuple[str, str], Stop]:
    by_queue: dict[tuple[str, str], Stop] = {}
    for namespace, queue, kind, actor, reason, time, until in found:
        stop = by_queue.get((namespace, queue), NO_STOP)
        order = StopOrder(actor, reason, Micros(time), Micros(until))
        by_queue[namespace, queue] = (
            replace(stop, pause=order) if kind == StopKind.PAUSE else replace(stop, drain=order)
        )
    return by_queue


def _standing(stop: Stop, now: Micros) -> Stop:
    return replace(stop, pause=None) if _is_over(stop.pause, now) else stop


def _is_over(pause: StopOrder | None, now: Micros) -> bool:
    return pause is not None and 0 < pause.until <= now
