"""The rules of a schedule: its timing and what goes with it, and the mask that says which of it to change."""

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import job_pb2, schedule_pb2, schedule_service_pb2
from headrace_server.core.firing import CATCH_UP_COUNT_MAX, CATCH_UP_WINDOW_SECONDS_MAX
from headrace_server.core.ids import Micros
from headrace_server.core.recurrence import BadTiming, Timing, parse_cron, parse_interval, shortest_gap
from headrace_server.core.zones import is_zone
from headrace_server.rpc.checks import validate_job
from headrace_server.rpc.checks.update_masks import NamedFields
from headrace_server.rpc.checks.violations import (
    DURATION_SECONDS_MAX,
    Rules,
    Violations,
    anything,
    between,
    check_fields,
    duration,
    duration_above_zero,
    enum,
    message_of,
    queue_name,
    timestamp,
)
from headrace_server.store.codec import micros_of

PREVIEW_COUNT_MAX = 100
GAPS_LOOKED_AT_COUNT = 100
"""Ticks of a cron expression that its jitter is compared with."""

FIELDS = NamedFields(
    updatable=frozenset({"cron", "interval", "time_zone", "spec", "catch_up", "overlap", "jitter"}),
    fixed=frozenset({"name"}),
    output_only=frozenset(
        {"namespace", "etag", "create_time", "update_time", "pause", "next_time", "last_time", "firings"}
    ),
)

_COUNTED_FROM = Micros(1_700_000_000_000_000)
"""Gaps are measured from a time that is always the same, so that what is accepted once is accepted again."""


def spec(value: job_pb2.JobSpec, path: str, violations: Violations) -> None:
    """As of a submitted job, except that each tick says when."""
    validate_job.spec(value, path, violations)
    if value.HasField("schedule_time"):
        violations.add(path + ".schedule_time", "has to be unset: each tick says when its job is made")
    for index, dependency in enumerate(value.dependencies):
        if dependency.ref:
            violations.add(f"{path}.dependencies[{index}].ref", "names an item of a call; a schedule has none")


def window(value: Duration, path: str, violations: Violations) -> None:
    """How far back missed ticks are made up for."""
    duration_above_zero(value, path, violations)
    if value.seconds > CATCH_UP_WINDOW_SECONDS_MAX:
        violations.add(path, f"has {value.seconds} s; at most {CATCH_UP_WINDOW_SECONDS_MAX} (31 days) are allowed")


def interval(value: Duration, path: str, violations: Violations) -> None:
    """How far apart ticks are; that it is a second at least is said by `timing`."""
    if value.seconds > DURATION_SECONDS_MAX:
        violations.add(path, f"has {value.seconds} s; it has to be from 1 to {DURATION_SECONDS_MAX} (ten years)")
    else:
        duration(value, path, violations)


CATCH_UP: Rules = {
    "policy": enum(schedule_pb2.CatchUpPolicy),
    "window": window,
    "max_count": between(0, CATCH_UP_COUNT_MAX),
}
SCHEDULE: Rules = {
    "name": queue_name,
    "cron": anything,
    "interval": interval,
    "time_zone": anything,
    "spec": spec,
    "catch_up": message_of(CATCH_UP),
    "overlap": enum(schedule_pb2.Overlap),
    "jitter": duration,
    **dict.fromkeys(FIELDS.output_only, anything),
}
"""Fields on their own; cron, interval, time zone and jitter are looked at together by `timing`."""
PREVIEW: Rules = {
    "namespace": queue_name,
    "name": queue_name,
    "schedule": anything,
    "start_time": timestamp,
    "count": between(0, PREVIEW_COUNT_MAX),
}


def timing(value: schedule_pb2.Schedule, path: str, violations: Violations) -> None:
    """When it ticks, and that its jitter is shorter than the time between two ticks."""
    if value.time_zone and not is_zone(value.time_zone):
        violations.add(path + ".time_zone", "has to be the name of an IANA time zone, e.g. Europe/Berlin")
        return
    kind = value.WhichOneof("timing")
    if kind is None:
        violations.add(path + ".timing", "is required: one of cron, interval")
        return
    try:
        read: Timing = (
            parse_cron(value.cron, value.time_zone)
            if kind == "cron"
            else parse_interval(micros_of(value.interval), _COUNTED_FROM)
        )
    except BadTiming as error:
        violations.add(f"{path}.{kind}", str(error))
        return
    if value.jitter.seconds or value.jitter.nanos:
        gap = shortest_gap(read, _COUNTED_FROM, GAPS_LOOKED_AT_COUNT)
        if gap is not None and micros_of(value.jitter) >= gap:
            violations.add(
                path + ".jitter", f"has to be less than the time between two ticks, which is {gap / 1e6:g} s"
            )


def created_schedule(value: schedule_pb2.Schedule, path: str, violations: Violations) -> None:
    """A schedule to be made: it has a name, a timing and a job, and nothing that only the server sets."""
    FIELDS.check_created(value, path, SCHEDULE, violations)
    if not value.HasField("spec"):
        violations.add(path + ".spec", "is required")
    timing(value, path, violations)


def update(request: schedule_service_pb2.UpdateScheduleRequest, violations: Violations) -> None:
    """The mask names fields that can change; only these are looked at. How they fit with what stays is looked at once
    that is known: `changed_schedule`."""
    FIELDS.check_updated(request.schedule, "schedule", SCHEDULE, request.update_mask, violations)
    if "spec" in request.update_mask.paths and not request.schedule.HasField("spec"):
        violations.add("schedule.spec", "is required")


def preview(request: schedule_service_pb2.PreviewScheduleRequest, violations: Violations) -> None:
    """A schedule that is there, or the timing of one that is not."""
    check_fields(request, PREVIEW, "", violations)
    subject = request.WhichOneof("subject")
    if subject is None:
        violations.add("name", "is required, or schedule")
    elif subject == "schedule":
        if request.schedule.HasField("interval"):
            interval(request.schedule.interval, "schedule.interval", violations)
        duration(request.schedule.jitter, "schedule.jitter", violations)
        if not violations.found:
            timing(request.schedule, "schedule", violations)
