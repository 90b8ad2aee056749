"""What an operator may ask for: how, what is sent then, and an answer; see `test_faces.py`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.v1 import admin_service_pb2, capacity_pb2, settings_pb2

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)

ADMIN_CALLS: dict[str, tuple[Any, Any, Any]] = {
    "ListAuditEntries": (
        lambda c: next(c.audit(resource_type="queue", resource_name="q")).actor,
        {"resourceType": "queue", "resourceName": "q", "pageSize": 100},
        admin_service_pb2.ListAuditEntriesResponse(entries=[admin_service_pb2.AuditEntry(actor="j")]),
    ),
    "ListCapacityDomains": (
        lambda c: next(c.capacity.list()).name,
        {"pageSize": 100},
        admin_service_pb2.ListCapacityDomainsResponse(domains=[capacity_pb2.CapacityDomain(name="j")]),
    ),
    "UpdateCapacityDomain": (
        lambda c: c.capacity.close("default/opus", reason="costs", duration=60).name,
        {"name": "default/opus", "order": "CAPACITY_ORDER_CLOSE", "reason": "costs", "duration": "60s"},
        admin_service_pb2.UpdateCapacityDomainResponse(domain=capacity_pb2.CapacityDomain(name="j")),
    ),
    "SetBudget": (
        lambda c: c.budgets.set("ann", period="total", max_cost_usd=1.5, max_tokens=9, reservation_usd=0.25).owner,
        {
            "budget": {
                "namespace": "n",
                "owner": "ann",
                "period": "BUDGET_PERIOD_TOTAL",
                "maxCostUsdMicros": "1500000",
                "maxTokens": "9",
                "reservationUsdMicros": "250000",
            }
        },
        admin_service_pb2.SetBudgetResponse(budget=capacity_pb2.Budget(owner="j")),
    ),
    "ListBudgets": (
        lambda c: next(c.budgets.list("ann")).owner,
        {"owner": "ann", "pageSize": 100},
        admin_service_pb2.ListBudgetsResponse(budgets=[capacity_pb2.Budget(owner="j")]),
    ),
    "DeleteBudget": (
        lambda c: c.budgets.delete("ann") or "j",
        {"owner": "ann", "period": "BUDGET_PERIOD_DAY"},
        admin_service_pb2.DeleteBudgetResponse(),
    ),
    "GetResponseCache": (
        lambda c: "j" * c.response_cache.get().workers,
        {},
        admin_service_pb2.GetResponseCacheResponse(workers=1),
    ),
    "InvalidateResponseCache": (
        lambda c: "j" if c.response_cache.invalidate(reason="new facts") == NOON else "",
        {"reason": "new facts"},
        admin_service_pb2.InvalidateResponseCacheResponse(invalidate_time=Timestamp(seconds=int(NOON.timestamp()))),
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
