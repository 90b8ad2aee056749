"""What a lane counts: slots, memory and processors of its leases, and whether it gets more (Q5, Q7, I12)."""

from headrace.v1 import job_pb2, worker_pb2, worker_service_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.placement import UNBOUNDED
from headrace_server.core.resources import NOTHING, Resources
from headrace_server.runtime.registry import ControlLane, Registry, SlotBounds
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.jobs.new_job import resources_of
from store.driving import HOME, capabilities

GIB = 1024**3


def lane_of(slots: int = 8, **host: int) -> ControlLane:
    lane = ControlLane(HOME, "c", slots, capabilities())
    lane.renewed(worker_service_pb2.WorkerRenewal(host_resources=worker_pb2.HostResources(**host)))
    return lane


def lease_of(number: int) -> Lease:
    return Lease(JobId(bytes([number]) * 16), 1, 1)


def assignment(**taken: int) -> worker_pb2.Assignment:
    message = worker_pb2.Assignment()
    message.spec.placement.resources.CopyFrom(job_pb2.Resources(**taken))
    return message


def test_q5_a_job_holds_as_many_slots_as_it_asked_for() -> None:
    lane = lane_of(slots=8)
    lane.assign(lease_of(1), worker_pb2.Assignment())
    lane.assign(lease_of(2), assignment(slots=3, memory_bytes=5, cpu_millis=7))
    lane.hold(lease_of(3), Resources(2))
    assert (lane.used, lane.free_slots) == (Resources(6, 5, 7), 2)
    lane.finishing.add(lease_of(2))
    assert (lane.used, lane.free_slots) == (Resources(3, 0, 0), 5)
    lane.finishing.discard(lease_of(2))
    assert lane.used == Resources(6, 5, 7)
    for number in (1, 2, 3):
        lane.settle(lease_of(number))
    assert (lane.used, lane.resources) == (NOTHING, {})


def test_q5_what_says_nothing_takes_one_slot() -> None:
    assert resources_of(job_pb2.Resources()) == Resources(1, 0, 0)
    assert resources_of(job_pb2.Resources(memory_bytes=9)) == Resources(1, 9, 0)


def test_q5_free_memory_is_what_is_neither_declared_nor_gone() -> None:
    lane = lane_of(memory_bytes=16 * GIB, memory_available_bytes=6 * GIB, cpu_millis=4000, cpu_available_millis=10)
    assert (lane.free_memory_bytes, lane.free_cpu_millis) == (6 * GIB, 4000)
    lane.hold(lease_of(1), Resources(1, 14 * GIB, 1500))
    assert (lane.free_memory_bytes, lane.free_cpu_millis) == (2 * GIB, 2500)
    lane.hold(lease_of(2), Resources(1, 14 * GIB, 5000))
    assert (lane.free_memory_bytes, lane.free_cpu_millis) == (0, 0)


def test_q5_what_was_taken_since_the_last_renewal_is_not_free_although_it_looks_so() -> None:
    lane = lane_of(memory_bytes=16 * GIB, memory_available_bytes=6 * GIB)
    lane.assign(lease_of(1), assignment(memory_bytes=4 * GIB))
    assert lane.free_memory_bytes == 2 * GIB
    lane.next_message(1 << 20, 5.0)
    renewal = worker_service_pb2.WorkerRenewal(
        host_resources=worker_pb2.HostResources(memory_bytes=16 * GIB, memory_available_bytes=6 * GIB)
    )
    lane.renewed(renewal)
    assert lane.free_memory_bytes == 2 * GIB, "it has not started"
    lane.unstarted.pop(lease_of(1))
    lane.renewed(renewal)
    assert lane.free_memory_bytes == 6 * GIB


def test_q5_a_host_that_says_nothing_bounds_nothing() -> None:
    lane = lane_of()
    lane.hold(lease_of(1), Resources(1, GIB, 1000))
    assert (lane.free_memory_bytes, lane.free_cpu_millis) == (UNBOUNDED, UNBOUNDED)


def test_q7_a_worker_gets_nothing_while_it_or_the_server_wants_it_drained() -> None:
    lane = lane_of(slots=2)
    lane.want_worker(worker_service_pb2.WANTED_WORKER_DRAIN)
    assert (lane.is_drained, lane.free_slots) == (True, 0)
    assert lane.next_message(1 << 20, 0.0).wanted_worker == worker_service_pb2.WANTED_WORKER_DRAIN
    lane.want_worker(worker_service_pb2.WANTED_WORKER_RUN)
    assert (lane.is_drained, lane.free_slots) == (False, 2)
    lane.renewed(worker_service_pb2.WorkerRenewal(draining=True))
    assert (lane.is_drained, lane.free_slots) == (True, 0)


def test_q9_bounds_hold_for_a_lane_and_for_those_that_take_its_place() -> None:
    registry, lane, other = Registry(30.0), lane_of(slots=8), ControlLane(Holder("w2", "i"), "c", 4, capabilities())
    registry.connect(lane)
    registry.connect(other)
    registry.scale(HOME.worker, SlotBounds(3, 1, 8))
    assert (lane.free_slots, other.free_slots) == (3, 4)
    again = ControlLane(HOME, "d", 2, capabilities())
    registry.connect(again)
    assert (again.slots_offered, again.bounds) == (2, SlotBounds(3, 1, 8)), "never more than the worker has"


def test_l7_an_incarnation_that_was_connected_when_a_newer_one_came_lives_until_its_lease_ends() -> None:
    registry = Registry(30.0)
    first, second, third = (Holder("w", name) for name in "abc")
    for holder in (first, second):
        registry.watch.observe(holder.worker, holder.incarnation, 1, 0.0)
    assert registry.living(first) == frozenset()
    registry.connect(ControlLane(first, "c", 1, capabilities()))
    assert registry.living(first) == frozenset()
    assert registry.living(second) == {"a"}
    registry.succeed(second, registry.living(second))
    lane = ControlLane(second, "c", 3, capabilities())
    lane.inherited = Resources(2, 5, 7)
    registry.connect(lane)
    assert (lane.used, lane.free_slots) == (Resources(2, 5, 7), 1)
    assert registry.living(third) == {"a", "b"}
    assert sorted(registry.watch.ended(30.0)) == [("w", "a"), ("w", "b")]
    registry.end(first)
    assert (lane.used, lane.free_slots) == (NOTHING, 3)
    assert registry.living(third) == {"b"}
    assert registry.watch.ended(30.0) == [("w", "b")]


def test_l5_an_incarnation_that_had_gone_is_neither_living_nor_watched() -> None:
    registry = Registry(30.0)
    first, second = Holder("w", "a"), Holder("w", "b")
    registry.watch.observe("w", "a", 1, 0.0)
    lane = ControlLane(first, "c", 1, capabilities())
    registry.connect(lane)
    registry.disconnect(lane)
    assert registry.living(second) == frozenset()
    registry.succeed(second, registry.living(second))
    assert registry.watch.ended(30.0) == []
