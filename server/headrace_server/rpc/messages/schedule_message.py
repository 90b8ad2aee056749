"""A schedule as the contract's message, with its defaults filled in, and its ticks."""

from collections.abc import Iterable

from headrace.v1 import schedule_pb2
from headrace.v1 import schedule_service_pb2 as pb
from headrace_server.core.firing import CATCH_UP_COUNT_DEFAULT, CATCH_UP_WINDOW_SECONDS_DEFAULT
from headrace_server.core.ids import Micros, job_id_text
from headrace_server.core.zones import local_text
from headrace_server.store.codec import number, set_time
from headrace_server.store.scheduling.schedules import StoredFiring, StoredSchedule


def schedule_message(schedule: StoredSchedule, firings: Iterable[StoredFiring] = ()) -> schedule_pb2.Schedule:
    """A schedule; `firings` newest first."""
    message = schedule_pb2.Schedule.FromString(schedule.body)
    message.name = schedule.name
    message.namespace = schedule.namespace
    message.etag = str(schedule.version)
    set_time(message.create_time, schedule.created)
    set_time(message.update_time, schedule.updated)
    message.time_zone = message.time_zone or "UTC"
    message.overlap = message.overlap or schedule_pb2.OVERLAP_SKIP
    _fill_catch_up(message.catch_up)
    if schedule.paused:
        message.pause.actor = schedule.pause_actor
        message.pause.reason = schedule.pause_reason
        set_time(message.pause.time, schedule.paused)
    if schedule.next_tick:
        set_time(message.next_time, schedule.next_tick)
    if schedule.last:
        set_time(message.last_time, schedule.last)
    message.firings.extend(_firing(firing) for firing in firings)
    return message


def previewed_tick(tick: Micros, fire_time: int, zone: str) -> pb.PreviewedTick:
    """A tick to come."""
    message = pb.PreviewedTick(local_time=local_text(zone or "UTC", tick))
    set_time(message.nominal_time, tick)
    set_time(message.fire_time, Micros(fire_time))
    return message


def _fill_catch_up(catch_up: schedule_pb2.CatchUp) -> None:
    catch_up.policy = catch_up.policy or schedule_pb2.CATCH_UP_POLICY_LAST
    if catch_up.policy == schedule_pb2.CATCH_UP_POLICY_ALL:
        catch_up.max_count = catch_up.max_count or CATCH_UP_COUNT_DEFAULT
        if not catch_up.HasField("window"):
            catch_up.window.seconds = CATCH_UP_WINDOW_SECONDS_DEFAULT


def _firing(firing: StoredFiring) -> schedule_pb2.Firing:
    message = schedule_pb2.Firing(
        outcome=number(firing.outcome),
        job_id=job_id_text(firing.job_id) if firing.job_id else "",
        catch_up=firing.catch_up,
        message=firing.message,
    )
    set_time(message.nominal_time, firing.nominal)
    set_time(message.time, firing.time)
    return message
