"""Stopping and emptying queues (Q7): paused, drained, resumed, purged; each with who did it and why."""

from dataclasses import dataclass
from datetime import UTC, datetime

from headrace_server.core import facts
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.job import CancelCause, Cancellation, Job, Usage
from headrace_server.core.limits import CANCEL_ITEMS_COUNT_MAX
from headrace_server.core.refusal import Refusal
from headrace_server.store import rows
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_stops import StopKind, StopOrder, remove_stop, set_stop, stop_of
from headrace_server.store.queueing.queues import StoredQueue, as_it_is, not_found, stored_queue
from headrace_server.store.records.audit import record_audit

_ACTIONS = {StopKind.PAUSE: "QueueService.PauseQueue", StopKind.DRAIN: "QueueService.DrainQueue"}


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did, or would have done."""

    cancelled: int
    remaining: int


def stop_queue(
    ledger: Ledger, namespace: str, name: str, kind: StopKind, reason: str, length: int | None, actor: str
) -> StoredQueue | Refusal:
    """Pauses a queue, or drains it. `length`, in microseconds, is that of the pause, or the time after which a drain
    hands back what still runs; None is for ever."""
    queue = stored_queue(ledger.look_up, namespace, name)
    if queue is None:
        return not_found(namespace, name)
    until = Micros(0) if length is None else Micros(ledger.now + length)
    set_stop(ledger, namespace, name, kind, StopOrder(actor, reason, ledger.now, until))
    record_audit(ledger, actor, _ACTIONS[kind], namespace, "queue", name, _detail(reason, until))
    return as_it_is(ledger.query, queue, ledger.now)


def resume_queue(ledger: Ledger, namespace: str, name: str, actor: str) -> StoredQueue | Refusal:
    """Ends the pause and the drain of a queue; without either nothing happens."""
    queue = stored_queue(ledger.look_up, namespace, name)
    if queue is None:
        return not_found(namespace, name)
    stop = stop_of(ledger.look_up, namespace, name, ledger.now)
    ended = [kind for kind, order in ((StopKind.PAUSE, stop.pause), (StopKind.DRAIN, stop.drain)) if order is not None]
    for kind in ended:
        remove_stop(ledger, namespace, name, kind)
    if ended:
        detail = "ended its " + " and its ".join(kind.name.lower() for kind in ended)
        record_audit(ledger, actor, "QueueService.ResumeQueue", namespace, "queue", name, detail)
    return as_it_is(ledger.query, queue, ledger.now)


def purge_queue(ledger: Ledger, namespace: str, name: str, reason: str, actor: str) -> Purged | Refusal:
    """Cancels what waits in a queue, oldest first, a bounded number of jobs; what has an attempt goes on."""
    if stored_queue(ledger.look_up, namespace, name) is None:
        return not_found(namespace, name)
    # Jobs that wait for others go first: else the cancel of those would end them, with another cause.
    jobs = _waiting(ledger, namespace, name, "IN (1, 2)", CANCEL_ITEMS_COUNT_MAX)
    jobs += _waiting(ledger, namespace, name, "= 3", CANCEL_ITEMS_COUNT_MAX - len(jobs))
    cancellation = Cancellation(reason, actor, ledger.now, CancelCause.PURGED)
    for job in jobs:
        ledger.record(job, facts.Cancelled(cancellation, Usage()))
    purged = Purged(len(jobs), ledger.waiting_count(namespace, name))
    if jobs:
        detail = "; ".join([f"cancelled {purged.cancelled}, {purged.remaining} left", *_reason(reason)])
        record_audit(ledger, actor, "QueueService.PurgeQueue", namespace, "queue", name, detail)
    return purged


def check_purge(ledger: Ledger, namespace: str, name: str) -> Purged | Refusal:
    """What a purge would do; changes nothing."""
    if stored_queue(ledger.look_up, namespace, name) is None:
        return not_found(namespace, name)
    waiting = ledger.waiting_count(namespace, name)
    cancelled = min(waiting, CANCEL_ITEMS_COUNT_MAX)
    return Purged(cancelled, waiting - cancelled)


def _waiting(ledger: Ledger, namespace: str, name: str, states: str, count: int) -> list[Job]:
    found = ledger.query(
        f"{rows.SELECT} WHERE namespace = ? AND queue = ? AND state {states} ORDER BY job LIMIT ?",
        (namespace, name, count),
    )
    return ledger.adopt(found)


def _reason(reason: str) -> list[str]:
    return [f"reason: {reason}"] if reason else []


def _detail(reason: str, until: Micros) -> str:
    parts = _reason(reason)
    if until:
        parts.append(f"until {datetime.fromtimestamp(until // SECOND, UTC).isoformat()}")
    return "; ".join(parts)
