"""The calls of AdminService."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace import policies
from headrace.calls.call import Call, Page
from headrace.policies import Seconds
from headrace.v1 import admin_service_pb2, settings_pb2


def audit_page(
    namespace: str, resource_type: str, resource_name: str, page_size: int, page_token: str
) -> Call[Page[admin_service_pb2.AuditEntry]]:
    request = admin_service_pb2.ListAuditEntriesRequest(
        namespace=namespace,
        resource_type=resource_type,
        resource_name=resource_name,
        page_size=page_size,
        page_token=page_token,
    )
    return Call(
        lambda s: s.admin.ListAuditEntries, request, lambda response: Page(response.entries, response.next_page_token)
    )


def get_settings(namespace: str) -> Call[settings_pb2.NamespaceSettings]:
    request = admin_service_pb2.GetSettingsRequest(namespace=namespace)
    return Call(lambda s: s.admin.GetSettings, request, lambda response: response.settings)


def update_settings(
    namespace: str, settings: settings_pb2.NamespaceSettings, validate_only: bool
) -> Call[settings_pb2.NamespaceSettings]:
    request = admin_service_pb2.UpdateSettingsRequest(
        namespace=namespace, settings=settings, validate_only=validate_only
    )
    return Call(lambda s: s.admin.UpdateSettings, request, lambda response: response.settings)


def get_response_cache(namespace: str) -> Call[admin_service_pb2.GetResponseCacheResponse]:
    request = admin_service_pb2.GetResponseCacheRequest(namespace=namespace)
    return Call(lambda s: s.admin.GetResponseCache, request, lambda response: response)


def invalidate_response_cache(namespace: str, reason: str) -> Call[datetime]:
    request = admin_service_pb2.InvalidateResponseCacheRequest(namespace=namespace, reason=reason)
    return Call(
        lambda s: s.admin.InvalidateResponseCache,
        request,
        lambda response: response.invalidate_time.ToDatetime(tzinfo=UTC),
    )


def watch_health(interval: Seconds | None) -> admin_service_pb2.WatchHealthRequest:
    return admin_service_pb2.WatchHealthRequest(interval=policies.optional_duration(interval))
