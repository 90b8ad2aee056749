"""Who changed what: one entry for each change that a person or a service made, committed together with it.

Submits are not in here: the logs of their jobs name who made them.
"""

from dataclasses import dataclass

from headrace_server.core.ids import Micros
from headrace_server.core.limits import AUDIT_DETAIL_CHARACTERS_MAX
from headrace_server.store.conditions import Conditions, marks
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger

RESOURCE_TYPES = ("job", "queue", "schedule", "worker", "session", "settings", "capacity", "budget", "response_cache")

_COLUMNS = ("number", "time", "actor", "action", "namespace", "resource_type", "resource_name", "detail")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change that somebody made; see `AuditEntry` in admin_service.proto."""

    number: int
    time: Micros
    actor: str
    action: str
    namespace: str
    resource_type: str
    resource_name: str
    detail: str


def record_audit(
    ledger: Ledger, actor: str, action: str, namespace: str, resource_type: str, resource_name: str, detail: str
) -> None:
    """Puts a change into the audit log. `action` is the rpc, e.g. `QueueService.PauseQueue`; `namespace` is empty for a
    resource that is in none; a `detail` that is too long is cut."""
    assert resource_type in RESOURCE_TYPES, resource_type
    number = ledger.next_number("audit")
    kept = detail if len(detail) <= AUDIT_DETAIL_CHARACTERS_MAX else detail[: AUDIT_DETAIL_CHARACTERS_MAX - 1] + "…"
    ledger.insert(
        "audit", _COLUMNS, [(number, ledger.now, actor, action, namespace, resource_type, resource_name, kept)]
    )


def list_audit(
    connection: Connection, namespace: str, resource_type: str, resource_name: str, before: int, count: int
) -> list[AuditEntry]:
    """Entries newest first, from right before a number (zero: from the newest). Empty texts filter nothing; entries of
    resources that are in no namespace are among those of every one."""
    conditions = Conditions("namespace IN (?, '')", namespace)
    if before:
        conditions.add("number < ?", before)
    if resource_name or resource_type:
        types = (resource_type,) if resource_type else RESOURCE_TYPES
        conditions.add(f"resource_type IN ({marks(types)})", *types)
    if resource_name:
        conditions.add("resource_name = ?", resource_name)
    found = connection.rows(
        f"SELECT {', '.join(_COLUMNS)} FROM audit WHERE {conditions.sql} ORDER BY number DESC LIMIT ?",
        (*conditions.parameters, count),
    )
    return [AuditEntry(*row) for row in found]
