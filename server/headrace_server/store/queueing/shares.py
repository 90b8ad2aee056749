"""What the shares of fair queues have consumed (Q2): charged when leases end, read when slots are given out.

A row stays only while it means something: of a share with jobs, or of one that has consumed more than the others.
"""

from collections import defaultdict
from collections.abc import Iterable

from headrace_server.core.fairness import FairnessScope, Standings, Usage, standings
from headrace_server.core.ids import SECOND, Micros
from headrace_server.store.counters import Charge
from headrace_server.store.engine import Query
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import QueuePolicy, policy_of
from headrace_server.store.queueing.ready import running_shares

_COLUMNS = ("namespace", "queue", "scope", "name", "usage", "updated", "mean", "active")
_UPSERT = (
    "ON CONFLICT (namespace, queue, scope, name) DO UPDATE SET"
    " usage = excluded.usage, updated = excluded.updated, mean = excluded.mean, active = excluded.active"
)

_Share = tuple[str, str, FairnessScope, str]


def charge_shares(ledger: Ledger) -> None:
    """Charges the leases that have ended in this transaction, where their queue is fair. Called before slots are given
    out, and before the commit."""
    charges = ledger.counters.charges
    if not charges:
        return
    ended: dict[_Share, Charge] = defaultdict(Charge)
    for (namespace, queue, owner, concurrency_key), charge in charges.items():
        policy = policy_of(ledger, namespace, queue)
        if policy is not None and policy.fairness is not FairnessScope.NONE:
            name = owner if policy.fairness is FairnessScope.OWNER else concurrency_key
            total = ended[namespace, queue, policy.fairness, name]
            total.slot_micros += charge.slot_micros
            total.slots += charge.slots
    charges.clear()
    for share, charge in ended.items():
        usage = _usage(ledger, share).charged(charge.slot_micros / SECOND, charge.slots, ledger.now)
        _store(ledger, [(share, usage)])


def current_standings(
    ledger: Ledger, namespace: str, queue: str, policy: QueuePolicy, waiting: Iterable[str]
) -> Standings:
    """How far the shares of a queue are, those that wait and those that run; takes note of who came and who left."""
    scope = policy.fairness
    running = running_shares(ledger.query, namespace, queue, scope, ledger.now)
    usages = usages_of(ledger.look_up, namespace, queue, scope)
    found = standings(usages, running, waiting, policy.weights, ledger.now)
    _store(ledger, [((namespace, queue, scope, name), usage) for name, usage in found.changed.items()])
    for name in found.forgotten:
        ledger.run(
            "DELETE FROM shares WHERE namespace = ? AND queue = ? AND scope = ? AND name = ?",
            (namespace, queue, int(scope), name),
        )
    return found


def forget_shares(ledger: Ledger, namespace: str, queue: str) -> None:
    """Drops what is known of the shares of a queue that is no more."""
    ledger.run("DELETE FROM shares WHERE namespace = ? AND queue = ?", (namespace, queue))


def usages_of(query: Query, namespace: str, queue: str, scope: FairnessScope) -> dict[str, Usage]:
    """What is known of the shares of a queue, by name."""
    found = query(
        "SELECT name, usage, updated, mean, active FROM shares WHERE namespace = ? AND queue = ? AND scope = ?",
        (namespace, queue, int(scope)),
    )
    return {name: Usage(usage, Micros(updated), mean, bool(active)) for name, usage, updated, mean, active in found}


def _usage(ledger: Ledger, share: _Share) -> Usage:
    namespace, queue, scope, name = share
    found = ledger.look_up(
        "SELECT usage, updated, mean, active FROM shares WHERE namespace = ? AND queue = ? AND scope = ? AND name = ?",
        (namespace, queue, int(scope), name),
    )
    if not found:
        return Usage(updated=ledger.now)
    usage, updated, mean, active = found[0]
    return Usage(usage, Micros(updated), mean, bool(active))


def _store(ledger: Ledger, usages: Iterable[tuple[_Share, Usage]]) -> None:
    values = [
        (namespace, queue, int(scope), name, usage.slot_seconds, usage.updated, usage.mean, int(usage.active))
        for (namespace, queue, scope, name), usage in usages
    ]
    ledger.insert("shares", _COLUMNS, values, _UPSERT)
