"""The calls of ScheduleService."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.field_mask_pb2 import FieldMask

from headrace import policies, tasks
from headrace.calls.call import Call, Page, new_request_id
from headrace.policies import ScheduleOptions
from headrace.v1 import job_pb2, schedule_pb2, schedule_service_pb2

Work = tasks.Task | job_pb2.JobSpec
"""What each tick does."""


def create(namespace: str, name: str, work: Work, options: ScheduleOptions) -> Call[schedule_pb2.Schedule]:
    schedule = policies.schedule(name, tasks.spec(work), **options)
    request = schedule_service_pb2.CreateScheduleRequest(namespace=namespace, schedule=schedule)
    return Call(lambda s: s.schedules.CreateSchedule, request, lambda response: response.schedule)


def get(namespace: str, name: str) -> Call[schedule_pb2.Schedule]:
    request = schedule_service_pb2.GetScheduleRequest(namespace=namespace, name=name)
    return Call(lambda s: s.schedules.GetSchedule, request, lambda response: response.schedule)


def page(namespace: str, page_size: int, page_token: str) -> Call[Page[schedule_pb2.Schedule]]:
    request = schedule_service_pb2.ListSchedulesRequest(namespace=namespace, page_size=page_size, page_token=page_token)
    return Call(
        lambda s: s.schedules.ListSchedules,
        request,
        lambda response: Page(response.schedules, response.next_page_token),
    )


def update(
    namespace: str, name: str, work: Work | None, etag: str, options: ScheduleOptions
) -> Call[schedule_pb2.Schedule]:
    schedule = policies.schedule(name, None if work is None else tasks.spec(work), **options)
    schedule.etag = etag
    paths = [*options, *([] if work is None else ["spec"])]
    request = schedule_service_pb2.UpdateScheduleRequest(
        namespace=namespace, schedule=schedule, update_mask=FieldMask(paths=paths)
    )
    return Call(lambda s: s.schedules.UpdateSchedule, request, lambda response: response.schedule)


def delete(namespace: str, name: str, etag: str) -> Call[None]:
    request = schedule_service_pb2.DeleteScheduleRequest(namespace=namespace, name=name, etag=etag)
    return Call(lambda s: s.schedules.DeleteSchedule, request, lambda response: None)


def pause(namespace: str, name: str, reason: str) -> Call[schedule_pb2.Schedule]:
    request = schedule_service_pb2.PauseScheduleRequest(namespace=namespace, name=name, reason=reason)
    return Call(lambda s: s.schedules.PauseSchedule, request, lambda response: response.schedule)


def resume(namespace: str, name: str) -> Call[schedule_pb2.Schedule]:
    request = schedule_service_pb2.ResumeScheduleRequest(namespace=namespace, name=name)
    return Call(lambda s: s.schedules.ResumeSchedule, request, lambda response: response.schedule)


def trigger(namespace: str, name: str, request_id: str | None) -> Call[schedule_service_pb2.TriggerScheduleResponse]:
    request = schedule_service_pb2.TriggerScheduleRequest(
        namespace=namespace, name=name, request_id=new_request_id() if request_id is None else request_id
    )
    return Call(lambda s: s.schedules.TriggerSchedule, request, lambda response: response)


def preview(
    namespace: str, subject: str | schedule_pb2.Schedule, start: datetime | None, count: int
) -> Call[list[schedule_service_pb2.PreviewedTick]]:
    request = schedule_service_pb2.PreviewScheduleRequest(
        namespace=namespace, start_time=None if start is None else tasks.timestamp(start), count=count
    )
    if isinstance(subject, str):
        request.name = subject
    else:
        request.schedule.CopyFrom(subject)
    return Call(lambda s: s.schedules.PreviewSchedule, request, lambda response: list(response.ticks))
