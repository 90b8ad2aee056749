"""X7: how operators see and invalidate kept answers, and what workers are told of it: on their lanes, with a welcome,
and with each job that asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import admin_service_pb2 as pb
from headrace.v1 import job_pb2, worker_pb2, worker_service_pb2
from headrace_server.core.ids import SECOND
from headrace_server.core.refusal import Reason
from headrace_server.rpc.admin_service import AdminService
from headrace_server.runtime import registry as registry_module
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.runtime.retention import Keeping, Retention
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.records import response_cache
from headrace_server.store.records.audit import list_audit
from rpc.calling import Calls
from store.driving import NAMESPACE, capabilities, claude_spec, handler_spec, new_job, offer

NOBODY: Any = None


class Edge(Calls):
    """A store with the servicer in front of it, and workers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.registry = Registry(30.0)
        self.serve(AdminService(self.bench.store, NOBODY, self.registry))

    def worker(self, name: str, **state: Any) -> ControlLane:
        lane = ControlLane(Holder(name, "i1"), "c", 8, capabilities())
        if state:
            told = worker_pb2.ResponseCacheState(**state)
            lane.renewed(worker_service_pb2.WorkerRenewal(response_cache=told))
        self.registry.connect(lane)
        return lane

    def cache(self, **fields: Any) -> pb.GetResponseCacheResponse:
        found: pb.GetResponseCacheResponse = self.call("get_response_cache", pb.GetResponseCacheRequest(**fields))
        return found

    def invalidate(self, **fields: Any) -> int:
        answer = self.call("invalidate_response_cache", pb.InvalidateResponseCacheRequest(**fields))
        micros: int = answer.invalidate_time.ToMicroseconds()
        return micros

    def granted(self, spec: job_pb2.JobSpec) -> worker_pb2.Assignment:
        self.bench.submit(new_job(spec=spec))
        (granted,) = self.bench.cycle(offer()).granted
        return granted.assignment


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path)
    yield edge
    edge.bench.close()


def cached_spec() -> job_pb2.JobSpec:
    spec = claude_spec()
    spec.claude.response_cache.ttl.FromSeconds(60)
    return spec


def seconds(count: int) -> Any:
    time = worker_pb2.ResponseCacheInvalidation().time
    time.FromSeconds(count)
    return time


def test_x7_what_workers_keep_is_added_up_with_its_age(edge: Edge) -> None:
    edge.worker("a", entries=2, size_bytes=10, hits=3, misses=1, oldest_time=seconds(5), newest_time=seconds(9))
    edge.worker("b", entries=1, size_bytes=5, stores=2, shared=1, oldest_time=seconds(4), newest_time=seconds(6))
    edge.worker("empty", misses=4, evictions=7)
    edge.worker("without")
    found = edge.cache()
    assert (found.workers, found.HasField("invalidate_time"), found.invalidate_actor) == (3, False, "")
    assert found.total == worker_pb2.ResponseCacheState(
        entries=3,
        size_bytes=15,
        hits=3,
        misses=5,
        stores=2,
        evictions=7,
        shared=1,
        oldest_time=seconds(4),
        newest_time=seconds(9),
    )


def test_x7_an_invalidation_is_kept_audited_and_said_at_once_to_every_worker(edge: Edge) -> None:
    lanes = [edge.worker("a"), edge.worker("b")]
    until = edge.invalidate(namespace=NAMESPACE, reason="new facts")
    assert until == edge.bench.clock.now()
    for lane in lanes:
        (told,) = lane.next_message(1000, 0.0).response_cache_invalidations
        assert (told.namespace, told.time.ToMicroseconds()) == (NAMESPACE, until)
        assert not lane.next_message(1000, 0.0).response_cache_invalidations
    found = edge.cache(namespace=NAMESPACE)
    assert (found.invalidate_time.ToMicroseconds(), found.invalidate_actor) == (until, "ada")
    assert not edge.cache(namespace="other").HasField("invalidate_time")
    (entry,) = edge.bench.read(list_audit, NAMESPACE, "response_cache", "", 0, 10)
    assert (entry.action, entry.resource_name, entry.detail) == (
        "AdminService.InvalidateResponseCache",
        NAMESPACE,
        "new facts",
    )


def test_x7_a_worker_that_connects_hears_of_every_recent_invalidation(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_cache, "RECENT_COUNT_MAX", 2)
    edge.invalidate(namespace="old")
    edge.bench.clock.advance(31 * 86_400.0)
    for namespace in ("a", "b", "c", "a"):
        edge.bench.clock.advance(1.0)
        edge.invalidate(namespace=namespace)
    told = edge.bench.welcome().invalidations
    assert [one.namespace for one in told] == ["a", "c"]


def test_e8_x7_an_invalidation_is_dropped_once_no_answer_is_as_old(edge: Edge) -> None:
    bench = edge.bench
    edge.invalidate(namespace="old")
    assert bench.write(response_cache.invalidated_time, "old") > 0
    bench.clock.advance(86_400.0)
    edge.invalidate(namespace="young")
    bench.clock.advance(30 * 86_400.0)
    keeping = Keeping(jobs_days=30, audit_days=365, output_days=7)
    bench.run(Retention(bench.store, bench.clock, keeping, pause_seconds=0).sweep())
    assert not edge.cache(namespace="old").HasField("invalidate_time")
    assert edge.cache(namespace="young").HasField("invalidate_time")
    assert bench.write(response_cache.invalidated_time, "old") == 0
    assert [one.namespace for one in bench.welcome().invalidations] == ["young"]


def test_x7_of_what_waits_for_a_slow_worker_the_latest_of_each_namespace_is_kept_and_not_too_many(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "INVALIDATIONS_COUNT_MAX", 2)
    lane = edge.worker("a")
    times = []
    for namespace in ("a", "b", "a", "c"):
        edge.bench.clock.advance(1.0)
        times.append(edge.invalidate(namespace=namespace))
    told = lane.next_message(1000, 0.0).response_cache_invalidations
    assert [(one.namespace, one.time.ToMicroseconds()) for one in told] == [("a", times[2]), ("c", times[3])]


def test_x7_a_job_that_asks_is_told_when_it_was_granted_and_since_when_answers_count(edge: Edge) -> None:
    first = edge.granted(cached_spec()).response_cache
    assert first.grant_time.ToMicroseconds() == edge.bench.clock.now()
    assert not first.HasField("invalidate_time")
    until = edge.invalidate(namespace=NAMESPACE)
    edge.bench.clock.advance(5.0)
    edge.invalidate(namespace="other")
    second = edge.granted(cached_spec()).response_cache
    assert second.grant_time.ToMicroseconds() == until + 5 * SECOND
    assert second.invalidate_time.ToMicroseconds() == until


def test_a_job_that_asks_for_no_cache_is_told_nothing_of_it(edge: Edge) -> None:
    assert not edge.granted(claude_spec()).HasField("response_cache")
    assert not edge.granted(handler_spec()).HasField("response_cache")


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("get_response_cache", pb.GetResponseCacheRequest(namespace="Not one"), "namespace"),
        ("invalidate_response_cache", pb.InvalidateResponseCacheRequest(namespace="Not one"), "namespace"),
        ("invalidate_response_cache", pb.InvalidateResponseCacheRequest(reason="x" * 1025), "reason"),
    ],
)
def test_bad_requests_are_refused_by_field(edge: Edge, method: str, request_: Any, field: str) -> None:
    refusal = edge.refusal(method, request_)
    assert (refusal.reason, [one.field for one in refusal.violations]) == (Reason.INVALID_FIELD, [field])
