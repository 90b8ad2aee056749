"""A wall clock that is set forth and back: no lease ends, no order breaks, no delay hangs (L4, Q1, E1)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.v1 import event_pb2, job_pb2, job_service_pb2, outcome_pb2, worker_service_pb2
from headrace_server.core.ids import SECOND, Micros
from headrace_server.runtime.clock import SteadyClock, SystemClock
from manual_clock import BEGIN, ManualClock
from survival.lanes import PROGRAM, RawWorker, hello
from survival.sending import command_spec
from survival.served import Served

DAY = 86_400.0


class JumpingClock(SystemClock):
    """The machine's clock, a wall of which somebody sets."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def now(self) -> Micros:
        return Micros(super().now() + int(self.ahead_seconds * SECOND))


def submit(served: Served, count: int = 1) -> list[str]:
    items = [job_service_pb2.SubmitJobsItem(spec=command_spec(PROGRAM))] * count
    answer = served.unary(
        "headrace.v1.JobService/SubmitJobs", job_service_pb2.SubmitJobsRequest(items=items).SerializeToString()
    )
    return [result.job_id for result in job_service_pb2.SubmitJobsResponse.FromString(answer).results]


def get(served: Served, job_id: str) -> job_pb2.Job:
    request = job_service_pb2.GetJobRequest(job_id=job_id)
    answer = served.unary("headrace.v1.JobService/GetJob", request.SerializeToString())
    return job_service_pb2.GetJobResponse.FromString(answer).job


def renew(worker: RawWorker, counter: int) -> None:
    """Renews, and waits for the answer."""
    held = [worker_service_pb2.HeldLease(lease=lease) for lease in worker.leases(0)]
    renewal = worker_service_pb2.WorkerRenewal(counter=counter, held=held)
    worker.control.send(worker_service_pb2.ConnectRequest(renewal=renewal).SerializeToString())
    while not any(answer.renewed_counter == counter for answer in worker.control.answers):
        assert worker.control.wait(len(worker.control.answers) + 1), "the lane has ended"


@pytest.mark.parametrize("first", [DAY, -DAY])
def test_jumps_end_no_lease_and_break_no_order(tmp_path: Path, first: float) -> None:
    """The store is checked at the end: among its laws is that the times of the feed never run backwards."""
    clock = JumpingClock()
    with Served(tmp_path / "data", clock, lease_seconds=2.0) as served:
        jobs = submit(served, 5)
        worker = RawWorker(served.channel, hello(slots=3))
        leases = worker.leases(3)
        for counter, ahead in enumerate((first, 0.0, -first, 0.0), start=2):
            clock.ahead_seconds = ahead
            renew(worker, counter)
            jobs += submit(served, 5)
        assert [get(served, lease.job_id).epoch for lease in leases] == [1, 1, 1]
        assert len(set(jobs)) == len(jobs)
        for lease in leases:
            release = worker_service_pb2.AttemptFinish(
                lease=lease, succeeded=outcome_pb2.Result(command=outcome_pb2.CommandResult())
            )
            worker.control.send(worker_service_pb2.ConnectRequest(finishes=[release]).SerializeToString())
        assert [lease.job_id for lease in worker.leases(6)] == jobs[:6], "who came first goes first"
        worker.leave()


def test_a_retry_does_not_wait_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    clock = JumpingClock()
    with Served(tmp_path / "data", clock) as served:
        (job_id,) = submit(served)
        worker = RawWorker(served.channel, hello(slots=1))
        (lease,) = worker.leases(1)
        clock.ahead_seconds = -DAY
        failure = outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_NETWORK)
        finish = worker_service_pb2.AttemptFinish(lease=lease, failed=failure)
        worker.control.send(worker_service_pb2.ConnectRequest(finishes=[finish]).SerializeToString())
        assert [lease.attempt for lease in worker.leases(2)] == [1, 2]
        assert get(served, job_id).failure_count == 1
        worker.leave()


def test_a_restart_with_the_clock_set_back_goes_on_from_the_last_time(tmp_path: Path) -> None:
    with Served(tmp_path / "data") as served:
        before = get(served, submit(served)[0]).create_time
    clock = JumpingClock()
    clock.ahead_seconds = -DAY
    with Served(tmp_path / "data", clock) as served:
        after = get(served, submit(served)[0]).create_time
    assert (before.seconds, before.nanos) <= (after.seconds, after.nanos)
    assert after.seconds - before.seconds < DAY


def test_a_steady_clock_follows_forth_and_goes_on_at_half_the_speed_after_a_jump_back() -> None:
    wall = ManualClock()
    clock = SteadyClock(wall)
    seen: list[float] = []

    def after(act: Callable[[float], None], seconds: float) -> None:
        act(seconds)
        seen.append((clock.now() - BEGIN) / SECOND)

    after(wall.advance, 10)
    after(wall.jump, 100)
    after(wall.jump, -50)
    after(wall.advance, 20)
    after(wall.advance, 80)
    after(wall.advance, 10)
    assert seen == [10, 110, 110, 120, 160, 170]


def test_a_steady_clock_begins_no_earlier_than_it_is_told() -> None:
    later = Micros(BEGIN + 60 * SECOND)
    wall = ManualClock()
    clock = SteadyClock(wall, later)
    assert clock.now() == later
    wall.advance(100)
    assert clock.now() == BEGIN + 110 * SECOND, "half of a hundred seconds later, the wall being behind"


def test_events_keep_the_order_of_their_positions(tmp_path: Path) -> None:
    """Also those that one job has on both sides of a jump."""
    clock = JumpingClock()
    with Served(tmp_path / "data", clock) as served:
        (job_id,) = submit(served)
        clock.ahead_seconds = -DAY
        request = job_service_pb2.CancelJobRequest(job_id=job_id)
        served.unary("headrace.v1.JobService/CancelJob", request.SerializeToString())
        watch = job_service_pb2.WatchJobRequest(job_id=job_id).SerializeToString()
        answers = served.channel.unary_stream("/headrace.v1.JobService/WatchJob")(watch, timeout=10)
        events: list[event_pb2.Event] = []
        for answer in answers:
            events += job_service_pb2.WatchJobResponse.FromString(answer).batch.events
    times = [event.time.ToNanoseconds() for event in events]
    assert times == sorted(times)
    assert [event.WhichOneof("kind") for event in events] == ["submitted", "cancelled"]


def test_a_clock_that_is_behind_goes_on_however_often_it_is_read() -> None:
    wall = ManualClock()
    clock = SteadyClock(wall)
    wall.jump(-100)
    begun = clock.now()
    for _ in range(10_000):
        wall.advance(0.9e-6)
        clock.now()
    assert clock.now() - begun == pytest.approx(4_500, abs=10)
