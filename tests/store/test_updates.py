"""Changing a job that has not started: its place, its time, its labels, and what follows from them."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.v1 import job_pb2
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.jobs.updates import Change, update
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import list_audit
from store.driving import NAMESPACE, Bench, offer
from store.graphs import made


def at(time: Micros) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(time)
    return stamp


def changed(bench: Bench, job_id: JobId, *, etag: str = "", **fields: Any) -> Job | Refusal:
    """Changes these fields; None clears one."""
    spec = job_pb2.JobSpec(**{name: value for name, value in fields.items() if value is not None})
    return bench.write(update, NAMESPACE, job_id, Change(tuple(fields), spec, etag, "tester"))


def change(bench: Bench, job_id: JobId, **fields: Any) -> Job:
    job = changed(bench, job_id, **fields)
    assert isinstance(job, Job), job
    return job


def stored_spec(bench: Bench, job: Job) -> job_pb2.JobSpec:
    def read(connection: Connection) -> bytes:
        return bytes(connection.rows("SELECT spec FROM job_specs WHERE job = ?", (job.row,))[0][0])

    return job_pb2.JobSpec.FromString(bench.read(read))


def in_seconds(bench: Bench, seconds: float) -> Micros:
    return Micros(bench.clock.now() + int(seconds * SECOND))


def test_a_higher_priority_goes_first_and_says_so_in_the_log(bench: Bench) -> None:
    first, second = bench.submit(made(), made())
    job = change(bench, second.id, priority=1)
    assert (job.priority, job.rank) == (1, first.rank - 60 * SECOND)
    assert bench.cycle(offer()).granted[0].lease.job_id == second.id
    event = bench.events(second.id)[1].updated
    assert (event.actor, list(event.update_mask.paths), event.spec.priority) == ("tester", ["priority"], 1)
    assert stored_spec(bench, second).priority == 1


def test_q1_a_lower_priority_gives_the_head_start_back(bench: Bench) -> None:
    job = bench.submit(made(priority=5))[0]
    assert change(bench, job.id, priority=0).rank == job.created


def test_a_time_to_come_puts_a_queued_job_off_and_one_that_has_passed_queues_it_again(bench: Bench) -> None:
    (job,) = bench.submit(made())
    later = in_seconds(bench, 60)
    put_off = change(bench, job.id, schedule_time=at(later))
    assert (put_off.state, put_off.due, put_off.rank) == (JobState.SCHEDULED, later, later)
    assert bench.effects[-1].next_due == later
    assert bench.cycle(offer()).granted == ()
    bench.clock.advance(10)
    back = change(bench, job.id, schedule_time=at(bench.clock.now()))
    assert (back.state, back.due, back.rank) == (JobState.QUEUED, 0, bench.clock.now())
    assert bench.effects[-1].queued
    assert bench.cycle(offer()).granted[0].lease.job_id == job.id


def test_a_schedule_time_that_is_cleared_means_at_once(bench: Bench) -> None:
    (job,) = bench.submit(made(schedule_time=at(in_seconds(bench, 60))))
    assert job.state is JobState.SCHEDULED
    assert change(bench, job.id, schedule_time=None).state is JobState.QUEUED
    assert not stored_spec(bench, job).HasField("schedule_time")


def test_an_earlier_time_is_kept_when_only_the_priority_changes(bench: Bench) -> None:
    later = in_seconds(bench, 60)
    (job,) = bench.submit(made(schedule_time=at(later)))
    after = change(bench, job.id, priority=1)
    assert (after.state, after.due, after.rank) == (JobState.SCHEDULED, later, later - 60 * SECOND)


def test_c3_deadlines_move_with_the_schedule_time(bench: Bench) -> None:
    timeouts = job_pb2.Timeouts()
    timeouts.queue_timeout.seconds = 10
    timeouts.total_timeout.seconds = 20
    (job,) = bench.submit(made(timeouts=timeouts))
    assert (job.start_by, job.end_by) == (in_seconds(bench, 10), in_seconds(bench, 20))
    after = change(bench, job.id, schedule_time=at(in_seconds(bench, 60)))
    assert (after.start_by, after.end_by) == (in_seconds(bench, 70), in_seconds(bench, 80))
    back = change(bench, job.id, schedule_time=None)
    assert (back.start_by, back.end_by) == (in_seconds(bench, 10), in_seconds(bench, 20))
    assert change(bench, job.id, priority=3).start_by == back.start_by


def test_labels_are_replaced_as_a_whole(bench: Bench) -> None:
    (job,) = bench.submit(made(labels={"a": "1", "b": "2"}))
    change(bench, job.id, labels={"b": "3", "c": "4"})

    def labels(connection: Connection) -> list[tuple[str, str]]:
        return [(key, value) for key, value in connection.rows("SELECT label, value FROM job_labels ORDER BY label")]

    assert bench.read(labels) == [("b", "3"), ("c", "4")]
    assert dict(stored_spec(bench, job).labels) == {"b": "3", "c": "4"}
    assert dict(bench.events(job.id)[-1].updated.spec.labels) == {"b": "3", "c": "4"}
    change(bench, job.id, labels=None)
    assert bench.read(labels) == []


def test_q6_a_blocked_job_stays_blocked_and_keeps_its_new_time(bench: Bench) -> None:
    parent, child = bench.submit(made(ref="a"), made("a"))
    later = in_seconds(bench, 60)
    assert change(bench, child.id, schedule_time=at(later)).state is JobState.BLOCKED
    bench.finish(bench.assign(parent.id))
    bench.cycle()
    assert (bench.job(child.id).state, bench.job(child.id).due) == (JobState.SCHEDULED, later)


def test_s1_a_repeat_of_the_submit_still_means_the_job_after_it_was_changed(bench: Bench) -> None:
    new = made(request_id="r1")
    (job,) = bench.submit(new)
    change(bench, job.id, priority=7)
    (again,) = bench.write(submit_each, [new])
    assert isinstance(again, Accepted)
    assert (again.deduplicated, again.job.priority) == (True, 7)


def test_a_job_may_be_changed_in_the_transaction_that_made_it(bench: Bench) -> None:
    def submit_and_change(ledger: Ledger) -> Job | Refusal:
        (answer,) = submit_each(ledger, [made(labels={"a": "1"})])
        assert isinstance(answer, Accepted)
        new = Change(("labels", "priority"), job_pb2.JobSpec(priority=2, labels={"b": "2"}), "", "tester")
        return update(ledger, NAMESPACE, answer.job.id, new)

    job = bench.write(submit_and_change)
    assert isinstance(job, Job)
    assert dict(stored_spec(bench, job).labels) == {"b": "2"}


def refusal_of(answer: Job | Refusal) -> Refusal:
    assert isinstance(answer, Refusal)
    return answer


def test_what_has_started_or_ended_is_not_changed(bench: Bench) -> None:
    (job,) = bench.submit(made())
    lease = bench.assign(job.id)
    assert refusal_of(changed(bench, job.id, priority=1)).reason is Reason.JOB_STARTED
    bench.finish(lease)
    refusal = refusal_of(changed(bench, job.id, priority=1))
    assert (refusal.reason, refusal.metadata) == (Reason.JOB_ENDED, {"state": "SUCCEEDED"})


def test_a_job_that_waits_after_an_attempt_has_started(bench: Bench) -> None:
    lease = bench.running()
    bench.lose()
    assert bench.job(lease.job_id).state is JobState.QUEUED
    assert refusal_of(changed(bench, lease.job_id, priority=1)).reason is Reason.JOB_STARTED


@pytest.mark.parametrize("namespace", ["other", NAMESPACE])
def test_a_job_that_is_not_there_is_not_found(bench: Bench, namespace: str) -> None:
    (job,) = bench.submit(made())
    job_id = job.id if namespace == "other" else JobId(bytes(16))
    answer = bench.write(update, namespace, job_id, Change(("priority",), job_pb2.JobSpec(), "", "tester"))
    assert refusal_of(answer).reason is Reason.NOT_FOUND


def test_an_etag_is_compared(bench: Bench) -> None:
    (job,) = bench.submit(made())
    change(bench, job.id, etag="1", priority=1)
    assert refusal_of(changed(bench, job.id, etag="1", priority=2)).reason is Reason.STALE_ETAG
    assert bench.job(job.id).priority == 1


def test_a_change_is_audited(bench: Bench) -> None:
    (job,) = bench.submit(made())
    change(bench, job.id, priority=1, labels={"a": "1"})
    (entry,) = bench.read(list_audit, NAMESPACE, "job", job_id_text(job.id), 0, 10)
    assert (entry.action, entry.actor, entry.detail) == ("JobService.UpdateJob", "tester", "labels: a=1; priority: 1")
