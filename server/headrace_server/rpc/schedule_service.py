"""ScheduleService: check, call, convert, return."""

from dataclasses import dataclass
from itertools import islice

from headrace.v1 import schedule_pb2
from headrace.v1 import schedule_service_pb2 as pb
from headrace_server.core.ids import Micros
from headrace_server.core.recurrence import TEN_YEARS_MICROS, ticks_between
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.checks import validate_schedule
from headrace_server.rpc.checks.violations import Violations
from headrace_server.rpc.messages.job_message import job_message
from headrace_server.rpc.messages.schedule_message import previewed_tick, schedule_message
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.page_token import LIST_BYTES_MAX, decode_page_token, encode_page_token, name_of, page_rows
from headrace_server.store.codec import time_of
from headrace_server.store.records import reads
from headrace_server.store.scheduling.schedules import (
    StoredSchedule,
    create_schedule,
    delete_schedule,
    get_schedule,
    list_schedules,
    not_found,
    pause_schedule,
    resume_schedule,
    rules_of,
    trigger_schedule,
    update_schedule,
)
from headrace_server.store.store import Store

PREVIEW_COUNT_DEFAULT = 10


@dataclass(frozen=True, slots=True)
class ScheduleService:
    """The servicer of `headrace.v1.ScheduleService`."""

    store: Store

    async def create_schedule(self, request: pb.CreateScheduleRequest, call: Call) -> pb.CreateScheduleResponse:
        namespace, actor = namespace_of(request.namespace), call.principal
        request.schedule.DiscardUnknownFields()
        made = await self.store.write(lambda ledger: create_schedule(ledger, namespace, request.schedule, actor))
        return pb.CreateScheduleResponse(schedule=schedule_message(_taken(made)))

    async def get_schedule(self, request: pb.GetScheduleRequest, call: Call) -> pb.GetScheduleResponse:
        namespace = namespace_of(request.namespace)
        found = await self.store.read(get_schedule, namespace, request.name)
        if found is None:
            raise Refused(not_found(namespace, request.name))
        return pb.GetScheduleResponse(schedule=schedule_message(*found))

    async def list_schedules(self, request: pb.ListSchedulesRequest, call: Call) -> pb.ListSchedulesResponse:
        namespace = namespace_of(request.namespace)
        count = page_rows(request.page_size)
        after = name_of(decode_page_token(request.page_token, "ListSchedules", namespace))
        schedules = await self.store.read(list_schedules, namespace, after, count + 1)
        response = pb.ListSchedulesResponse()
        size = 0
        for schedule in schedules[:count]:
            message = schedule_message(schedule)
            size += message.ByteSize()
            if response.schedules and size > LIST_BYTES_MAX:
                break
            response.schedules.append(message)
        taken = len(response.schedules)
        if taken < len(schedules):
            last = schedules[taken - 1].name
            response.next_page_token = encode_page_token((last,), "ListSchedules", namespace)
        return response

    async def update_schedule(self, request: pb.UpdateScheduleRequest, call: Call) -> pb.UpdateScheduleResponse:
        namespace, actor = namespace_of(request.namespace), call.principal
        wanted = request.schedule

        def change(message: schedule_pb2.Schedule, stored: StoredSchedule) -> Refusal | None:
            for path in request.update_mask.paths:
                message.ClearField(path)
            changed = schedule_pb2.Schedule()
            wanted.DiscardUnknownFields()
            request.update_mask.MergeMessage(wanted, changed)
            message.MergeFrom(changed)
            violations = Violations()
            validate_schedule.timing(message, "schedule", violations)
            return violations.refusal()

        changed = await self.store.write(
            lambda ledger: update_schedule(ledger, namespace, wanted.name, wanted.etag, change, actor)
        )
        return pb.UpdateScheduleResponse(schedule=schedule_message(_taken(changed)))

    async def delete_schedule(self, request: pb.DeleteScheduleRequest, call: Call) -> pb.DeleteScheduleResponse:
        namespace, actor = namespace_of(request.namespace), call.principal
        _taken(
            await self.store.write(lambda ledger: delete_schedule(ledger, namespace, request.name, request.etag, actor))
        )
        return pb.DeleteScheduleResponse()

    async def pause_schedule(self, request: pb.PauseScheduleRequest, call: Call) -> pb.PauseScheduleResponse:
        namespace, actor = namespace_of(request.namespace), call.principal
        paused = await self.store.write(
            lambda ledger: pause_schedule(ledger, namespace, request.name, actor, request.reason)
        )
        return pb.PauseScheduleResponse(schedule=schedule_message(_taken(paused)))

    async def resume_schedule(self, request: pb.ResumeScheduleRequest, call: Call) -> pb.ResumeScheduleResponse:
        namespace, actor = namespace_of(request.namespace), call.principal
        resumed = await self.store.write(lambda ledger: resume_schedule(ledger, namespace, request.name, actor))
        return pb.ResumeScheduleResponse(schedule=schedule_message(_taken(resumed)))

    async def trigger_schedule(self, request: pb.TriggerScheduleRequest, call: Call) -> pb.TriggerScheduleResponse:
        namespace, actor, traceparent = namespace_of(request.namespace), call.principal, call.traceparent
        answer = await self.store.write(
            lambda ledger: trigger_schedule(ledger, namespace, request.name, request.request_id, actor, traceparent)
        )
        if isinstance(answer, Refusal):
            raise Refused(answer)
        specs = await self.store.read(reads.get_specs, [answer.job])
        job = job_message(answer.job, specs.get(answer.job.row, b""), full=False)
        return pb.TriggerScheduleResponse(job=job, deduplicated=answer.deduplicated)

    async def preview_schedule(self, request: pb.PreviewScheduleRequest, call: Call) -> pb.PreviewScheduleResponse:
        namespace = namespace_of(request.namespace)
        now = self.store.now()
        start = time_of(request.start_time) if request.HasField("start_time") else now
        message, created, after = request.schedule, now, max(start - 1, 0)
        if request.WhichOneof("subject") == "name":
            found = await self.store.read(get_schedule, namespace, request.name)
            if found is None:
                raise Refused(not_found(namespace, request.name))
            schedule, _ = found
            message, created = schedule_pb2.Schedule.FromString(schedule.body), schedule.created
            after = max(after, schedule.started)
        rules = rules_of(message, namespace, created)
        within = ticks_between(rules.timing, Micros(after), Micros(start + TEN_YEARS_MICROS))
        ticks = islice(within, request.count or PREVIEW_COUNT_DEFAULT)
        return pb.PreviewScheduleResponse(
            ticks=[previewed_tick(tick, rules.fire_time(tick), message.time_zone) for tick in ticks]
        )


def _taken(answer: StoredSchedule | Refusal) -> StoredSchedule:
    if isinstance(answer, Refusal):
        raise Refused(answer)
    return answer
