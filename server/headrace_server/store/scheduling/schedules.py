"""Schedules as a resource: made, changed, paused, triggered, removed. What they do at their ticks is `firings.py`.

The schedule is kept as the contract's message with what somebody asked for; what the server knows of it is in columns.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from google.protobuf import text_format
from google.protobuf.field_mask_pb2 import FieldMask

from headrace.v1 import schedule_pb2
from headrace_server.core.firing import (
    CATCH_UP_COUNT_DEFAULT,
    CATCH_UP_WINDOW_SECONDS_DEFAULT,
    CatchUp,
    CatchUpPolicy,
    FiringOutcome,
    Overlap,
    jitter_of,
)
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import Origin
from headrace_server.core.recurrence import Timing, next_tick, parse_cron, parse_interval
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.codec import micros_of
from headrace_server.store.engine import Connection, Row
from headrace_server.store.etags import stale_etag
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.submit import Accepted, NewJob, check_each, submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit

SHOWN_FIRINGS_COUNT_MAX = 20

Change = Callable[[schedule_pb2.Schedule, "StoredSchedule"], Refusal | None]
"""Changes the message of a schedule, or says why it can't be changed so."""

_NEVER = frozenset({Reason.NOT_FOUND, Reason.EXECUTOR_NOT_TAKEN, Reason.INVALID_FIELD})
"""Refusals of a job that would be the same at every tick."""


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """A schedule as it is in the store; `body` has no output-only fields, and defaults are filled in only in its
    spec. A time that never was is zero."""

    row: int
    namespace: str
    name: str
    queue: str
    body: bytes
    version: int
    actor: str
    """Who made it: the owner of its jobs, and who is said to have made them."""
    created: Micros
    updated: Micros
    paused: Micros
    """Since when."""
    pause_actor: str
    pause_reason: str
    started: Micros
    """There are no ticks up to it: it was created then, or its timing was changed."""
    missed_until: Micros
    """What was due by then was missed, because it was paused."""
    last: Micros
    """The last tick that was dealt with."""
    buffered: Micros
    """The tick that waits for a job to end."""
    next_tick: Micros
    """The first tick that was not dealt with; none while it is paused."""
    wake: Micros
    """When a cycle has to look at it."""

    @property
    def cursor(self) -> Micros:
        """Ticks up to it are done with."""
        return max(self.started, self.last)


@dataclass(frozen=True, slots=True)
class StoredFiring:
    """What became of a tick."""

    nominal: Micros
    time: Micros
    outcome: FiringOutcome
    job_id: JobId
    """Empty when there is no job."""
    catch_up: bool
    message: str


@dataclass(frozen=True, slots=True)
class ScheduleRules:
    """What a schedule's message says, read out."""

    timing: Timing
    catch_up: CatchUp
    overlap: Overlap
    jitter_micros: int
    full_name: str

    def fire_time(self, tick: Micros) -> int:
        """When the job of a tick is made."""
        return tick + jitter_of(self.full_name, tick, self.jitter_micros)


COLUMNS = ("schedule", *(field.name for field in fields(StoredSchedule) if field.name != "row"))
SELECT = f"SELECT {', '.join(COLUMNS)} FROM schedules"


def schedule_of(row: Row) -> StoredSchedule:
    """Reads a row of `SELECT`."""
    return StoredSchedule(*row)


def rules_of(message: schedule_pb2.Schedule, namespace: str, created: Micros) -> ScheduleRules:
    """The rules of a schedule; raises BadTiming, which one that was checked does only after time zones have changed."""
    timing: Timing
    if message.HasField("interval"):
        timing = parse_interval(micros_of(message.interval), created)
    else:
        timing = parse_cron(message.cron, message.time_zone)
    catch_up = message.catch_up
    window = micros_of(catch_up.window) if catch_up.HasField("window") else CATCH_UP_WINDOW_SECONDS_DEFAULT * SECOND
    return ScheduleRules(
        timing,
        CatchUp(
            CatchUpPolicy(catch_up.policy or CatchUpPolicy.LAST), window, catch_up.max_count or CATCH_UP_COUNT_DEFAULT
        ),
        Overlap(message.overlap or Overlap.SKIP),
        micros_of(message.jitter),
        f"{namespace}/{message.name}",
    )


def find_schedule(read: Callable[..., list[Row]], namespace: str, name: str) -> StoredSchedule | None:
    """A schedule, or None."""
    found = read(f"{SELECT} WHERE namespace = ? AND name = ?", (namespace, name))
    return schedule_of(found[0]) if found else None


def create_schedule(
    ledger: Ledger, namespace: str, message: schedule_pb2.Schedule, actor: str
) -> StoredSchedule | Refusal:
    """Makes a schedule. Its first tick is the first one after now."""
    name = message.name
    if find_schedule(ledger.look_up, namespace, name) is not None:
        why = f"there is a schedule {name!r} in namespace {namespace!r} already; change it with UpdateSchedule"
        return Refusal(Reason.NAME_TAKEN, why, "headrace.v1.Schedule", name)
    new = job_of(message, namespace, actor)
    refusal = _refused_always(ledger, new)
    if refusal is not None:
        return refusal
    now, never = ledger.now, Micros(0)
    schedule = StoredSchedule(
        row=ledger.next_number("schedule"),
        namespace=namespace,
        name=name,
        queue=new.queue,
        body=message.SerializeToString(deterministic=True),
        version=1,
        actor=actor,
        created=now,
        updated=now,
        paused=never,
        pause_actor="",
        pause_reason="",
        started=now,
        missed_until=never,
        last=never,
        buffered=never,
        next_tick=never,
        wake=never,
    )
    _audit(ledger, schedule, actor, "CreateSchedule", _changes(schedule_pb2.Schedule(name=name), message))
    return store_schedule(ledger, woken(ledger, schedule))


def update_schedule(
    ledger: Ledger, namespace: str, name: str, etag: str, change: Change, actor: str
) -> StoredSchedule | Refusal:
    """Changes a schedule when its etag, if one is given, still matches. A new timing holds from now on; `change` may
    refuse."""
    schedule = _matching(ledger, namespace, name, etag)
    if isinstance(schedule, Refusal):
        return schedule
    before = schedule_pb2.Schedule.FromString(schedule.body)
    message = schedule_pb2.Schedule.FromString(schedule.body)
    refusal = change(message, schedule)
    if refusal is not None:
        return refusal
    new = job_of(message, namespace, schedule.actor)
    refusal = _refused_always(ledger, new) if message.spec != before.spec else None
    if refusal is not None:
        return refusal
    changed = replace(
        schedule,
        queue=new.queue,
        body=message.SerializeToString(deterministic=True),
        version=schedule.version + 1,
        updated=ledger.now,
        started=schedule.started if _timing(message) == _timing(before) else ledger.now,
    )
    _audit(ledger, schedule, actor, "UpdateSchedule", _changes(before, message))
    return store_schedule(ledger, _looked_at(ledger, changed))


def delete_schedule(ledger: Ledger, namespace: str, name: str, etag: str, actor: str) -> StoredSchedule | Refusal:
    """Removes a schedule; returns it as it was. The jobs that it made stay."""
    schedule = _matching(ledger, namespace, name, etag)
    if isinstance(schedule, Refusal):
        return schedule
    ledger.run("DELETE FROM firings WHERE schedule = ?", (schedule.row,))
    ledger.run("DELETE FROM schedules WHERE schedule = ?", (schedule.row,))
    _audit(ledger, schedule, actor, "DeleteSchedule", "")
    return schedule


def pause_schedule(ledger: Ledger, namespace: str, name: str, actor: str, reason: str) -> StoredSchedule | Refusal:
    """Has a schedule make no jobs; a paused one gets the new reason."""
    schedule = _matching(ledger, namespace, name)
    if isinstance(schedule, Refusal):
        return schedule
    _audit(ledger, schedule, actor, "PauseSchedule", reason)
    return store_schedule(ledger, paused(schedule, ledger.now, actor, reason))


def paused(schedule: StoredSchedule, now: Micros, actor: str, reason: str) -> StoredSchedule:
    """The schedule with a pause."""
    return replace(
        schedule,
        version=schedule.version + 1,
        updated=now,
        paused=now,
        pause_actor=actor,
        pause_reason=reason,
        next_tick=Micros(0),
        wake=Micros(0),
    )


def resume_schedule(ledger: Ledger, namespace: str, name: str, actor: str) -> StoredSchedule | Refusal:
    """Has a schedule make jobs again; what was due since the pause was missed."""
    schedule = _matching(ledger, namespace, name)
    if isinstance(schedule, Refusal) or not schedule.paused:
        return schedule
    _audit(ledger, schedule, actor, "ResumeSchedule", "")
    resumed = replace(
        schedule,
        version=schedule.version + 1,
        updated=ledger.now,
        paused=Micros(0),
        pause_actor="",
        pause_reason="",
        missed_until=ledger.now,
    )
    return store_schedule(ledger, _looked_at(ledger, resumed))


def _looked_at(ledger: Ledger, schedule: StoredSchedule) -> StoredSchedule:
    """The schedule with its next tick; a job that a buffered tick waits for may have ended, so the next cycle looks."""
    schedule = woken(ledger, schedule)
    return replace(schedule, wake=ledger.now) if schedule.buffered and not schedule.paused else schedule


def trigger_schedule(
    ledger: Ledger, namespace: str, name: str, request_id: str, actor: str, traceparent: str
) -> Accepted | Refusal:
    """Makes the schedule's job now, besides its ticks. Idempotent by name, also after the schedule was changed."""
    schedule = _matching(ledger, namespace, name)
    if isinstance(schedule, Refusal):
        return schedule
    new = job_of(schedule_pb2.Schedule.FromString(schedule.body), namespace, schedule.actor)
    fingerprint = b"\x01trigger " + name.encode() if request_id else b""
    new = replace(
        new,
        request_id=request_id,
        fingerprint=fingerprint,
        actor=actor,
        traceparent=traceparent,
        origin=Origin(schedule=name),
    )
    answer = submit_each(ledger, [new])[0]
    if isinstance(answer, Accepted) and not answer.deduplicated:
        _audit(ledger, schedule, actor, "TriggerSchedule", f"job {job_id_text(answer.job.id)}")
    return answer


def list_schedules(connection: Connection, namespace: str, after: str, count: int) -> list[StoredSchedule]:
    """Schedules by name, from right after a name."""
    found = connection.rows(
        f"{SELECT} WHERE namespace = ? AND name > ? ORDER BY name LIMIT ?", (namespace, after, count)
    )
    return [schedule_of(row) for row in found]


def get_schedule(connection: Connection, namespace: str, name: str) -> tuple[StoredSchedule, list[StoredFiring]] | None:
    """A schedule with what became of its latest ticks, newest first; None when there is none."""
    schedule = find_schedule(connection.rows, namespace, name)
    if schedule is None:
        return None
    found = connection.rows(
        "SELECT nominal, time, outcome, job_id, catch_up, message FROM firings WHERE schedule = ?"
        " ORDER BY nominal DESC LIMIT ?",
        (schedule.row, SHOWN_FIRINGS_COUNT_MAX),
    )
    firings = [
        StoredFiring(nominal, time, FiringOutcome(outcome), JobId(bytes(job_id)), bool(catch_up), message)
        for nominal, time, outcome, job_id, catch_up, message in found
    ]
    return schedule, firings


def not_found(namespace: str, name: str) -> Refusal:
    """There is no such schedule."""
    why = f"there is no schedule {name!r} in namespace {namespace!r}"
    return Refusal(Reason.NOT_FOUND, why, "headrace.v1.Schedule", name)


def job_of(message: schedule_pb2.Schedule, namespace: str, actor: str) -> NewJob:
    """The job that each tick makes, without its origin. Its owner is the schedule's actor unless the spec names one."""
    return new_job(namespace, "", message.spec, actor, "")


def woken(ledger: Ledger, schedule: StoredSchedule, rules: ScheduleRules | None = None) -> StoredSchedule:
    """The schedule with its next tick and the time of its next look: the tick and its jitter, never before now."""
    if rules is None:
        rules = rules_of(schedule_pb2.Schedule.FromString(schedule.body), schedule.namespace, schedule.created)
    tick = None if schedule.paused else next_tick(rules.timing, schedule.cursor)
    if tick is None:
        return replace(schedule, next_tick=Micros(0), wake=Micros(0))
    return replace(schedule, next_tick=tick, wake=Micros(max(rules.fire_time(tick), ledger.now)))


def store_schedule(ledger: Ledger, schedule: StoredSchedule) -> StoredSchedule:
    """Writes a schedule, and tells the scheduler when to look at it."""
    values = (schedule.row, *(getattr(schedule, column) for column in COLUMNS[1:]))
    changes = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])
    ledger.insert("schedules", COLUMNS, [values], f"ON CONFLICT (schedule) DO UPDATE SET {changes}")
    _ask_for_look(ledger, schedule)
    return schedule


def store_ticks(ledger: Ledger, schedule: StoredSchedule) -> None:
    """Writes what ticks change of a schedule, and tells the scheduler when to look at it."""
    ledger.run(
        "UPDATE schedules SET last = ?, buffered = ?, next_tick = ?, wake = ? WHERE schedule = ?",
        (schedule.last, schedule.buffered, schedule.next_tick, schedule.wake, schedule.row),
    )
    _ask_for_look(ledger, schedule)


def _ask_for_look(ledger: Ledger, schedule: StoredSchedule) -> None:
    if schedule.wake:
        ledger.effects.next_due = min(schedule.wake, ledger.effects.next_due or schedule.wake)


def _timing(message: schedule_pb2.Schedule) -> tuple[str, int, str]:
    """What decides about its ticks: whoever changes it begins anew."""
    return message.cron, micros_of(message.interval), message.time_zone or "UTC"


def _audit(ledger: Ledger, schedule: StoredSchedule, actor: str, rpc: str, detail: str) -> None:
    action = f"ScheduleService.{rpc}"
    record_audit(ledger, actor, action, schedule.namespace, "schedule", schedule.name, detail)


def _changes(before: schedule_pb2.Schedule, after: schedule_pb2.Schedule) -> str:
    """For people: what each field that is another was and is."""
    names = sorted({field.name for message in (before, after) for field, _ in message.ListFields()})
    values = [(name, _value(before, name), _value(after, name)) for name in names]
    return "; ".join(f"{name}: {was} → {is_now}" for name, was, is_now in values if was != is_now)


def _value(message: schedule_pb2.Schedule, name: str) -> str:
    alone = schedule_pb2.Schedule()
    FieldMask(paths=[name]).MergeMessage(message, alone)
    text = text_format.MessageToString(alone, as_one_line=True).strip()
    return text.removeprefix(f"{name}: ").removeprefix(f"{name} ") or "unset"


def _matching(ledger: Ledger, namespace: str, name: str, etag: str = "") -> StoredSchedule | Refusal:
    schedule = find_schedule(ledger.look_up, namespace, name)
    if schedule is None:
        return not_found(namespace, name)
    return stale_etag("Schedule", name, schedule.version, etag) or schedule


def _refused_always(ledger: Ledger, new: NewJob) -> Refusal | None:
    """Why no tick could ever make its job, e.g. because there is no such queue (S6)."""
    refusal = check_each(ledger, [new])[0]
    return refusal if refusal is not None and refusal.reason in _NEVER else None
