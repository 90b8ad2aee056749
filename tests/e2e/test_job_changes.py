"""What a client does to jobs, through the real server: graphs, keys, changes, cancels, retries, deletions, streams."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import job_pb2, job_service_pb2_grpc, watch_pb2
from headrace.v1 import job_service_pb2 as pb

ENDED = 20


class Jobs:
    """The raw stub, and short ways to say what these tests say."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub: Any = job_service_pb2_grpc.JobServiceStub(channel)

    def spec(self, *words: str, **fields: Any) -> job_pb2.JobSpec:
        program, *arguments = words or ("printf", "x")
        return job_pb2.JobSpec(command={"program": program, "arguments": arguments}, **fields)

    def submit(self, *words: str, **fields: Any) -> str:
        return str(self.stub.SubmitJob(pb.SubmitJobRequest(spec=self.spec(*words, **fields))).job.id)

    def get(self, job_id: str) -> job_pb2.Job:
        answer: pb.GetJobResponse = self.stub.GetJob(pb.GetJobRequest(job_id=job_id))
        return answer.job

    def ended(self, job_id: str) -> job_pb2.Job:
        wait_for(lambda: self.get(job_id).state >= ENDED, f"{job_id} ends")
        return self.get(job_id)


@pytest.fixture
def jobs(shared_plane: ControlPlane) -> Iterator[Jobs]:
    with grpc.insecure_channel(shared_plane.address) as channel:
        yield Jobs(channel)


def details(error: grpc.RpcError) -> tuple[str, str]:
    """The reason, and the thing that it is about."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # it is a call too
    info, resource = error_details_pb2.ErrorInfo(), error_details_pb2.ResourceInfo()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(resource)
    return str(info.reason), str(resource.resource_name)


def test_s7_q6_a_graph_runs_in_order_and_a_failure_skips_what_hangs_on_it(jobs: Jobs) -> None:
    def item(ref: str, *parents: str, words: tuple[str, ...] = (), **fields: Any) -> pb.SubmitJobsItem:
        dependencies = [{"ref": parent} for parent in parents]
        return pb.SubmitJobsItem(ref=ref, spec=jobs.spec(*words, dependencies=dependencies, **fields))

    last = job_pb2.DEPENDENCY_CONDITION_ALL_ENDED
    answer = jobs.stub.SubmitJobs(
        pb.SubmitJobsRequest(
            atomic=True,
            items=[
                item("report", "test", "deploy", dependency_condition=last),
                item("deploy", "test"),
                item("test", "build", words=("sh", "-c", "exit 3")),
                item("build"),
            ],
        )
    )
    report, deploy, test, build = [one.job_id for one in answer.results]
    assert jobs.ended(report).state == job_pb2.JOB_STATE_SUCCEEDED
    assert [jobs.get(one).state for one in (build, test, deploy)] == [
        job_pb2.JOB_STATE_SUCCEEDED,
        job_pb2.JOB_STATE_FAILED,
        job_pb2.JOB_STATE_SKIPPED,
    ]
    states = [(one.job_id, one.state) for one in jobs.get(report).dependency_states]
    assert states == [(test, job_pb2.JOB_STATE_FAILED), (deploy, job_pb2.JOB_STATE_SKIPPED)]
    assert list(jobs.get(test).dependent_job_ids) == [report, deploy]


def test_s6_s7_a_bad_graph_is_refused_item_by_item(jobs: Jobs) -> None:
    spec = jobs.spec(dependencies=[{"ref": "nobody"}])
    behind = jobs.spec(dependencies=[{"ref": "bad"}])
    answer = jobs.stub.SubmitJobs(
        pb.SubmitJobsRequest(items=[{"spec": behind}, {"spec": spec, "ref": "bad"}, {"spec": jobs.spec()}])
    )
    assert [one.error.code for one in answer.results] == [9, 3, 0]
    assert answer.results[1].error.violations[0].field == "spec.dependencies[0].ref"
    assert jobs.ended(answer.results[2].job_id).state == job_pb2.JOB_STATE_SUCCEEDED


def test_s7_an_atomic_call_is_refused_for_what_is_wrong_and_not_for_what_hangs_on_it(jobs: Jobs) -> None:
    items: Any = [
        {"spec": jobs.spec(dependencies=[{"ref": "lost"}])},
        {"spec": jobs.spec(queue="nowhere"), "ref": "lost"},
    ]
    with pytest.raises(grpc.RpcError, match="there is no queue 'nowhere'") as refused:
        jobs.stub.SubmitJobs(pb.SubmitJobsRequest(items=items, atomic=True))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_s3_one_runs_and_the_latest_waits(jobs: Jobs) -> None:
    key = {"key": "folder-1", "on_conflict": job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING}
    first = jobs.submit("sh", "-c", "sleep 60", unique_key=key)
    wait_for(lambda: jobs.get(first).state == job_pb2.JOB_STATE_RUNNING, "the first one runs")
    second, third = jobs.submit(unique_key=key), jobs.submit(unique_key=key)
    gone = jobs.get(second)
    assert (gone.state, gone.cancellation.superseded_by_job_id) == (job_pb2.JOB_STATE_CANCELLED, third)
    existing = {"key": "folder-1", "on_conflict": job_pb2.UNIQUE_KEY_CONFLICT_RETURN_EXISTING}
    answer = jobs.stub.SubmitJob(pb.SubmitJobRequest(spec=jobs.spec("printf", "other", unique_key=existing)))
    assert (answer.job.id, answer.deduplicated) == (first, True)
    assert list(answer.job.spec.command.arguments) == ["-c", "sleep 60"]
    with pytest.raises(grpc.RpcError) as refused:
        jobs.submit(unique_key={"key": "folder-1"})
    assert details(refused.value) == ("UNIQUE_KEY_TAKEN", first)
    assert jobs.get(third).state == job_pb2.JOB_STATE_BLOCKED
    jobs.stub.CancelJob(pb.CancelJobRequest(job_id=first))
    assert jobs.ended(third).state == job_pb2.JOB_STATE_SUCCEEDED


def test_e2_a_follower_waits_for_a_unique_key_and_comes_back_with_its_cursor(jobs: Jobs) -> None:
    wanted = pb.WatchJobRequest(unique_key={"key": "awaited", "wait": True})
    stream = jobs.stub.WatchJob(wanted, timeout=30)
    first = next(stream)
    assert (first.WhichOneof("kind"), first.cursor) == ("heartbeat", "")
    job_id = jobs.submit(unique_key={"key": "awaited"})
    rest = [one for one in stream if one.WhichOneof("kind") != "heartbeat"]
    assert (rest[0].WhichOneof("kind"), rest[0].opened.job.id) == ("opened", job_id)
    assert (rest[-1].end.reason, rest[-1].end.job.id) == (watch_pb2.END_REASON_JOB_ENDED, job_id)
    newer = jobs.submit(unique_key={"key": "awaited"})
    again = list(
        jobs.stub.WatchJob(pb.WatchJobRequest(unique_key={"key": "awaited"}, cursor=rest[0].cursor), timeout=30)
    )
    assert again[0].opened.job.id == job_id
    latest = list(jobs.stub.WatchJob(pb.WatchJobRequest(unique_key={"key": "awaited"}), timeout=30))
    assert latest[0].opened.job.id == newer
    with pytest.raises(grpc.RpcError) as missing:
        next(jobs.stub.WatchJob(pb.WatchJobRequest(unique_key={"key": "never seen"})))
    assert details(missing.value)[0] == "NOT_FOUND"


def test_a_job_is_changed_found_by_label_and_cancelled_by_filter(jobs: Jobs) -> None:
    labels = {"batch": "changes"}
    ids = [jobs.submit(labels=labels, schedule_time={"seconds": 4_000_000_000}) for _ in range(3)]
    answer = jobs.stub.UpdateJob(
        pb.UpdateJobRequest(
            job_id=ids[0],
            spec={"labels": labels, "priority": 5},
            update_mask={"paths": ["priority", "schedule_time"]},
        )
    )
    assert (answer.job.spec.priority, answer.job.state) == (5, job_pb2.JOB_STATE_QUEUED)
    assert jobs.ended(ids[0]).state == job_pb2.JOB_STATE_SUCCEEDED
    with pytest.raises(grpc.RpcError) as refused:
        jobs.stub.UpdateJob(pb.UpdateJobRequest(job_id=ids[0], update_mask={"paths": ["priority"]}))
    assert details(refused.value) == ("JOB_ENDED", ids[0])
    request = pb.CancelJobsRequest(filter='labels.batch = "changes"', reason="enough", validate_only=True)
    dry = jobs.stub.CancelJobs(request)
    assert {one.job_id: one.state for one in dry.results} == dict.fromkeys(ids[1:], job_pb2.JOB_STATE_SCHEDULED)
    request.validate_only = False
    done = jobs.stub.CancelJobs(request)
    assert {one.job_id: one.state for one in done.results} == dict.fromkeys(ids[1:], job_pb2.JOB_STATE_CANCELLED)
    assert not done.next_page_token
    assert not jobs.stub.CancelJobs(request).results
    listed = jobs.stub.ListJobs(pb.ListJobsRequest(filter='labels.batch = "changes" AND state = CANCELLED'))
    assert [one.id for one in listed.jobs] == ids[:0:-1]


def test_r4_a_failed_job_is_retried_once_at_a_time(jobs: Jobs) -> None:
    failed = jobs.ended(jobs.submit("sh", "-c", "exit 1")).id
    first = jobs.stub.RetryJob(pb.RetryJobRequest(job_id=failed, request_id="again"))
    again = jobs.stub.RetryJob(pb.RetryJobRequest(job_id=failed, request_id="again"))
    assert (first.job.retry_of_job_id, first.deduplicated) == (failed, False)
    assert (again.job.id, again.deduplicated) == (first.job.id, True)
    assert jobs.ended(first.job.id).state == job_pb2.JOB_STATE_FAILED


def test_a_deleted_job_is_gone_and_its_followers_are_told(jobs: Jobs) -> None:
    job_id = jobs.ended(jobs.submit()).id
    with pytest.raises(grpc.RpcError) as stale:
        jobs.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id, etag="1"))
    assert details(stale.value) == ("STALE_ETAG", job_id)
    jobs.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id))
    for call, request in (
        (jobs.stub.GetJob, pb.GetJobRequest(job_id=job_id)),
        (jobs.stub.DeleteJob, pb.DeleteJobRequest(job_id=job_id)),
    ):
        with pytest.raises(grpc.RpcError) as missing:
            call(request)
        assert details(missing.value) == ("NOT_FOUND", job_id)
    with pytest.raises(grpc.RpcError) as gone:
        next(jobs.stub.WatchJob(pb.WatchJobRequest(job_id=job_id, cursor="1:2")))
    assert details(gone.value) == ("NOT_FOUND", job_id)
