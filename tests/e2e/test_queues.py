"""Queues as operators handle them: paused, drained, purged, deleted, looked at; and what the audit log says of it."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from e2e.conftest import StartControlPlane
from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    queue_pb2,
    queue_service_pb2,
    queue_service_pb2_grpc,
)


class Stubs:
    """The raw stubs of the services."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.queues: Any = queue_service_pb2_grpc.QueueServiceStub(channel)
        self.jobs: Any = job_service_pb2_grpc.JobServiceStub(channel)
        self.admin: Any = admin_service_pb2_grpc.AdminServiceStub(channel)

    def submit(self, queue: str, *words: str, **fields: Any) -> str:
        """Submits a command job that prints, unless it is told otherwise."""
        program, *arguments = words or ("printf", "x")
        spec = job_pb2.JobSpec(queue=queue, command={"program": program, "arguments": arguments}, **fields)
        return str(self.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec)).job.id)

    def state(self, job_id: str) -> int:
        return int(self.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=job_id)).job.state)

    def statistics(self, queue: str) -> Any:
        return self.queues.GetQueueStatistics(queue_service_pb2.GetQueueStatisticsRequest(name=queue)).statistics

    def audit(self, queue: str) -> list[admin_service_pb2.AuditEntry]:
        request = admin_service_pb2.ListAuditEntriesRequest(resource_type="queue", resource_name=queue)
        return list(self.admin.ListAuditEntries(request).entries)


@pytest.fixture
def stubs(shared_plane: ControlPlane) -> Iterator[Stubs]:
    with grpc.insecure_channel(shared_plane.address) as channel:
        yield Stubs(channel)


def create(stubs: Stubs, name: str, **policy: Any) -> str:
    stubs.queues.CreateQueue(queue_service_pb2.CreateQueueRequest(queue=queue_pb2.Queue(name=name, **policy)))
    return name


def reason_of(error: grpc.RpcError) -> str:
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # it is a call too
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return str(info.reason)


def test_q7_a_paused_queue_takes_jobs_starts_none_and_goes_on_when_resumed(stubs: Stubs) -> None:
    queue = create(stubs, "paused")
    request = queue_service_pb2.PauseQueueRequest(name=queue, reason="maintenance")
    paused = stubs.queues.PauseQueue(request).queue
    assert (paused.pause.actor, paused.pause.reason) == ("anonymous", "maintenance")
    assert not paused.pause.HasField("expire_time")
    held, free = stubs.submit(queue), stubs.submit("default")
    wait_for(lambda: stubs.state(free) == job_pb2.JOB_STATE_SUCCEEDED, "another queue goes on")
    assert stubs.state(held) == job_pb2.JOB_STATE_QUEUED
    found = stubs.statistics(queue)
    assert (found.submitted_count, found.started_count, found.oldest_queued_job_id) == (1, 0, held)
    resumed = stubs.queues.ResumeQueue(queue_service_pb2.ResumeQueueRequest(name=queue)).queue
    assert not resumed.HasField("pause")
    wait_for(lambda: stubs.state(held) == job_pb2.JOB_STATE_SUCCEEDED, "it goes on")


def test_q7_a_pause_ends_by_itself(stubs: Stubs) -> None:
    queue = create(stubs, "for-a-while")
    request = queue_service_pb2.PauseQueueRequest(name=queue, duration=Duration(seconds=1))
    assert stubs.queues.PauseQueue(request).queue.pause.HasField("expire_time")
    held = stubs.submit(queue)
    wait_for(lambda: stubs.state(held) == job_pb2.JOB_STATE_SUCCEEDED, "the pause ends")
    seen = stubs.queues.GetQueue(queue_service_pb2.GetQueueRequest(name=queue)).queue
    assert not seen.HasField("pause")


def test_q7_a_drained_queue_lets_what_runs_end_and_starts_nothing(stubs: Stubs) -> None:
    queue = create(stubs, "drained")
    running = stubs.submit(queue, "sh", "-c", "while test ! -e done; do sleep 0.05; done")
    wait_for(lambda: stubs.state(running) == job_pb2.JOB_STATE_RUNNING, "it runs")
    drained = stubs.queues.DrainQueue(queue_service_pb2.DrainQueueRequest(name=queue, reason="moving")).queue
    assert (drained.drain.reason, drained.drain.HasField("return_time")) == ("moving", False)
    held, free = stubs.submit(queue), stubs.submit("default")
    wait_for(lambda: stubs.state(free) == job_pb2.JOB_STATE_SUCCEEDED, "another queue goes on")
    assert stubs.state(held) == job_pb2.JOB_STATE_QUEUED
    assert stubs.state(running) == job_pb2.JOB_STATE_RUNNING
    stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=running))
    wait_for(lambda: stubs.state(running) == job_pb2.JOB_STATE_CANCELLED, "it is cancelled")


def test_q7_what_still_runs_after_the_grace_of_a_drain_is_handed_back_and_burns_no_attempt(stubs: Stubs) -> None:
    queue = create(stubs, "moved")
    running = stubs.submit(queue, "sh", "-c", "while test ! -e done; do sleep 0.05; done")
    wait_for(lambda: stubs.state(running) == job_pb2.JOB_STATE_RUNNING, "it runs")
    request = queue_service_pb2.DrainQueueRequest(name=queue, grace=Duration(seconds=1))
    assert stubs.queues.DrainQueue(request).queue.drain.HasField("return_time")
    wait_for(lambda: stubs.state(running) == job_pb2.JOB_STATE_QUEUED, "it is handed back")
    job = stubs.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=running)).job
    assert (job.failure_count, job.loss_count) == (0, 0)
    stubs.queues.ResumeQueue(queue_service_pb2.ResumeQueueRequest(name=queue))
    wait_for(lambda: stubs.state(running) == job_pb2.JOB_STATE_RUNNING, "it runs again")
    stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=running))
    wait_for(lambda: stubs.state(running) == job_pb2.JOB_STATE_CANCELLED, "it is cancelled")


def test_q7_purge_says_first_what_it_would_do(stubs: Stubs) -> None:
    queue = create(stubs, "purged")
    stubs.queues.PauseQueue(queue_service_pb2.PauseQueueRequest(name=queue))
    jobs = [stubs.submit(queue) for _ in range(3)]
    request = queue_service_pb2.PurgeQueueRequest(name=queue, reason="wrong input", validate_only=True)
    would = stubs.queues.PurgeQueue(request)
    assert (would.cancelled_count, would.remaining_count) == (3, 0)
    assert {stubs.state(job) for job in jobs} == {job_pb2.JOB_STATE_QUEUED}
    request.validate_only = False
    done = stubs.queues.PurgeQueue(request)
    assert (done.cancelled_count, done.remaining_count) == (3, 0)
    assert {stubs.state(job) for job in jobs} == {job_pb2.JOB_STATE_CANCELLED}
    found = stubs.statistics(queue)
    assert [(one.state, one.count) for one in found.ended_counts] == [(job_pb2.JOB_STATE_CANCELLED, 3)]
    assert not found.HasField("wait")
    assert found.oldest_queued_job_id == ""


def test_a_queue_is_deleted_once_nothing_needs_it(stubs: Stubs) -> None:
    queue = create(stubs, "short-lived")
    stubs.queues.PauseQueue(queue_service_pb2.PauseQueueRequest(name=queue))
    stubs.submit(queue)
    with pytest.raises(grpc.RpcError) as refused:
        stubs.queues.DeleteQueue(queue_service_pb2.DeleteQueueRequest(name=queue))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(refused.value) == "QUEUE_NOT_EMPTY"
    stubs.queues.PurgeQueue(queue_service_pb2.PurgeQueueRequest(name=queue))
    stubs.queues.DeleteQueue(queue_service_pb2.DeleteQueueRequest(name=queue))
    with pytest.raises(grpc.RpcError) as missing:
        stubs.queues.GetQueue(queue_service_pb2.GetQueueRequest(name=queue))
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_audit_log_has_every_change_of_a_queue_newest_first_in_pages(stubs: Stubs) -> None:
    queue = create(stubs, "audited", max_queued=7)
    changed = queue_pb2.Queue(name=queue, max_queued=9)
    mask = FieldMask(paths=["max_queued"])
    stubs.queues.UpdateQueue(queue_service_pb2.UpdateQueueRequest(queue=changed, update_mask=mask))
    stubs.queues.PauseQueue(queue_service_pb2.PauseQueueRequest(name=queue, reason="full"))
    stubs.queues.ResumeQueue(queue_service_pb2.ResumeQueueRequest(name=queue))
    stubs.queues.DeleteQueue(queue_service_pb2.DeleteQueueRequest(name=queue))
    entries = stubs.audit(queue)
    assert [(entry.action, entry.detail) for entry in entries] == [
        ("QueueService.DeleteQueue", ""),
        ("QueueService.ResumeQueue", "ended its pause"),
        ("QueueService.PauseQueue", "reason: full"),
        ("QueueService.UpdateQueue", "max_queued: 7 → 9"),
        ("QueueService.CreateQueue", "max_queued: unset → 7"),
    ]
    assert {entry.actor for entry in entries} == {"anonymous"}
    request = admin_service_pb2.ListAuditEntriesRequest(resource_type="queue", resource_name=queue, page_size=2)
    paged = []
    while True:
        page = stubs.admin.ListAuditEntries(request)
        paged += page.entries
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert paged == entries


def test_statistics_say_what_has_happened_in_a_queue(stubs: Stubs) -> None:
    queue = create(stubs, "measured")
    good = [stubs.submit(queue) for _ in range(3)]
    bad = stubs.submit(queue, "sh", "-c", "exit 3")
    wait_for(
        lambda: (
            {stubs.state(job) for job in good} == {job_pb2.JOB_STATE_SUCCEEDED}
            and stubs.state(bad) == job_pb2.JOB_STATE_FAILED
        ),
        "all have ended",
    )
    found = stubs.statistics(queue)
    assert (found.name, found.submitted_count, found.started_count) == (queue, 4, 4)
    states = {job_pb2.JOB_STATE_SUCCEEDED: 3, job_pb2.JOB_STATE_FAILED: 1}
    assert {one.state: one.count for one in found.ended_counts} == states
    assert {one.state: one.count for one in found.state_counts} == states
    assert [one.count for one in found.failure_counts] == [1]
    window = found.window.ToTimedelta().total_seconds()
    assert 0 < window < 120
    assert found.submit_rate == pytest.approx(4 / window)
    assert found.start_rate == pytest.approx(4 / window)
    assert found.end_rate == pytest.approx(4 / window)
    for quantiles in (found.wait, found.run):
        times = [time.ToTimedelta() for time in (quantiles.p50, quantiles.p90, quantiles.p99, quantiles.max)]
        assert quantiles.count == 4
        assert times == sorted(times)
        assert 0 < times[0].total_seconds() < window


def test_a_window_outside_a_minute_and_a_day_is_refused(stubs: Stubs) -> None:
    for seconds in (59, 86_401):
        request = queue_service_pb2.GetQueueStatisticsRequest(window=Duration(seconds=seconds))
        with pytest.raises(grpc.RpcError) as refused:
            stubs.queues.GetQueueStatistics(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_statistics_outlive_an_orderly_restart(start_plane: StartControlPlane) -> None:
    plane = start_plane("--no-worker")
    with grpc.insecure_channel(plane.address) as channel:
        Stubs(channel).submit("default")
    plane.stop()
    plane.start()
    with grpc.insecure_channel(plane.address) as channel:
        found = Stubs(channel).statistics("default")
    assert (found.submitted_count, found.started_count) == (1, 0)


def test_a_change_of_a_stopped_queue_shows_that_it_is_stopped(stubs: Stubs) -> None:
    queue = create(stubs, "changed")
    stubs.queues.PauseQueue(queue_service_pb2.PauseQueueRequest(name=queue))
    stubs.submit(queue)
    changed = queue_service_pb2.UpdateQueueRequest(
        queue=queue_pb2.Queue(name=queue, max_queued=9), update_mask=FieldMask(paths=["max_queued"])
    )
    after = stubs.queues.UpdateQueue(changed).queue
    assert after.HasField("pause")
    assert [(one.state, one.count) for one in after.state_counts] == [(job_pb2.JOB_STATE_QUEUED, 1)]
