"""QueueService: check, call, convert, return."""

from dataclasses import dataclass

from headrace.v1 import queue_pb2
from headrace.v1 import queue_service_pb2 as pb
from headrace_server.core.limits import (
    BACKOFF_MULTIPLIER_DEFAULT,
    INITIAL_BACKOFF_SECONDS_DEFAULT,
    MAX_ATTEMPTS_DEFAULT,
    MAX_BACKOFF_SECONDS_DEFAULT,
    PRIORITY_HEAD_START_SECONDS_DEFAULT,
    QUEUE_MAX_QUEUED_DEFAULT,
)
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.job_message import state_count
from headrace_server.rpc.new_job import namespace_of
from headrace_server.rpc.page_token import decode_page_token, encode_page_token, name_of, page_rows
from headrace_server.store.codec import set_time
from headrace_server.store.queue_policy import DEFAULT_QUEUE
from headrace_server.store.queues import StoredQueue, create_queue, get_queue, list_queues, not_found, update_queue
from headrace_server.store.store import Store


@dataclass(frozen=True, slots=True)
class QueueService:
    """The servicer of `headrace.v1.QueueService`."""

    store: Store

    async def create_queue(self, request: pb.CreateQueueRequest, call: Call) -> pb.CreateQueueResponse:
        namespace = namespace_of(request.namespace)
        request.queue.DiscardUnknownFields()
        made = await self.store.write(lambda ledger: create_queue(ledger, namespace, request.queue))
        return pb.CreateQueueResponse(queue=_message(_taken(made)))

    async def get_queue(self, request: pb.GetQueueRequest, call: Call) -> pb.GetQueueResponse:
        namespace = namespace_of(request.namespace)
        name = request.name or DEFAULT_QUEUE
        queue = await self.store.read(get_queue, namespace, name)
        if queue is None:
            raise Refused(not_found(namespace, name))
        return pb.GetQueueResponse(queue=_message(queue))

    async def list_queues(self, request: pb.ListQueuesRequest, call: Call) -> pb.ListQueuesResponse:
        namespace = namespace_of(request.namespace)
        count = page_rows(request.page_size)
        after = name_of(decode_page_token(request.page_token, "ListQueues", namespace))
        queues = await self.store.read(list_queues, namespace, after, count + 1)
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

        changed = await self.store.write(
            lambda ledger: update_queue(ledger, namespace, name, request.queue.etag, change)
        )
        return pb.UpdateQueueResponse(queue=_message(_taken(changed)))


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
    return message


def _fill_retry_policy(message: queue_pb2.Queue) -> None:
    policy = message.retry_policy
    policy.max_attempts = policy.max_attempts or MAX_ATTEMPTS_DEFAULT
    policy.backoff_multiplier = policy.backoff_multiplier or BACKOFF_MULTIPLIER_DEFAULT
    if not policy.HasField("initial_backoff"):
        policy.initial_backoff.FromMilliseconds(int(INITIAL_BACKOFF_SECONDS_DEFAULT * 1000))
    if not policy.HasField("max_backoff"):
        policy.max_backoff.FromMilliseconds(int(MAX_BACKOFF_SECONDS_DEFAULT * 1000))
