"""Settings of namespaces, replaced as a whole. What they mean for a job or a session is not decided here."""

from headrace.v1 import settings_pb2
from headrace_server.core.ids import Micros
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.codec import set_time
from headrace_server.store.engine import Connection, Query
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import policy_of
from headrace_server.store.records.audit import record_audit


def read_settings(connection: Connection, namespace: str) -> settings_pb2.NamespaceSettings:
    """The settings of a namespace; empty ones when it has none."""
    return _read(connection.rows, namespace)


def settings_of(ledger: Ledger, namespace: str) -> settings_pb2.NamespaceSettings:
    """The same inside a transaction, remembered from one to the next."""
    settings: settings_pb2.NamespaceSettings = ledger.value(
        ("settings", namespace), lambda: _read(ledger.look_up, namespace)
    )
    return settings


def replace_settings(
    ledger: Ledger, namespace: str, wanted: settings_pb2.NamespaceSettings, actor: str, *, validate_only: bool
) -> settings_pb2.NamespaceSettings | Refusal:
    """Replaces the settings of a namespace, unless they have changed since its etag, or name a queue that is not
    there."""
    present = _read(ledger.look_up, namespace)
    if wanted.etag and wanted.etag != present.etag:
        message = f"the settings of namespace {namespace!r} have etag {present.etag!r} by now, not {wanted.etag!r}"
        return Refusal(Reason.STALE_ETAG, message, "headrace.v1.NamespaceSettings", namespace)
    for queue in sorted(wanted.claude_by_queue):
        if policy_of(ledger, namespace, queue) is None:
            field = {"field": f"settings.claude_by_queue[{queue!r}]"}
            message = f"there is no queue {queue!r} in namespace {namespace!r}"
            return Refusal(Reason.NOT_FOUND, message, "headrace.v1.Queue", queue, metadata=field)
    kept = _content(wanted)
    version = int(present.etag) + (kept != _content(present))
    if version != int(present.etag) and not validate_only:
        _write(ledger, namespace, kept, version, actor)
        return _message(namespace, kept, version, ledger.now, actor)
    return _message(namespace, kept, int(present.etag), Micros(0), "") if validate_only else present


def _write(ledger: Ledger, namespace: str, kept: settings_pb2.NamespaceSettings, version: int, actor: str) -> None:
    ledger.insert(
        "settings",
        ("namespace", "body", "version", "updated", "actor"),
        [(namespace, kept.SerializeToString(deterministic=True), version, ledger.now, actor)],
        "ON CONFLICT (namespace) DO UPDATE SET body = excluded.body, version = excluded.version,"
        " updated = excluded.updated, actor = excluded.actor",
    )
    ledger.forget(("settings", namespace))
    named = ["the namespace", *(f"queue {queue!r}" for queue in sorted(kept.claude_by_queue))]
    limited = [f"{field.name} {value}" for field, value in kept.sessions.ListFields()]
    sessions = f"; limits on sessions: {', '.join(limited)}" if limited else ""
    detail = f"version {version}: defaults of Claude for {', '.join(named)}{sessions}"
    record_audit(ledger, actor, "AdminService.UpdateSettings", namespace, "settings", namespace, detail)


def _read(query: Query, namespace: str) -> settings_pb2.NamespaceSettings:
    found = query("SELECT body, version, updated, actor FROM settings WHERE namespace = ?", (namespace,))
    if not found:
        return settings_pb2.NamespaceSettings(namespace=namespace, etag="0")
    body, version, updated, actor = found[0]
    kept = settings_pb2.NamespaceSettings.FromString(bytes(body))
    return _message(namespace, kept, version, Micros(updated), actor)


def _content(settings: settings_pb2.NamespaceSettings) -> settings_pb2.NamespaceSettings:
    return settings_pb2.NamespaceSettings(
        claude=settings.claude,
        claude_by_queue=settings.claude_by_queue,
        response_cache_epoch=settings.response_cache_epoch,
        sessions=settings.sessions,
    )


def _message(
    namespace: str, kept: settings_pb2.NamespaceSettings, version: int, updated: Micros, actor: str
) -> settings_pb2.NamespaceSettings:
    message = settings_pb2.NamespaceSettings(namespace=namespace, etag=str(version), actor=actor)
    message.MergeFrom(kept)
    if updated:
        set_time(message.update_time, updated)
    return message
