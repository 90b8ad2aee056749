"""The calls of QueueService."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from headrace import policies
from headrace.calls.call import Call, Page
from headrace.policies import QueuePolicy, Seconds
from headrace.v1 import queue_pb2, queue_service_pb2


def create(namespace: str, queue: queue_pb2.Queue | str, policy: QueuePolicy) -> Call[queue_pb2.Queue]:
    made = policies.queue(queue if isinstance(queue, str) else "", **policy)
    if not isinstance(queue, str):
        made.MergeFrom(queue)
    request = queue_service_pb2.CreateQueueRequest(namespace=namespace, queue=made)
    return Call(lambda s: s.queues.CreateQueue, request, lambda response: response.queue)


def get(namespace: str, name: str) -> Call[queue_pb2.Queue]:
    request = queue_service_pb2.GetQueueRequest(namespace=namespace, name=name)
    return Call(lambda s: s.queues.GetQueue, request, lambda response: response.queue)


def page(namespace: str, page_size: int, page_token: str) -> Call[Page[queue_pb2.Queue]]:
    request = queue_service_pb2.ListQueuesRequest(namespace=namespace, page_size=page_size, page_token=page_token)
    return Call(
        lambda s: s.queues.ListQueues, request, lambda response: Page(response.queues, response.next_page_token)
    )


def update(
    namespace: str, queue: queue_pb2.Queue | str, paths: Sequence[str], etag: str, policy: QueuePolicy
) -> Call[queue_pb2.Queue]:
    changes = policies.queue(queue if isinstance(queue, str) else "", **policy)
    if not isinstance(queue, str):
        changes.MergeFrom(queue)
    changes.etag = etag or changes.etag
    request = queue_service_pb2.UpdateQueueRequest(
        namespace=namespace, queue=changes, update_mask=FieldMask(paths=[*paths, *policy])
    )
    return Call(lambda s: s.queues.UpdateQueue, request, lambda response: response.queue)


def delete(namespace: str, name: str, etag: str) -> Call[None]:
    request = queue_service_pb2.DeleteQueueRequest(namespace=namespace, name=name, etag=etag)
    return Call(lambda s: s.queues.DeleteQueue, request, lambda response: None)


def pause(namespace: str, name: str, reason: str, duration: Seconds | None) -> Call[queue_pb2.Queue]:
    request = queue_service_pb2.PauseQueueRequest(
        namespace=namespace, name=name, reason=reason, duration=policies.optional_duration(duration)
    )
    return Call(lambda s: s.queues.PauseQueue, request, lambda response: response.queue)


def resume(namespace: str, name: str) -> Call[queue_pb2.Queue]:
    request = queue_service_pb2.ResumeQueueRequest(namespace=namespace, name=name)
    return Call(lambda s: s.queues.ResumeQueue, request, lambda response: response.queue)


def drain(namespace: str, name: str, reason: str, grace: Seconds | None) -> Call[queue_pb2.Queue]:
    request = queue_service_pb2.DrainQueueRequest(
        namespace=namespace, name=name, reason=reason, grace=policies.optional_duration(grace)
    )
    return Call(lambda s: s.queues.DrainQueue, request, lambda response: response.queue)


def purge(namespace: str, name: str, reason: str, validate_only: bool) -> Call[queue_service_pb2.PurgeQueueResponse]:
    request = queue_service_pb2.PurgeQueueRequest(
        namespace=namespace, name=name, reason=reason, validate_only=validate_only
    )
    return Call(lambda s: s.queues.PurgeQueue, request, lambda response: response)


def statistics(namespace: str, name: str, window: Seconds | None) -> Call[queue_pb2.QueueStatistics]:
    request = queue_service_pb2.GetQueueStatisticsRequest(
        namespace=namespace, name=name, window=policies.optional_duration(window)
    )
    return Call(lambda s: s.queues.GetQueueStatistics, request, lambda response: response.statistics)
