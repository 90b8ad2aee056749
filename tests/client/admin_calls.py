"""What an operator may ask for: how, what is sent then, and an answer; see `test_faces.py`."""

from __future__ import annotations

from typing import Any

from headrace.v1 import admin_service_pb2, settings_pb2

ADMIN_CALLS: dict[str, tuple[Any, Any, Any]] = {
    "ListAuditEntries": (
        lambda c: next(c.audit(resource_type="queue", resource_name="q")).actor,
        {"resourceType": "queue", "resourceName": "q", "pageSize": 100},
        admin_service_pb2.ListAuditEntriesResponse(entries=[admin_service_pb2.AuditEntry(actor="j")]),
    ),
    "GetSettings": (
        lambda c: c.settings().etag,
        {},
        admin_service_pb2.GetSettingsResponse(settings=settings_pb2.NamespaceSettings(etag="j")),
    ),
    "UpdateSettings": (
        lambda c: c.update_settings(settings_pb2.NamespaceSettings(etag="1"), validate_only=True).etag,
        {"settings": {"etag": "1"}, "validateOnly": True},
        admin_service_pb2.UpdateSettingsResponse(settings=settings_pb2.NamespaceSettings(etag="j")),
    ),
}
