"""Rows that have served their time, dropped in steps of bounded size (E8). Nothing in here touches a job.

Each verb drops one step and says whether there may be more.
"""

from collections.abc import Callable
from dataclasses import dataclass

from headrace_server.core.ids import Micros
from headrace_server.core.placement import Needs
from headrace_server.store.ledger import Ledger

STEP_ROWS_COUNT = 500


def drop_requests(ledger: Ledger, deleted_by: Micros) -> bool:
    """Forgets the `request_id` of jobs that had been deleted by a time (S1)."""
    found = ledger.look_up(
        "SELECT namespace, request_id FROM requests WHERE deleted > 0 AND deleted <= ? ORDER BY deleted LIMIT ?",
        (deleted_by, STEP_ROWS_COUNT),
    )
    for name in found:
        ledger.run("DELETE FROM requests WHERE namespace = ? AND request_id = ?", name)
    return len(found) == STEP_ROWS_COUNT


def drop_audit(ledger: Ledger, made_by: Micros) -> bool:
    """Drops audit entries that had been made by a time."""
    found = ledger.look_up("SELECT number, time FROM audit ORDER BY number LIMIT ?", (STEP_ROWS_COUNT,))
    old = [number for number, time in found if time <= made_by]
    if old:
        ledger.run("DELETE FROM audit WHERE number <= ?", (old[-1],))
    return len(old) == STEP_ROWS_COUNT


def drop_statistics(ledger: Ledger, minute: int) -> bool:
    """Drops counts of minutes up to one, counted since 1970."""
    found = ledger.look_up(
        "SELECT namespace, queue, minute, measure, value FROM queue_minutes WHERE minute <= ? ORDER BY minute LIMIT ?",
        (minute, STEP_ROWS_COUNT),
    )
    for name in found:
        ledger.run(
            "DELETE FROM queue_minutes WHERE namespace = ? AND queue = ? AND minute = ? AND measure = ? AND value = ?",
            name,
        )
    return len(found) == STEP_ROWS_COUNT


def drop_idle_marks(ledger: Ledger, updated_by: Micros) -> None:
    """Drops buckets of rate limits that are full, which are as good as none, and what owners and keys had consumed that
    have not been heard of since a time."""
    ledger.run("DELETE FROM rate_buckets WHERE full_at <= ?", (ledger.now,))
    ledger.run("DELETE FROM shares WHERE updated <= ? AND active = 0", (updated_by,))


@dataclass(frozen=True, slots=True)
class _IdleKey:
    key: int
    group: int
    namespace: str
    queue: str
    owner: str
    concurrency_key: str
    folder: str
    needs: Needs


def drop_idle_keys(ledger: Ledger, after: int) -> int | None:
    """Drops those of the next ready keys after one that no live job belongs to, and groups without keys; returns the
    key to go on after, None at the end. Ended jobs may still name a key that is gone."""
    found = ledger.query(
        "SELECT key, ready_keys.ready_group, ready_keys.namespace, ready_keys.queue, owner, concurrency_key,"
        " folder, needs, live FROM ready_keys JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
        " WHERE key > ? ORDER BY key LIMIT ?",
        (after, STEP_ROWS_COUNT),
    )
    idle = [
        _IdleKey(row[0], row[1], row[2], row[3], row[4], row[5], row[6], Needs.decode(row[7]))
        for row in found
        if not row[8]
    ]
    for one in idle:
        ledger.run("DELETE FROM ready_keys WHERE key = ?", (one.key,))
        ledger.forget(("key", one.namespace, one.queue, one.needs, one.owner, one.concurrency_key, one.folder))
        ledger.forget(("place", one.key))
    _drop_groups(ledger, {one.group: one for one in idle}, ledger.forget)
    return int(found[-1][0]) if len(found) == STEP_ROWS_COUNT else None


def _drop_groups(ledger: Ledger, last_seen: dict[int, _IdleKey], forget: Callable[[tuple[object, ...]], None]) -> None:
    for group, one in last_seen.items():
        if not ledger.look_up("SELECT 1 FROM ready_keys WHERE ready_group = ? LIMIT 1", (group,)):
            ledger.run("DELETE FROM ready_groups WHERE ready_group = ?", (group,))
            forget(("group", one.namespace, one.queue, one.needs))
