"""The rules of a queue's policy, of the mask that says what of it to change, and of what else is asked about queues."""

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import queue_pb2, queue_service_pb2
from headrace_server.core import limits
from headrace_server.rpc.checks.update_masks import NamedFields
from headrace_server.rpc.checks.validate_job import TIMEOUTS, retry_policy
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    anything,
    at_least_zero,
    between,
    check_fields,
    duration,
    duration_above_zero,
    each,
    each_entry,
    enum,
    message_of,
    queue_name,
    text,
)

EXECUTORS = ("claude", "command", "handler")
RESOURCE_TYPES = ("job", "queue", "schedule", "worker", "session", "settings", "capacity", "budget", "response_cache")
WEIGHTS_COUNT_MAX = 1000
WEIGHT_MIN = 0.001
WEIGHT_MAX = 1000.0

FIELDS = NamedFields(
    updatable=frozenset(
        {"max_queued", "max_concurrency", "max_concurrency_per_key", "retry_policy", "timeouts", "fairness"}
        | {"rate_limit", "rate_limit_per_key", "executors"}
    ),
    fixed=frozenset({"name", "priority_head_start"}),
    output_only=frozenset({"namespace", "etag", "create_time", "update_time", "pause", "drain", "state_counts"}),
)


def executor(value: str, path: str, violations: Violations) -> None:
    """A kind of task."""
    if value not in EXECUTORS:
        violations.add(path, f"has to be one of {', '.join(EXECUTORS)}")


def resource_type(value: str, path: str, violations: Violations) -> None:
    """A kind of thing that the audit log knows."""
    if value not in RESOURCE_TYPES:
        violations.add(path, f"has to be one of {', '.join(RESOURCE_TYPES)}")


def window(value: Duration, path: str, violations: Violations) -> None:
    """The time that statistics look back."""
    seconds = value.seconds + value.nanos / 1e9
    if not limits.STATISTICS_SECONDS_MIN <= seconds <= limits.STATISTICS_SECONDS_MAX:
        violations.add(
            path, f"has to be from {limits.STATISTICS_SECONDS_MIN} to {limits.STATISTICS_SECONDS_MAX} seconds"
        )


def rate_limit(value: queue_pb2.RateLimit, path: str, violations: Violations) -> None:
    """A count needs its period."""
    check_fields(value, RATE_LIMIT, path + ".", violations)
    if value.count and not value.HasField("period"):
        violations.add(path + ".period", "is required when count is set")


RATE_LIMIT: Rules = {"count": at_least_zero, "period": duration_above_zero, "burst": at_least_zero}
FAIRNESS: Rules = {
    "scope": enum(queue_pb2.FairnessScope),
    "weights": each_entry(text(limits.OWNER_CHARACTERS_MAX), between(WEIGHT_MIN, WEIGHT_MAX), WEIGHTS_COUNT_MAX),
}
QUEUE: Rules = {
    "name": queue_name,
    "max_queued": between(0, limits.QUEUE_MAX_QUEUED_MAX),
    "priority_head_start": duration,
    "max_concurrency": at_least_zero,
    "max_concurrency_per_key": at_least_zero,
    "retry_policy": retry_policy,
    "timeouts": message_of(TIMEOUTS),
    "fairness": message_of(FAIRNESS),
    "rate_limit": rate_limit,
    "rate_limit_per_key": rate_limit,
    "executors": each(executor, len(EXECUTORS)),
    **dict.fromkeys(FIELDS.output_only, anything),
}


def created_queue(value: queue_pb2.Queue, path: str, violations: Violations) -> None:
    """A queue to be made: it has a name, and nothing that only the server sets."""
    FIELDS.check_created(value, path, QUEUE, violations)


def update(request: queue_service_pb2.UpdateQueueRequest, violations: Violations) -> None:
    """The mask names fields that can change; only these are looked at."""
    FIELDS.check_updated(request.queue, "queue", QUEUE, request.update_mask, violations)
