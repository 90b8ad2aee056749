"""Queues as a resource: made, changed, deleted, listed. What verbs need of their policy is in `queue_policy`, what
stops and empties them is in `queue_control`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from google.protobuf import text_format
from google.protobuf.field_mask_pb2 import FieldMask

from headrace.v1 import queue_pb2
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.store.engine import Connection, Query
from headrace_server.store.etags import stale_etag
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import DEFAULT_QUEUE, forget_policy
from headrace_server.store.queueing.queue_stops import NO_STOP, Stop, StopKind, remove_stop, stop_of
from headrace_server.store.queueing.rate_buckets import forget_buckets
from headrace_server.store.queueing.ready import open_keys
from headrace_server.store.queueing.shares import forget_shares
from headrace_server.store.records.audit import record_audit

_COLUMNS = "name, body, version, created, updated"
SESSIONS_NAMED_COUNT_MAX = 5
"""Of the open sessions that keep a queue from being deleted."""


@dataclass(frozen=True, slots=True)
class StoredQueue:
    """A queue as it is in the store; `body` has neither output-only fields nor defaults filled in."""

    namespace: str
    name: str
    body: queue_pb2.Queue
    version: int
    created: Micros
    updated: Micros
    state_counts: tuple[tuple[int, int], ...] = ()
    stop: Stop = NO_STOP


def create_queue(ledger: Ledger, namespace: str, body: queue_pb2.Queue, actor: str) -> StoredQueue | Refusal:
    """Makes a queue."""
    name = body.name
    taken = ledger.look_up("SELECT 1 FROM queues WHERE namespace = ? AND name = ?", (namespace, name))
    if taken or name == DEFAULT_QUEUE:
        return Refusal(
            Reason.NAME_TAKEN,
            f"there is a queue {name!r} in namespace {namespace!r} already; change it with UpdateQueue",
            "headrace.v1.Queue",
            name,
        )
    detail = _changes(queue_pb2.Queue(), body, (field.name for field, _ in body.ListFields() if field.name != "name"))
    record_audit(ledger, actor, "QueueService.CreateQueue", namespace, "queue", name, detail)
    made = StoredQueue(namespace, name, body, 1, ledger.now, ledger.now)
    _store(ledger, made)
    return as_it_is(ledger.query, made, ledger.now)


def update_queue(
    ledger: Ledger,
    namespace: str,
    name: str,
    etag: str,
    change: Callable[[queue_pb2.Queue], None],
    fields: Iterable[str],
    actor: str,
) -> StoredQueue | Refusal:
    """Changes the policy of a queue when its etag, if one is given, still matches. `fields` are those that `change`
    sets or clears."""
    queue = stored_queue(ledger.look_up, namespace, name)
    if queue is None:
        return not_found(namespace, name)
    refusal = stale_etag("Queue", name, queue.version, etag)
    if refusal is not None:
        return refusal
    body = queue_pb2.Queue()
    body.CopyFrom(queue.body)
    change(body)
    detail = _changes(queue.body, body, fields)
    record_audit(ledger, actor, "QueueService.UpdateQueue", namespace, "queue", name, detail)
    # What waits may be let go by the new policy.
    open_keys(ledger, namespace, name)
    changed = StoredQueue(namespace, name, body, queue.version + 1, queue.created, ledger.now)
    _store(ledger, changed)
    return as_it_is(ledger.query, changed, ledger.now)


def delete_queue(ledger: Ledger, namespace: str, name: str, etag: str, actor: str) -> Refusal | None:
    """Deletes a queue that nothing needs any more; its ended jobs stay."""
    queue = stored_queue(ledger.look_up, namespace, name)
    if queue is None:
        return not_found(namespace, name)
    refusal = stale_etag("Queue", name, queue.version, etag)
    if refusal is not None:
        return refusal
    why = _needed(ledger, namespace, name)
    if why:
        return Refusal(Reason.QUEUE_NOT_EMPTY, f"queue {name!r} can't be deleted: {why}", "headrace.v1.Queue", name)
    for kind in StopKind:
        remove_stop(ledger, namespace, name, kind)
    forget_policy(ledger, namespace, name)
    forget_buckets(ledger, namespace, name)
    forget_shares(ledger, namespace, name)
    ledger.run("DELETE FROM queues WHERE namespace = ? AND name = ?", (namespace, name))
    record_audit(ledger, actor, "QueueService.DeleteQueue", namespace, "queue", name, "")
    return None


def not_found(namespace: str, name: str) -> Refusal:
    """There is no such queue."""
    return Refusal(
        Reason.NOT_FOUND, f"there is no queue {name!r} in namespace {namespace!r}", "headrace.v1.Queue", name
    )


def get_queue(connection: Connection, namespace: str, name: str, now: Micros) -> StoredQueue | None:
    """A queue as it is at a time, with its counts, or None."""
    queue = stored_queue(connection.rows, namespace, name)
    return None if queue is None else as_it_is(connection.rows, queue, now)


def list_queues(connection: Connection, namespace: str, after: str, count: int, now: Micros) -> list[StoredQueue]:
    """Queues by name, from right after a name; `default` is among them, made or not."""
    found = connection.rows(
        f"SELECT {_COLUMNS} FROM queues WHERE namespace = ? AND name > ? ORDER BY name LIMIT ?",
        (namespace, after, count),
    )
    queues = [_stored(namespace, row) for row in found]
    if after < DEFAULT_QUEUE and not any(queue.name == DEFAULT_QUEUE for queue in queues):
        made = connection.rows("SELECT 1 FROM queues WHERE namespace = ? AND name = ?", (namespace, DEFAULT_QUEUE))
        if not made:
            queues = sorted([*queues, _unmade_default(namespace)], key=lambda queue: queue.name)[:count]
    return [as_it_is(connection.rows, queue, now) for queue in queues]


def stored_queue(query: Query, namespace: str, name: str) -> StoredQueue | None:
    """A queue without its counts and stops, or None."""
    found = query(f"SELECT {_COLUMNS} FROM queues WHERE namespace = ? AND name = ?", (namespace, name))
    if found:
        return _stored(namespace, found[0])
    return _unmade_default(namespace) if name == DEFAULT_QUEUE else None


def _unmade_default(namespace: str) -> StoredQueue:
    return StoredQueue(namespace, DEFAULT_QUEUE, queue_pb2.Queue(name=DEFAULT_QUEUE), 0, Micros(0), Micros(0))


def _stored(namespace: str, row: tuple[object, ...]) -> StoredQueue:
    name, body, version, created, updated = row
    assert isinstance(name, str)
    assert isinstance(body, bytes)
    assert isinstance(version, int)
    assert isinstance(created, int)
    assert isinstance(updated, int)
    return StoredQueue(namespace, name, queue_pb2.Queue.FromString(body), version, Micros(created), Micros(updated))


def as_it_is(query: Query, queue: StoredQueue, now: Micros) -> StoredQueue:
    """A queue with its counts, and with what stops it at a time."""
    counts = query(
        "SELECT state, jobs FROM state_counts WHERE namespace = ? AND queue = ? AND jobs > 0 ORDER BY state",
        (queue.namespace, queue.name),
    )
    return replace(
        queue,
        state_counts=tuple((int(state), int(jobs)) for state, jobs in counts),
        stop=stop_of(query, queue.namespace, queue.name, now),
    )


def _needed(ledger: Ledger, namespace: str, name: str) -> str:
    """Why a queue can't be deleted; empty when it can."""
    if name == DEFAULT_QUEUE:
        return "every namespace has it"
    live = ledger.query(
        "SELECT coalesce(sum(jobs), 0) FROM state_counts WHERE namespace = ? AND queue = ? AND state < ?",
        (namespace, name, int(JobState.SUCCEEDED)),
    )[0][0]
    if live:
        return f"{live} of its jobs have not ended; cancel them with PurgeQueue, or wait"
    schedule = ledger.look_up(
        "SELECT name FROM schedules WHERE namespace = ? AND queue = ? ORDER BY name LIMIT 1", (namespace, name)
    )
    if schedule:
        return f"schedule {schedule[0][0]!r} makes jobs in it"
    return _open_sessions(ledger, namespace, name)


def _open_sessions(ledger: Ledger, namespace: str, name: str) -> str:
    """That sessions have their turns in it, if any do: they could take none any more."""
    found = ledger.look_up(
        "SELECT id, count(*) OVER () FROM sessions WHERE namespace = ? AND queue = ? AND ended = 0"
        " ORDER BY session LIMIT ?",
        (namespace, name, SESSIONS_NAMED_COUNT_MAX),
    )
    if not found:
        return ""
    count = int(found[0][1])
    named = ", ".join(job_id_text(JobId(bytes(session_id))) for session_id, _ in found)
    more = f" and {count - len(found)} more" if count > len(found) else ""
    what = "open session has its turns" if count == 1 else "open sessions have their turns"
    return f"{count} {what} in it: {named}{more}; close them with CloseSession"


def _changes(before: queue_pb2.Queue, after: queue_pb2.Queue, fields: Iterable[str]) -> str:
    """For people: what each field was and is."""
    return "; ".join(f"{name}: {_value(before, name)} → {_value(after, name)}" for name in sorted(fields))


def _value(queue: queue_pb2.Queue, name: str) -> str:
    alone = queue_pb2.Queue()
    for field, value in queue.ListFields():
        if field.name != name:
            continue
        if not field.is_repeated and field.message_type is None:
            return str(value)
        FieldMask(paths=[name]).MergeMessage(queue, alone)
        return text_format.MessageToString(alone, as_one_line=True)
    return "unset"


def _store(ledger: Ledger, queue: StoredQueue) -> None:
    forget_policy(ledger, queue.namespace, queue.name)
    ledger.insert(
        "queues",
        ("namespace", "name", "body", "version", "created", "updated"),
        [
            (
                queue.namespace,
                queue.name,
                queue.body.SerializeToString(),
                queue.version,
                queue.created or ledger.now,
                queue.updated,
            )
        ],
        "ON CONFLICT (namespace, name) DO UPDATE SET"
        " body = excluded.body, version = excluded.version, updated = excluded.updated",
    )
