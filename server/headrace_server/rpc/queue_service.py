"""QueueService: check, call, convert, return."""

from dataclasses import dataclass

from headrace.v1 import queue_pb2
from headrace.v1 import queue_service_pb2 as pb
from headrace_server.core.ids import SECOND
from headrace_server.core.limits import (
    BACKOFF_MULTIPLIER_DEFAULT,
    INITIAL_BACKOFF_SECONDS_DEFAULT,
    MAX_ATTEMPTS_DEFAULT,
    MAX_BACKOFF_SECONDS_DEFAULT,
    MAX_SNOOZES_DEFAULT,
    PRIORITY_HEAD_START_SECONDS_DEFAULT,
    QUEUE_MAX_QUEUED_DEFAULT,
    STATISTICS_SECONDS_DEFAULT,
)
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.messages.job_message import state_count
from headrace_server.rpc.messages.statistics_message import statistics_message
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.page_token import decode_page_token, encode_page_token, name_of, page_rows
from headrace_server.runtime.statistics import Statistics
from headrace_server.store.codec import micros_of, set_time
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_control import Purged, check_purge, purge_queue, resume_queue, stop_queue
from headrace_server.store.queueing.queue_policy import DEFAULT_QUEUE
from headrace_server.store.queueing.queue_stops import Stop, StopKind
from headrace_server.store.queueing.queues import (
    StoredQueue,
    create_queue,
    delete_queue,
    get_queue,
    list_queues,
    not_found,
    update_queue,
)
from headrace_server.store.records.statistics import oldest_queued
from headrace_server.store.store import Store


@dataclass(frozen=True, slots=True)
class QueueService:
    """The servicer of `headrace.v1.QueueService`."""

    store: Store
    statistics: Statistics

    async def create_queue(self, request: pb.CreateQueueRequest, call: Call) -> pb.CreateQueueResponse:
        namespace = namespace_of(request.namespace)
        request.queue.DiscardUnknownFields()
        made = await self.store.write(lambda ledger: create_queue(ledger, namespace, request.queue, call.principal))
        return pb.CreateQueueResponse(queue=_message(_taken(made)))

    async def get_queue(self, request: pb.GetQueueRequest, call: Call) -> pb.GetQueueResponse:
        namespace = namespace_of(request.namespace)
        name = request.name or DEFAULT_QUEUE
        queue = await self.store.read(get_queue, namespace, name, self.store.now())
        if queue is None:
            raise Refused(not_found(namespace, name))
        return pb.GetQueueResponse(queue=_message(queue))

    async def list_queues(self, request: pb.ListQueuesRequest, call: Call) -> pb.ListQueuesResponse:
        namespace = namespace_of(request.namespace)
        count = page_rows(request.page_size)
        after = name_of(decode_page_token(request.page_token, "ListQueues", namespace))
        queues = await self.store.read(list_queues, namespace, after, count + 1, self.store.now())
        response = pb.ListQueuesResponse(queues=[_message(queue) for queue in queues[:count]])
        if len(queues) > count:
            response.next_page_token = encode_page_token((queues[count - 1].name,), "ListQueues", namespace)
        return response

    async def update_queue(self, request: pb.UpdateQueueRequest, call: Call) -> pb.UpdateQueueResponse:
        namespace = namespace_of(request.namespace)
        name = request.queue.name or DEFAULT_QUEUE

        def change(body: queue_pb2.Queue) -> None:
            for path in request.update_mask.paths:
                body.ClearField(path)
            changed = queue_pb2.Queue()
            request.queue.DiscardUnknownFields()
            request.update_mask.MergeMessage(request.queue, changed)
            body.MergeFrom(changed)

        fields = tuple(request.update_mask.paths)
        changed = await self.store.write(
            lambda ledger: update_queue(ledger, namespace, name, request.queue.etag, change, fields, call.principal)
        )
        return pb.UpdateQueueResponse(queue=_message(_taken(changed)))

    async def delete_queue(self, request: pb.DeleteQueueRequest, call: Call) -> pb.DeleteQueueResponse:
        namespace = namespace_of(request.namespace)
        refusal = await self.store.write(
            lambda ledger: delete_queue(ledger, namespace, request.name, request.etag, call.principal)
        )
        if refusal is not None:
            raise Refused(refusal)
        return pb.DeleteQueueResponse()

    async def pause_queue(self, request: pb.PauseQueueRequest, call: Call) -> pb.PauseQueueResponse:
        length = micros_of(request.duration) if request.HasField("duration") else None
        return pb.PauseQueueResponse(queue=await self._stop(StopKind.PAUSE, request, length, call))

    async def drain_queue(self, request: pb.DrainQueueRequest, call: Call) -> pb.DrainQueueResponse:
        length = micros_of(request.grace) if request.HasField("grace") else None
        return pb.DrainQueueResponse(queue=await self._stop(StopKind.DRAIN, request, length, call))

    async def _stop(
        self,
        kind: StopKind,
        request: pb.PauseQueueRequest | pb.DrainQueueRequest,
        length: int | None,
        call: Call,
    ) -> queue_pb2.Queue:
        namespace = namespace_of(request.namespace)
        name = request.name or DEFAULT_QUEUE
        stopped = await self.store.write(
            lambda ledger: stop_queue(ledger, namespace, name, kind, request.reason, length, call.principal)
        )
        return _message(_taken(stopped))

    async def resume_queue(self, request: pb.ResumeQueueRequest, call: Call) -> pb.ResumeQueueResponse:
        namespace = namespace_of(request.namespace)
        name = request.name or DEFAULT_QUEUE
        resumed = await self.store.write(lambda ledger: resume_queue(ledger, namespace, name, call.principal))
        return pb.ResumeQueueResponse(queue=_message(_taken(resumed)))

    async def purge_queue(self, request: pb.PurgeQueueRequest, call: Call) -> pb.PurgeQueueResponse:
        namespace = namespace_of(request.namespace)

        def purge(ledger: Ledger) -> Purged | Refusal:
            if request.validate_only:
                return check_purge(ledger, namespace, request.name)
            return purge_queue(ledger, namespace, request.name, request.reason, call.principal)

        purged = await self.store.write(purge)
        if isinstance(purged, Refusal):
            raise Refused(purged)
        return pb.PurgeQueueResponse(cancelled_count=purged.cancelled, remaining_count=purged.remaining)

    async def get_queue_statistics(
        self, request: pb.GetQueueStatisticsRequest, call: Call
    ) -> pb.GetQueueStatisticsResponse:
        namespace = namespace_of(request.namespace)
        name = request.name or DEFAULT_QUEUE
        queue = await self.store.read(get_queue, namespace, name, self.store.now())
        if queue is None:
            raise Refused(not_found(namespace, name))
        asked = micros_of(request.window) / SECOND if request.HasField("window") else STATISTICS_SECONDS_DEFAULT
        window = await self.statistics.window(namespace, name, asked, queue.created)
        oldest = await self.store.read(oldest_queued, namespace, name)
        return pb.GetQueueStatisticsResponse(statistics=statistics_message(queue, window, oldest))


def _taken(answer: StoredQueue | Refusal) -> StoredQueue:
    if isinstance(answer, Refusal):
        raise Refused(answer)
    return answer


def _message(queue: StoredQueue) -> queue_pb2.Queue:
    """A queue with its defaults filled in."""
    message = queue_pb2.Queue()
    message.CopyFrom(queue.body)
    message.name = queue.name
    message.namespace = queue.namespace
    message.etag = str(queue.version)
    if queue.created:
        set_time(message.create_time, queue.created)
    if queue.updated:
        set_time(message.update_time, queue.updated)
    message.max_queued = message.max_queued or QUEUE_MAX_QUEUED_DEFAULT
    if not message.HasField("priority_head_start"):
        message.priority_head_start.FromMilliseconds(int(PRIORITY_HEAD_START_SECONDS_DEFAULT * 1000))
    if message.HasField("retry_policy"):
        _fill_retry_policy(message)
    message.state_counts.extend(state_count(state, jobs) for state, jobs in queue.state_counts)
    _tell_stops(message, queue.stop)
    return message


def _tell_stops(message: queue_pb2.Queue, stop: Stop) -> None:
    for order, field, end in (
        (stop.pause, message.pause, "expire_time"),
        (stop.drain, message.drain, "return_time"),
    ):
        if order is None:
            continue
        field.actor = order.actor
        field.reason = order.reason
        set_time(field.time, order.time)
        if order.until:
            set_time(getattr(field, end), order.until)


def _fill_retry_policy(message: queue_pb2.Queue) -> None:
    policy = message.retry_policy
    policy.max_attempts = policy.max_attempts or MAX_ATTEMPTS_DEFAULT
    policy.backoff_multiplier = policy.backoff_multiplier or BACKOFF_MULTIPLIER_DEFAULT
    if not policy.HasField("max_snoozes"):
        policy.max_snoozes = MAX_SNOOZES_DEFAULT
    if not policy.HasField("initial_backoff"):
        policy.initial_backoff.FromMilliseconds(int(INITIAL_BACKOFF_SECONDS_DEFAULT * 1000))
    if not policy.HasField("max_backoff"):
        policy.max_backoff.FromMilliseconds(int(MAX_BACKOFF_SECONDS_DEFAULT * 1000))
