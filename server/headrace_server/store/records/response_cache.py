"""From when on kept answers of a namespace count (X7): said by a person, and kept for workers that are away just now.

The answers themselves are the workers'; what is kept and given again is not decided here.
"""

from dataclasses import dataclass

from headrace_server.core.ids import SECOND, Micros
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit

RECENT_MICROS = 31 * 24 * 3600 * SECOND
"""No answer is given again that is older than 30 days, so no worker needs to hear of what was said before."""
RECENT_COUNT_MAX = 1000


@dataclass(frozen=True, slots=True)
class Invalidation:
    """No answer of the namespace that was asked for up to `time` is given again."""

    namespace: str
    time: Micros
    actor: str


def invalidate_answers(ledger: Ledger, namespace: str, reason: str, actor: str) -> Invalidation:
    """Has no answer of a namespace given again that was asked for until now."""
    ledger.insert(
        "response_caches",
        ("namespace", "invalidated", "actor"),
        [(namespace, ledger.now, actor)],
        "ON CONFLICT (namespace) DO UPDATE SET invalidated = excluded.invalidated, actor = excluded.actor",
    )
    ledger.forget(("response_cache", namespace))
    action = "AdminService.InvalidateResponseCache"
    record_audit(ledger, actor, action, namespace, "response_cache", namespace, reason)
    return Invalidation(namespace, ledger.now, actor)


def invalidated_time(ledger: Ledger, namespace: str) -> Micros:
    """The time after which answers of a namespace count; zero when all do. Remembered from one transaction to the
    next."""

    def read() -> Micros:
        found = ledger.look_up("SELECT invalidated FROM response_caches WHERE namespace = ?", (namespace,))
        return Micros(found[0][0]) if found else Micros(0)

    return ledger.value(("response_cache", namespace), read)


def recent_invalidations(ledger: Ledger) -> tuple[Invalidation, ...]:
    """Those of which a worker that connects may not have heard, the latest first."""
    found = ledger.look_up(
        "SELECT namespace, invalidated, actor FROM response_caches WHERE invalidated > ?"
        " ORDER BY invalidated DESC LIMIT ?",
        (ledger.now - RECENT_MICROS, RECENT_COUNT_MAX),
    )
    return tuple(Invalidation(namespace, Micros(time), actor) for namespace, time, actor in found)


def drop_old_invalidations(ledger: Ledger) -> None:
    """Drops some of what was said so long ago that no answer is left which it could be about."""
    found = ledger.look_up(
        "SELECT namespace FROM response_caches WHERE invalidated <= ? ORDER BY invalidated LIMIT ?",
        (ledger.now - RECENT_MICROS, RECENT_COUNT_MAX),
    )
    for (namespace,) in found:
        ledger.run("DELETE FROM response_caches WHERE namespace = ?", (namespace,))
        ledger.forget(("response_cache", namespace))


def read_invalidation(connection: Connection, namespace: str) -> Invalidation | None:
    """What was last said of a namespace, unless it was long ago."""
    found = connection.rows("SELECT invalidated, actor FROM response_caches WHERE namespace = ?", (namespace,))
    return Invalidation(namespace, Micros(found[0][0]), found[0][1]) if found else None
