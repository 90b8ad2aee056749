"""Deleting jobs, by word and by age: what goes, what stays for a while, and nothing live is touched (E8, S1, I14)."""

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from headrace.v1 import job_pb2, queue_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.runtime.retention import DAY, Keeping, Retention
from headrace_server.store.attempts.leases import Disposition
from headrace_server.store.attempts.workers import Word, hear_each
from headrace_server.store.engine import Connection
from headrace_server.store.jobs import deletions
from headrace_server.store.jobs.deletions import delete, remove_some_log
from headrace_server.store.jobs.dependencies import parent_states
from headrace_server.store.jobs.retries import retry
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.records import expiry, output_expiry, reads
from headrace_server.store.records.audit import list_audit, record_audit
from store.checkers import check_store
from store.driving import HOME, NAMESPACE, Bench, OpenStore, checkpoint, chunk, finished, offer
from store.graphs import made

OF_A_JOB = (
    "jobs",
    "job_specs",
    "job_labels",
    "unique_keys",
    "checkpoints",
    "late_results",
    "retries",
    "dependencies",
    "events",
    "outputs",
    "removals",
    "dropped_outputs",
)


def counts(connection: Connection) -> dict[str, int]:
    found = {table: int(connection.rows(f"SELECT count(*) FROM {table}")[0][0]) for table in OF_A_JOB}
    return {table: count for table, count in found.items() if count}


def deleted(bench: Bench, job_id: JobId, etag: str = "") -> Refusal | None:
    return bench.write(delete, NAMESPACE, job_id, etag, "tester")


def ran(bench: Bench, **fields: Any) -> Job:
    """A job that ended well, with output."""
    (job,) = bench.submit(made(**fields))
    lease = bench.assign(job.id)
    bench.append(lease, chunk(1))
    bench.finish(lease, outputs=1)
    return bench.job(job.id)


def retention(bench: Bench, jobs_days: float = 30, audit_days: float = 365, output_days: float = 7) -> None:
    keeping = Keeping(jobs_days, audit_days, output_days)
    bench.run(Retention(bench.store, bench.clock, keeping, pause_seconds=0).sweep())


def days_pass(bench: Bench, days: float) -> None:
    bench.clock.advance(days * DAY / SECOND)


def test_a_deleted_job_leaves_nothing_but_its_audit_entry(bench: Bench) -> None:
    job = ran(bench, labels={"a": "1"}, unique_key=job_pb2.UniqueKey(key="k"))
    assert deleted(bench, job.id) is None
    assert bench.read(counts) == {}
    assert bench.read(reads.get_job, NAMESPACE, job.id) is None
    assert bench.read(reads.state_counts, NAMESPACE, ()) == []
    (entry,) = bench.read(list_audit, NAMESPACE, "job", job_id_text(job.id), 0, 10)
    assert (entry.action, entry.actor) == ("JobService.DeleteJob", "tester")
    assert job.id in bench.effects[-1].changed, "its followers are not woken"


def test_a_deleted_graph_leaves_nothing_of_what_its_attempts_kept(bench: Bench) -> None:
    parent = ran(bench)
    (child,) = bench.submit(made(dependencies=[job_pb2.Dependency(job_id=job_id_text(parent.id))]))
    lost = bench.assign(child.id)
    bench.append(lost, checkpoint(1, "half"))
    bench.lose()
    assert bench.finish(lost)[0] is Disposition.STALE
    bench.finish(bench.assign(child.id))
    assert {"checkpoints", "late_results", "dependencies"} < bench.read(counts).keys()
    for job in (parent, child):
        assert deleted(bench, job.id) is None
    assert bench.read(counts) == {}


def test_i14_only_what_has_ended_is_deleted(bench: Bench) -> None:
    lease = bench.running()
    refusal = deleted(bench, lease.job_id)
    assert refusal is not None
    assert (refusal.reason, refusal.metadata) == (Reason.JOB_NOT_ENDED, {"state": "RUNNING"})
    missing = deleted(bench, JobId(bytes(16)))
    assert missing is not None
    assert missing.reason is Reason.NOT_FOUND


def test_a_job_of_another_namespace_is_not_deleted(bench: Bench) -> None:
    (job,) = bench.submit(replace(made(), namespace="elsewhere"))
    bench.finish(bench.assign(job.id))
    refusal = deleted(bench, job.id)
    assert refusal is not None
    assert refusal.reason is Reason.NOT_FOUND


def test_an_etag_is_compared_before_a_deletion(bench: Bench) -> None:
    job = ran(bench)
    stale = deleted(bench, job.id, "1")
    assert stale is not None
    assert stale.reason is Reason.STALE_ETAG
    assert deleted(bench, job.id, str(job.sequence)) is None


def test_a_job_is_gone_for_whatever_follows_in_the_same_transaction(bench: Bench) -> None:
    lease = bench.running()

    def finish_and_delete(ledger: Ledger) -> bool:
        hear_each(ledger, [Word(HOME, finishes=[finished(lease)])])
        assert delete(ledger, NAMESPACE, lease.job_id, "", "tester") is None
        return ledger.job(lease.job_id) is None

    assert bench.write(finish_and_delete)
    assert bench.append(lease, chunk(1)).stale, "what was remembered of its lease outlives it"
    assert bench.hear(finishes=[finished(lease)]).finished[0][1].name == "STALE"


def test_s1_a_request_id_is_remembered_for_a_week_after_the_deletion(reopen: OpenStore) -> None:
    bench = reopen()
    job = ran(bench, request_id="r1")
    deleted(bench, job.id)
    bench = reopen()
    (again,) = bench.write(submit_each, [made(request_id="r1")])
    assert isinstance(again, Accepted)
    assert (again.job.id, again.job.state, again.deduplicated) == (job.id, JobState.SUCCEEDED, True)
    (other,) = bench.write(submit_each, [made(request_id="r1", priority=1)])
    assert isinstance(other, Refusal)
    assert (other.reason, other.resource_name) == (Reason.REQUEST_ID_REUSED, job_id_text(job.id))
    days_pass(bench, 6.9)
    retention(bench)
    assert bench.write(submit_each, [made(request_id="r1")]) == [again]
    days_pass(bench, 0.2)
    retention(bench)
    (new,) = bench.submit(made(request_id="r1"))
    assert new.id != job.id


def test_s1_a_sweep_forgets_no_request_of_a_job_that_is_there(bench: Bench) -> None:
    ended = ran(bench, request_id="r2")
    (waits,) = bench.submit(made(request_id="r1"))
    days_pass(bench, 29)
    retention(bench)
    answers = bench.write(submit_each, [made(request_id="r1"), made(request_id="r2")])
    assert [(one.job.id, one.deduplicated) for one in answers if isinstance(one, Accepted)] == [
        (waits.id, True),
        (ended.id, True),
    ]


def test_q4_a_sweep_drops_no_bucket_that_is_not_full(bench: Bench) -> None:
    policy = queue_pb2.Queue(name="slow", rate_limit=queue_pb2.RateLimit(count=1, period=Duration(seconds=60)))
    bench.write(create_queue, NAMESPACE, policy, "tester")
    bench.submit(made(queue="slow"), made(queue="slow"))
    assert len(bench.cycle(offer(slots=2)).granted) == 1
    bench.clock.advance(59)
    retention(bench)
    assert len(bench.cycle(offer(slots=2)).granted) == 0
    bench.clock.advance(1)
    retention(bench)
    assert bench.read(lambda connection: connection.rows("SELECT 1 FROM rate_buckets")) == []
    assert len(bench.cycle(offer(slots=2)).granted) == 1


def test_q2_a_sweep_drops_no_share_that_has_jobs(bench: Bench) -> None:
    fair = queue_pb2.Fairness(scope=queue_pb2.FAIRNESS_SCOPE_OWNER)
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="fair", fairness=fair), "tester")
    bench.submit(made(queue="fair", owner="ann"))
    assert len(bench.cycle(offer()).granted) == 1
    days_pass(bench, 31)
    retention(bench)
    assert bench.read(lambda connection: connection.rows("SELECT name, active FROM shares")) == [("ann", 1)]


def test_q6_children_of_a_deleted_job_know_how_it_ended(bench: Bench) -> None:
    parent, other, child = bench.submit(made(ref="a"), made(ref="b"), made("a", "b"))
    bench.finish(bench.assign(parent.id))
    assert deleted(bench, parent.id) is None
    bench.read(check_store)
    bench.finish(bench.assign(other.id))
    bench.cycle()
    assert bench.job(child.id).state is JobState.QUEUED
    assert bench.read(parent_states, child) == [(parent.id, JobState.SUCCEEDED), (other.id, JobState.SUCCEEDED)]
    (refused,) = bench.write(submit_each, [made(parent.id)])
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.resource_name) == (Reason.NOT_FOUND, job_id_text(parent.id))


def test_s3_the_waiting_job_goes_on_when_the_active_one_ends_and_is_deleted_at_once(bench: Bench) -> None:
    unique = job_pb2.UniqueKey(key="k", on_conflict=job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING)
    (head,) = bench.submit(made(unique_key=unique))
    lease = bench.assign(head.id)
    (waiting,) = bench.submit(made(unique_key=unique))

    def finish_and_delete(ledger: Ledger) -> None:
        hear_each(ledger, [Word(HOME, finishes=[finished(lease)])])
        assert delete(ledger, NAMESPACE, head.id, "", "tester") is None

    bench.write(finish_and_delete)
    assert bench.job(waiting.id).state is JobState.QUEUED


def test_e8_a_long_log_is_removed_in_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "SMALL_LOG_EVENTS_COUNT", 5)
    monkeypatch.setattr(deletions, "STEP_EVENTS_COUNT", 4)
    lease = bench.running()
    bench.append(lease, *(chunk(n) for n in range(1, 11)))
    bench.finish(lease, outputs=10)
    assert deleted(bench, lease.job_id) is None
    left = [bench.read(counts)]
    while bench.write(remove_some_log):
        left.append(bench.read(counts))
        bench.read(check_store)
    sizes = [(one.get("outputs", 0), one.get("events", 0)) for one in left]
    assert sizes == [(10, 4), (6, 4), (2, 4), (0, 4), (0, 0), (0, 0)]
    assert left[-1] == {}


def test_e8_a_step_is_bounded_in_bytes_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "SMALL_LOG_BYTES", 1000)
    monkeypatch.setattr(deletions, "STEP_BYTES", 2500)
    lease = bench.running()
    bench.append(lease, *(chunk(n, b"x" * 1000) for n in range(1, 7)))
    bench.finish(lease, outputs=6)
    deleted(bench, lease.job_id)
    sizes = []
    while bench.write(remove_some_log):
        sizes.append(bench.read(counts).get("outputs", 0))
    assert sizes == [4, 2, 0, 0, 0]


def test_e8_jobs_are_deleted_once_they_ended_long_enough_ago(bench: Bench) -> None:
    old = ran(bench)
    (live,) = bench.submit(made())
    days_pass(bench, 20)
    young = ran_later(bench)
    days_pass(bench, 10.5)
    retention(bench)
    assert bench.read(reads.get_job, NAMESPACE, old.id) is None
    assert bench.job(live.id).state is JobState.QUEUED
    assert bench.job(young.id).state is JobState.CANCELLED
    days_pass(bench, 365)
    bench.cancel(live.id)
    retention(bench)
    assert bench.read(reads.get_job, NAMESPACE, young.id) is None
    assert bench.job(live.id).state is JobState.CANCELLED, "it has ended just now"


def ran_later(bench: Bench) -> Job:
    (job,) = bench.submit(made())
    bench.cancel(job.id)
    return job


def test_e8_many_old_jobs_are_found_page_by_page(bench: Bench) -> None:
    jobs = bench.submit(*(made() for _ in range(25)))
    for job in jobs[::2]:
        bench.cancel(job.id)
    days_pass(bench, 31)
    found: list[JobId] = []
    after: int | None = 0
    while after is not None:
        ids, after = bench.read(deletions.ended_long_ago, after, Micros(bench.clock.now() - 30 * DAY), 10)
        found += ids
    assert found == [job.id for job in jobs[::2]]
    retention(bench)
    assert bench.read(counts)["jobs"] == 12


def test_e8_audit_entries_go_after_their_time(bench: Bench) -> None:
    def entry(ledger: Ledger) -> None:
        record_audit(ledger, "tester", "act", NAMESPACE, "job", "x", "")

    bench.write(entry)
    days_pass(bench, 300)
    bench.write(entry)
    days_pass(bench, 66)
    retention(bench)
    assert [one.number for one in bench.read(list_audit, NAMESPACE, "", "", 0, 10)] == [2]


def test_ready_keys_without_live_jobs_are_dropped_and_made_anew(bench: Bench) -> None:
    def keys(connection: Connection) -> tuple[int, int]:
        found = connection.rows("SELECT (SELECT count(*) FROM ready_keys), (SELECT count(*) FROM ready_groups)")
        return int(found[0][0]), int(found[0][1])

    first, second, third = bench.submit(made(owner="one"), made(owner="two"), made(owner="three", queue="default"))
    bench.cancel(first.id)
    assert bench.read(keys) == (3, 1)
    assert bench.write(expiry.drop_idle_keys, 0) is None
    assert bench.read(keys) == (2, 1)
    bench.cancel(second.id)
    bench.cancel(third.id)
    bench.write(expiry.drop_idle_keys, 0)
    assert bench.read(keys) == (0, 0)
    (again,) = bench.submit(made(owner="one"))
    assert bench.read(keys) == (1, 1)
    bench.finish(bench.assign(again.id))
    assert bench.job(first.id).state is JobState.CANCELLED


def test_a_key_that_is_dropped_and_used_in_one_transaction_is_a_new_one(bench: Bench) -> None:
    (job,) = bench.submit(made())
    bench.cancel(job.id)

    def drop_and_submit(ledger: Ledger) -> list[Accepted | Refusal]:
        expiry.drop_idle_keys(ledger, 0)
        return submit_each(ledger, [made()])

    (answer,) = bench.write(drop_and_submit)
    assert isinstance(answer, Accepted)
    bench.finish(bench.assign(answer.job.id))


def test_e8_a_sweep_of_an_empty_store_does_nothing(bench: Bench) -> None:
    retention(bench)
    assert bench.read(counts) == {}


def test_r4_a_retry_may_outlive_its_origin_and_the_other_way_round(bench: Bench) -> None:

    lease = bench.running()
    bench.fail(lease, FailureClass.INVALID)
    answer = bench.write(retry, NAMESPACE, lease.job_id, "", "tester", "")
    assert isinstance(answer, Accepted)
    bench.cancel(answer.job.id)
    assert deleted(bench, answer.job.id) is None
    again = bench.write(retry, NAMESPACE, lease.job_id, "", "tester", "")
    assert isinstance(again, Accepted)
    assert deleted(bench, lease.job_id) is None
    assert bench.job(again.job.id).origin.retry_of == lease.job_id
    assert bench.read(counts).get("retries") is None


def test_e8_output_goes_some_days_after_the_end_and_the_rest_of_the_log_later(bench: Bench) -> None:
    job = ran(bench)
    days_pass(bench, 6.9)
    retention(bench)
    assert "output" in bench.kinds(job.id)
    days_pass(bench, 0.2)
    retention(bench)
    assert bench.kinds(job.id) == ["submitted", "attempt_assigned", "attempt_started", "succeeded"]
    assert bench.job(job.id).output_bytes == 1
    days_pass(bench, 23)
    retention(bench)
    assert "jobs" not in bench.read(counts)
    assert "dropped_outputs" not in bench.read(counts)


def test_i14_output_of_jobs_that_live_on_or_have_only_just_ended_stays(bench: Bench) -> None:
    lives = bench.running()
    bench.append(lives, chunk(1))
    days_pass(bench, 20)
    recent = ran(bench)
    days_pass(bench, 6)
    retention(bench)
    assert "output" in bench.kinds(lives.job_id)
    assert "output" in bench.kinds(recent.id)


def test_e8_much_output_is_removed_in_steps_of_bounded_size(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_expiry, "STEP_EVENTS_COUNT", 10)
    jobs = [ran(bench) for _ in range(12)]
    long = bench.running()
    bench.append(long, *(chunk(n) for n in range(1, 36)))
    bench.finish(long, outputs=35)
    ids = [*(job.id for job in jobs), long.job_id]
    left, steps = ids, []
    while left:
        done = bench.write(output_expiry.drop_outputs, left, bench.clock.now())
        steps.append(done)
        left = left[done:]
    assert len(steps) == 5
    assert bench.read(counts)["dropped_outputs"] == 13
    assert "outputs" not in bench.read(counts)
