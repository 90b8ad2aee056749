"""A new job from one that ended: its lineage, its one live retry, its request id (R4)."""

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.v1 import job_pb2, queue_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.jobs.dependencies import parent_states
from headrace_server.store.jobs.retries import retry
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.records.audit import list_audit
from store.driving import NAMESPACE, Bench, OpenStore
from store.graphs import made


def asked(bench: Bench, job_id: JobId, request_id: str = "") -> Accepted | Refusal:
    return bench.write(retry, NAMESPACE, job_id, request_id, "tester", "")


def retried(bench: Bench, job_id: JobId, request_id: str = "") -> Job:
    answer = asked(bench, job_id, request_id)
    assert isinstance(answer, Accepted), answer
    return answer.job


def refused(bench: Bench, job_id: JobId, request_id: str = "") -> Refusal:
    answer = asked(bench, job_id, request_id)
    assert isinstance(answer, Refusal)
    return answer


def ended(bench: Bench, **fields: Any) -> Job:
    (job,) = bench.submit(made(**fields))
    bench.cancel(job.id)
    return job


def test_r4_a_retry_is_a_new_job_that_knows_the_old_one(bench: Bench) -> None:
    old = ended(bench, priority=3, labels={"a": "1"})
    new = retried(bench, old.id)
    assert (new.id != old.id, new.origin.retry_of, new.priority) == (True, old.id, 3)
    assert bench.events(new.id)[0].submitted.retry_of_job_id == job_id_text(old.id)
    (entry,) = bench.read(list_audit, NAMESPACE, "job", job_id_text(old.id), 0, 1)
    assert (entry.action, entry.detail) == ("JobService.RetryJob", f"made job {job_id_text(new.id)}")


def test_a_job_of_another_namespace_is_not_retried(bench: Bench) -> None:
    (job,) = bench.submit(replace(made(), namespace="elsewhere"))
    bench.finish(bench.assign(job.id))
    assert refused(bench, job.id).reason is Reason.NOT_FOUND


def test_r4_there_is_one_live_retry(bench: Bench) -> None:
    old = ended(bench)
    first = retried(bench, old.id)
    refusal = refused(bench, old.id)
    assert (refusal.reason, refusal.resource_name) == (Reason.RETRY_LIVE, job_id_text(first.id))
    bench.finish(bench.assign(first.id))
    assert retried(bench, old.id).origin.retry_of == old.id


def test_r4_only_what_has_ended_is_retried(bench: Bench) -> None:
    (job,) = bench.submit(made())
    assert refused(bench, job.id).reason is Reason.JOB_NOT_ENDED
    assert refused(bench, JobId(bytes(16))).reason is Reason.NOT_FOUND


def test_s1_a_repeated_retry_is_the_same_job_also_while_it_lives_and_after_a_restart(reopen: OpenStore) -> None:
    bench = reopen()
    old = ended(bench)
    first = retried(bench, old.id, "r1")
    again = asked(reopen(), old.id, "r1")
    assert again == Accepted(first, deduplicated=True)


def test_s2_a_request_id_of_another_call_is_refused(bench: Bench) -> None:
    old, other = ended(bench), ended(bench)
    retried(bench, old.id, "r1")
    assert refused(bench, other.id, "r1").reason is Reason.REQUEST_ID_REUSED
    (answer,) = bench.write(submit_each, [made(request_id="r1")])
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.REQUEST_ID_REUSED


def test_a_schedule_time_that_has_passed_is_dropped_and_one_to_come_is_kept(bench: Bench) -> None:
    soon, late = Timestamp(), Timestamp()
    soon.FromMicroseconds(bench.clock.now() + SECOND)
    late.FromMicroseconds(bench.clock.now() + 60 * SECOND)
    first, second = ended(bench, schedule_time=soon), ended(bench, schedule_time=late)
    bench.clock.advance(5)
    assert [retried(bench, job.id).state for job in (first, second)] == [JobState.QUEUED, JobState.SCHEDULED]


def test_s3_the_unique_key_counts_for_a_retry(bench: Bench) -> None:
    old = ended(bench, unique_key=job_pb2.UniqueKey(key="k"))
    (holder,) = bench.submit(made(unique_key=job_pb2.UniqueKey(key="k")))
    refusal = refused(bench, old.id)
    assert (refusal.reason, refusal.resource_name) == (Reason.UNIQUE_KEY_TAKEN, job_id_text(holder.id))


def test_s5_a_retry_by_hand_needs_room_in_the_queue(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="small", max_queued=1), "tester")
    old = ended(bench, queue="small")
    bench.submit(made(queue="small"))
    assert refused(bench, old.id).reason is Reason.QUEUE_FULL


@pytest.mark.parametrize("deleted", [False, True])
def test_q6_dependencies_are_kept_also_on_a_job_that_was_deleted_since(bench: Bench, deleted: bool) -> None:
    lease = bench.running()
    (child,) = bench.submit(made(lease.job_id))
    bench.finish(lease)
    bench.cycle()
    bench.fail(bench.assign(child.id), FailureClass.INVALID)
    if deleted:
        assert bench.write(delete, NAMESPACE, lease.job_id, "", "tester") is None
    again = retried(bench, child.id)
    assert again.state is JobState.QUEUED
    assert bench.read(parent_states, again) == [(lease.job_id, JobState.SUCCEEDED)]


def test_q6_a_retry_of_a_job_whose_parent_failed_is_skipped_again(bench: Bench) -> None:
    lease = bench.running()
    (child,) = bench.submit(made(lease.job_id))
    bench.fail(lease, FailureClass.INVALID)
    bench.cycle()
    assert bench.job(retried(bench, child.id).id).state is JobState.SKIPPED
