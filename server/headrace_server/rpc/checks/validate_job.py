"""The rules of a job's specification, all but its task: sizes, names, ranges, and the enums that this server knows."""

from headrace.v1 import job_pb2, job_service_pb2
from headrace_server.core import limits
from headrace_server.rpc.checks import validate_task
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    at_least_zero,
    between,
    check_fields,
    duration,
    each,
    enum,
    job_id,
    labels,
    message_of,
    queue_name,
    request_id,
    text,
    timestamp,
)

DEPENDENCIES_COUNT_MAX = 100
REF_CHARACTERS_MAX = 128
BACKOFF_MULTIPLIER_MAX = 10.0
SNOOZES_COUNT_MAX = 10_000

RETRY_POLICY: Rules = {
    "max_attempts": between(0, limits.MAX_ATTEMPTS_MAX),
    "initial_backoff": duration,
    "max_backoff": duration,
    "backoff_multiplier": between(1.0, BACKOFF_MULTIPLIER_MAX),
    "max_snoozes": between(0, SNOOZES_COUNT_MAX),
}
TIMEOUTS: Rules = dict.fromkeys(
    ("queue_timeout", "run_timeout", "total_timeout", "silence_timeout", "input_timeout", "cancel_grace"), duration
)
RESOURCES: Rules = dict.fromkeys(("slots", "memory_bytes", "cpu_millis"), at_least_zero)
PLACEMENT: Rules = {
    "required_labels": labels,
    "preferred_labels": labels,
    "resources": message_of(RESOURCES),
}
DEPENDENCY: Rules = {"job_id": job_id, "ref": text(REF_CHARACTERS_MAX)}
UNIQUE_KEY: Rules = {
    "key": text(limits.KEY_CHARACTERS_MAX),
    "on_conflict": enum(job_pb2.UniqueKeyConflict),
}


def retry_policy(value: job_pb2.RetryPolicy, path: str, violations: Violations) -> None:
    """The first backoff can't be longer than the longest."""
    check_fields(value, RETRY_POLICY, path + ".", violations)
    if value.HasField("initial_backoff") and value.HasField("max_backoff"):
        first, longest = value.initial_backoff, value.max_backoff
        if (longest.seconds, longest.nanos) < (first.seconds, first.nanos):
            violations.add(path + ".max_backoff", "is shorter than initial_backoff")


def unique_key(value: job_pb2.UniqueKey, path: str, violations: Violations) -> None:
    """A key that is there."""
    check_fields(value, UNIQUE_KEY, path + ".", violations)
    if not value.key:
        violations.add(path + ".key", "is required")


def dependency(value: job_pb2.Dependency, path: str, violations: Violations) -> None:
    """One job."""
    check_fields(value, DEPENDENCY, path + ".", violations)
    if value.WhichOneof("job") is None:
        violations.add(path, "names no job: one of job_id, ref is required")


SPEC: Rules = {
    "queue": queue_name,
    "owner": text(limits.OWNER_CHARACTERS_MAX),
    "display_name": text(limits.DISPLAY_NAME_CHARACTERS_MAX),
    "labels": labels,
    "priority": between(-limits.PRIORITY_MAX, limits.PRIORITY_MAX),
    "schedule_time": timestamp,
    "retry_policy": retry_policy,
    "timeouts": message_of(TIMEOUTS),
    "dependencies": each(dependency, DEPENDENCIES_COUNT_MAX),
    "dependency_condition": enum(job_pb2.DependencyCondition),
    "dependency_failure_action": enum(job_pb2.DependencyFailureAction),
    "dependency_cancel_action": enum(job_pb2.DependencyCancelAction),
    "unique_key": unique_key,
    "concurrency_key": text(limits.KEY_CHARACTERS_MAX),
    "placement": message_of(PLACEMENT),
    "output_bytes_max": between(0, limits.OUTPUT_BYTES_MAX_MAX),
    "claude": validate_task.claude,
    "command": validate_task.command,
    "handler": validate_task.handler,
}


def spec(value: job_pb2.JobSpec, path: str, violations: Violations) -> None:
    """What a client asks for."""
    size = value.ByteSize()
    if size > limits.SPEC_BYTES_MAX:
        violations.add(path, f"has {size} bytes when serialised; at most {limits.SPEC_BYTES_MAX} are allowed")
    validate_task.task_required(value, path + ".", violations)
    check_fields(value, SPEC, path + ".", violations)


ITEM: Rules = {"request_id": request_id, "spec": spec, "ref": text(REF_CHARACTERS_MAX)}


def item(value: job_service_pb2.SubmitJobsItem, prefix: str, violations: Violations) -> None:
    """One item of a bulk submit; also what SubmitJobRequest has in common with it."""
    if not value.HasField("spec"):
        violations.add(prefix + "spec", "is required")
    check_fields(value, ITEM, prefix, violations)
