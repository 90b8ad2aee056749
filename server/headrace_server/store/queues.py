"""Queues as a resource: made, changed, listed. What verbs need of their policy is in `queue_policy`."""

from collections.abc import Callable
from dataclasses import dataclass

from headrace.v1 import queue_pb2
from headrace_server.core.ids import Micros
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger
from headrace_server.store.queue_policy import DEFAULT_QUEUE, forget_policy


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


def create_queue(ledger: Ledger, namespace: str, body: queue_pb2.Queue) -> StoredQueue | Refusal:
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
    return _store(ledger, StoredQueue(namespace, name, body, 1, ledger.now, ledger.now))


def update_queue(
    ledger: Ledger, namespace: str, name: str, etag: str, change: Callable[[queue_pb2.Queue], None]
) -> StoredQueue | Refusal:
    """Changes the policy of a queue when its etag, if one is given, still matches."""
    queue = stored_queue(ledger.look_up, namespace, name)
    if queue is None:
        return not_found(namespace, name)
    if etag and etag != str(queue.version):
        return Refusal(
            Reason.STALE_ETAG,
            f"queue {name!r} has etag {queue.version}, not {etag}: somebody changed it; read it again",
            "headrace.v1.Queue",
            name,
        )
    body = queue_pb2.Queue()
    body.CopyFrom(queue.body)
    change(body)
    return _store(ledger, StoredQueue(namespace, name, body, queue.version + 1, queue.created, ledger.now))


def not_found(namespace: str, name: str) -> Refusal:
    """There is no such queue."""
    return Refusal(
        Reason.NOT_FOUND, f"there is no queue {name!r} in namespace {namespace!r}", "headrace.v1.Queue", name
    )


def get_queue(connection: Connection, namespace: str, name: str) -> StoredQueue | None:
    """A queue with its counts, or None."""
    queue = stored_queue(connection.rows, namespace, name)
    return None if queue is None else _with_counts(connection, queue)


def list_queues(connection: Connection, namespace: str, after: str, count: int) -> list[StoredQueue]:
    """Queues by name, from right after a name; `default` is among them, made or not."""
    found = connection.rows(
        "SELECT name, body, version, created, updated FROM queues WHERE namespace = ? AND name > ?"
        " ORDER BY name LIMIT ?",
        (namespace, after, count),
    )
    queues = [_stored(namespace, row) for row in found]
    if after < DEFAULT_QUEUE and not any(queue.name == DEFAULT_QUEUE for queue in queues):
        made = connection.rows("SELECT 1 FROM queues WHERE namespace = ? AND name = ?", (namespace, DEFAULT_QUEUE))
        if not made:
            queues = sorted([*queues, _unmade_default(namespace)], key=lambda queue: queue.name)[:count]
    return [_with_counts(connection, queue) for queue in queues]


def stored_queue(read: Callable[..., list[tuple[object, ...]]], namespace: str, name: str) -> StoredQueue | None:
    """A queue without its counts, or None."""
    found = read(
        "SELECT name, body, version, created, updated FROM queues WHERE namespace = ? AND name = ?", (namespace, name)
    )
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


def _with_counts(connection: Connection, queue: StoredQueue) -> StoredQueue:
    counts = connection.rows(
        "SELECT state, jobs FROM state_counts WHERE namespace = ? AND queue = ? AND jobs > 0 ORDER BY state",
        (queue.namespace, queue.name),
    )
    return StoredQueue(
        queue.namespace,
        queue.name,
        queue.body,
        queue.version,
        queue.created,
        queue.updated,
        tuple((int(state), int(jobs)) for state, jobs in counts),
    )


def _store(ledger: Ledger, queue: StoredQueue) -> StoredQueue:
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
    return queue
