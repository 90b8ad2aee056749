"""The rules of what operators ask of capacity domains and budgets."""

import re

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import admin_service_pb2, capacity_pb2
from headrace_server.core import limits
from headrace_server.core.budgets import RESERVATION_USD_MICROS_MIN
from headrace_server.core.capacity import NAME_CHARACTERS_MAX
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks.violations import (
    FieldCheck,
    Rules,
    Violations,
    anything,
    at_least_zero,
    bytes_within,
    check_fields,
    enum,
    namespace,
    text,
)

CLOSED_SECONDS_MIN = 1
CLOSED_SECONDS_MAX = 31 * 86_400
TOKEN_BYTES_MAX = 1024
DOMAIN = re.compile(r"[^/\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*/[^\x00-\x1f\x7f-\x9f]+")

_owner = text(limits.OWNER_CHARACTERS_MAX)
_token = bytes_within(TOKEN_BYTES_MAX)


def domain(value: str, path: str, violations: Violations) -> None:
    """The name of a capacity domain."""
    if len(value) > NAME_CHARACTERS_MAX:
        violations.add(path, f"has {len(value)} characters; at most {NAME_CHARACTERS_MAX} are allowed")
    elif not DOMAIN.fullmatch(value):
        violations.add(path, "has to be a profile and a model family with / between them, e.g. default/opus")


def closed_for(value: Duration, path: str, violations: Violations) -> None:
    """How long a domain is closed."""
    if not CLOSED_SECONDS_MIN <= value.seconds + value.nanos / 1e9 <= CLOSED_SECONDS_MAX:
        violations.add(path, f"has to be from {CLOSED_SECONDS_MIN} to {CLOSED_SECONDS_MAX} seconds")


def usd_micros(value: int, path: str, violations: Violations) -> None:
    """An amount that pays for a call at least."""
    if not RESERVATION_USD_MICROS_MIN <= value <= limits.USAGE_AMOUNT_MAX:
        violations.add(
            path, f"is {value}; it has to be 0, or from {RESERVATION_USD_MICROS_MIN} to {limits.USAGE_AMOUNT_MAX}"
        )


def tokens(value: int, path: str, violations: Violations) -> None:
    """A count of tokens."""
    if not 0 <= value <= limits.USAGE_AMOUNT_MAX:
        violations.add(path, f"is {value}; it has to be from 0 to {limits.USAGE_AMOUNT_MAX}")


def fraction(value: float, path: str, violations: Violations) -> None:
    """A part of a limit."""
    if not 0 < value <= 1:
        violations.add(path, f"is {value}; it has to be above 0 and at most 1")


def budget(value: capacity_pb2.Budget, path: str, violations: Violations) -> None:
    """A budget to be set: it has a period and a limit."""
    if not value.period:
        violations.add(path + ".period", "is required")
    if not value.max_cost_usd_micros and not value.max_tokens:
        violations.add(path + ".max_cost_usd_micros", "is required, or max_tokens")
    check_fields(value, BUDGET, path + ".", violations)


BUDGET: Rules = {
    "namespace": namespace,
    "owner": _owner,
    "period": enum(capacity_pb2.BudgetPeriod),
    "max_cost_usd_micros": usd_micros,
    "max_tokens": tokens,
    "warn_fraction": fraction,
    "reservation_usd_micros": usd_micros,
    **dict.fromkeys(
        ("spent_usd_micros", "spent_tokens", "reserved_usd_micros", "running_tokens", "left_usd_micros"), anything
    ),
    **dict.fromkeys(("left_tokens", "reset_time", "create_time", "update_time", "actor"), anything),
}
LIST_DOMAINS: Rules = {"page_size": at_least_zero, "page_token": _token}
UPDATE_DOMAIN: Rules = {
    "name": domain,
    "order": enum(admin_service_pb2.CapacityOrder),
    "reason": text(limits.REASON_CHARACTERS_MAX),
    "duration": closed_for,
}
LIST_BUDGETS: Rules = LIST_DOMAINS | {"namespace": namespace, "owner": _owner}
DELETE_BUDGET: Rules = {"namespace": namespace, "owner": _owner, "period": enum(capacity_pb2.BudgetPeriod)}
SET_BUDGET: dict[str, FieldCheck] = {"budget": budget}


def check_update_domain(request: admin_service_pb2.UpdateCapacityDomainRequest) -> Refusal | None:
    """Whom, what, and for how long."""
    violations = Violations()
    for name in ("name", "order"):
        if not getattr(request, name):
            violations.add(name, "is required")
    check_fields(request, UPDATE_DOMAIN, "", violations)
    if request.HasField("duration") and request.order == admin_service_pb2.CAPACITY_ORDER_OPEN:
        violations.add("duration", "is for CAPACITY_ORDER_CLOSE only")
    return violations.refusal()


def check_set_budget(request: admin_service_pb2.SetBudgetRequest) -> Refusal | None:
    """There is one, with a limit."""
    violations = Violations()
    if not request.HasField("budget"):
        violations.add("budget", "is required")
    check_fields(request, SET_BUDGET, "", violations)
    return violations.refusal()
