"""Kept answers as the contract says them: what all workers keep together, and from when on answers count (X7)."""

from collections.abc import Iterable

from headrace.v1 import admin_service_pb2, worker_pb2
from headrace_server.store.codec import set_time
from headrace_server.store.records.response_cache import Invalidation

_SUMS = ("entries", "size_bytes", "hits", "misses", "stores", "evictions", "shared")


def invalidation_message(invalidation: Invalidation) -> worker_pb2.ResponseCacheInvalidation:
    """What a worker is told."""
    message = worker_pb2.ResponseCacheInvalidation(namespace=invalidation.namespace)
    set_time(message.time, invalidation.time)
    return message


def response_cache_message(
    states: Iterable[worker_pb2.ResponseCacheState], invalidation: Invalidation | None
) -> admin_service_pb2.GetResponseCacheResponse:
    """What workers keep together, and since when answers of a namespace count."""
    message = admin_service_pb2.GetResponseCacheResponse(total=worker_pb2.ResponseCacheState())
    for state in states:
        message.workers += 1
        _add(message.total, state)
    if invalidation is not None:
        set_time(message.invalidate_time, invalidation.time)
        message.invalidate_actor = invalidation.actor
    return message


def _add(total: worker_pb2.ResponseCacheState, state: worker_pb2.ResponseCacheState) -> None:
    for name in _SUMS:
        setattr(total, name, getattr(total, name) + getattr(state, name))
    if not state.entries:
        return
    if not total.HasField("oldest_time") or state.oldest_time.ToNanoseconds() < total.oldest_time.ToNanoseconds():
        total.oldest_time.CopyFrom(state.oldest_time)
    if state.newest_time.ToNanoseconds() > total.newest_time.ToNanoseconds():
        total.newest_time.CopyFrom(state.newest_time)
