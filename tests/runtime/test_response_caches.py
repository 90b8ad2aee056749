"""X7: the metrics of kept answers: sums that never fall, whichever workers come and go."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from headrace.v1 import worker_pb2, worker_service_pb2
from headrace_server.core.placement import Capabilities
from headrace_server.runtime import response_caches as module
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.runtime.response_caches import ResponseCaches
from headrace_server.store.attempts.leases import Holder


class Node:
    """A registry, its metrics, and how a test reads them."""

    def __init__(self) -> None:
        self.registry = Registry(30.0)
        self._reader = InMemoryMetricReader()
        meter = MeterProvider([self._reader], shutdown_on_exit=False).get_meter("test")
        self.caches = ResponseCaches(self.registry, meter)

    def worker(self, name: str, incarnation: str = "1") -> ControlLane:
        nothing: frozenset[str] = frozenset()
        lane = ControlLane(Holder(name, incarnation), "c", 4, Capabilities(nothing, {}, nothing, nothing))
        self.registry.connect(lane)
        return lane

    def tell(self, lane: ControlLane, **counted: Any) -> None:
        state = worker_pb2.ResponseCacheState(**counted)
        lane.renewed(worker_service_pb2.WorkerRenewal(response_cache=state))
        self.caches.look()

    def value(self, name: str) -> Any:
        data = self._reader.get_metrics_data()
        assert data is not None
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        (metric,) = [one for one in metrics if one.name == f"headrace.response_cache.{name}"]
        (point,) = metric.data.data_points
        return point.value  # type: ignore[union-attr]  # of a counter


def test_x7_hits_and_misses_are_summed_over_workers_and_their_starts() -> None:
    node = Node()
    first, second = node.worker("a"), node.worker("b")
    node.tell(first)
    node.tell(second)
    node.tell(first, hits=3, misses=2, stores=2, shared=1)
    node.tell(second, hits=1, misses=1, evictions=4)
    node.registry.disconnect(first)
    node.tell(second, hits=1, misses=2, evictions=4)
    again = node.worker("a", "2")
    node.tell(again)
    node.tell(again, hits=5)
    names = ("hits", "misses", "shared", "stores", "evictions")
    assert [node.value(name) for name in names] == [9, 4, 1, 2, 4]


def test_x7_what_is_kept_is_that_of_the_workers_which_are_connected() -> None:
    node = Node()
    first, second = node.worker("a"), node.worker("b")
    node.tell(first, entries=2, size_bytes=100)
    node.tell(second, entries=3, size_bytes=50)
    assert (node.value("entries"), node.value("size")) == (5, 150)
    node.registry.disconnect(first)
    node.caches.look()
    assert (node.value("entries"), node.value("size")) == (3, 50)


def test_a_worker_that_connects_again_is_counted_on_and_a_stranger_from_where_it_is() -> None:
    node = Node()
    lane = node.worker("a")
    node.tell(lane, hits=100)
    assert node.value("hits") == 0
    node.registry.disconnect(lane)
    node.caches.look()
    node.tell(node.worker("a"), hits=107)
    assert node.value("hits") == 7


def test_how_many_workers_are_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORKERS_COUNT_MAX", 1)
    node = Node()
    for name in ("a", "b", "a"):
        lane = node.worker(name)
        node.tell(lane, hits=5)
        node.registry.disconnect(lane)
    assert node.value("hits") == 0
