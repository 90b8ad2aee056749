"""Unique keys: of the jobs that share one, at most one may run and one waits for it (S3)."""

from random import Random
from typing import Any

import pytest

from headrace.v1 import job_pb2, queue_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, Micros, job_id_text
from headrace_server.core.job import CancelCause, Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED, JobState
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.workers import Word, hear_each
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.jobs.submission import Accepted, NewJob, UniqueKeyConflict
from headrace_server.store.jobs.submit import check_each, submit_all, submit_each
from headrace_server.store.jobs.unique_keys import newest_with_key
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queues import create_queue
from store.driving import HOME, NAMESPACE, Bench, OpenStore, finished, new_job, offer
from store.graphs import CANCEL, made

REFUSE, RETURN, REPLACE = UniqueKeyConflict


def keyed(on_conflict: UniqueKeyConflict = REPLACE, key: str = "k", **changes: Any) -> NewJob:
    return new_job(unique_key=key, on_conflict=on_conflict, **changes)


def one(bench: Bench, new: NewJob) -> Job:
    (job,) = bench.submit(new)
    return job


def refused(bench: Bench, new: NewJob) -> Refusal:
    (answer,) = bench.write(submit_each, [new])
    assert isinstance(answer, Refusal)
    return answer


def started(bench: Bench, job: Job) -> Lease:
    lease = bench.assign(job.id)
    bench.hear(starts=[lease])
    return lease


def places(connection: Connection) -> list[tuple[int, int]]:
    return [(job, place) for job, place in connection.rows("SELECT job, place FROM unique_keys ORDER BY job")]


def test_s3_a_second_job_is_refused_with_the_id_of_the_first(bench: Bench) -> None:
    first = one(bench, keyed())
    refusal = refused(bench, keyed(REFUSE))
    assert (refusal.reason, refusal.resource_name) == (Reason.UNIQUE_KEY_TAKEN, job_id_text(first.id))
    assert "'k'" in refusal.message


def test_s3_the_key_is_free_again_after_the_end(bench: Bench) -> None:
    lease = started(bench, one(bench, keyed(REFUSE)))
    assert refused(bench, keyed(REFUSE)).reason is Reason.UNIQUE_KEY_TAKEN
    bench.finish(lease)
    assert one(bench, keyed(REFUSE)).state is JobState.QUEUED


def test_s3_keys_are_those_of_a_namespace_and_a_queue(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="other"), "tester")
    one(bench, keyed(REFUSE))
    one(bench, keyed(REFUSE, queue="other"))
    one(bench, keyed(REFUSE, namespace="elsewhere"))
    one(bench, keyed(REFUSE, key="another"))


def test_s3_the_job_that_is_there_is_returned(bench: Bench) -> None:
    first = one(bench, keyed())
    (answer,) = bench.write(submit_each, [keyed(RETURN)])
    assert answer == Accepted(first, deduplicated=True)


def test_s1_a_request_that_was_answered_with_the_job_that_is_there_is_kept(bench: Bench) -> None:
    first = one(bench, keyed())
    twice = [keyed(RETURN, request_id="a"), keyed(RETURN, request_id="a")]
    assert bench.write(submit_each, twice) == [Accepted(first, deduplicated=True)] * 2
    assert refused(bench, keyed(RETURN, request_id="a", fingerprint=b"another")).reason is Reason.REQUEST_ID_REUSED
    bench.cancel(first.id)
    (answer,) = bench.write(submit_each, [keyed(RETURN, request_id="a")])
    assert isinstance(answer, Accepted)
    assert answer.job.id == first.id
    assert bench.write(delete, NAMESPACE, first.id, "", "tester") is None
    (answer,) = bench.write(submit_each, [keyed(RETURN, request_id="a")])
    assert isinstance(answer, Accepted)
    assert (answer.job.id, answer.job.state, answer.deduplicated) == (first.id, JobState.CANCELLED, True)


def test_s1_items_that_share_a_new_job_by_its_key_keep_their_requests(bench: Bench) -> None:
    items = [keyed(RETURN, request_id=request_id) for request_id in ("a", "b", "b")]
    made_, *same = bench.write(submit_each, items)
    assert isinstance(made_, Accepted)
    assert same == [Accepted(made_.job, deduplicated=True)] * 2
    assert bench.write(submit_each, items[1:2]) == [Accepted(bench.job(made_.job.id), deduplicated=True)]


def test_s3_a_waiting_job_is_replaced_and_says_by_which(bench: Bench) -> None:
    first, second = one(bench, keyed()), one(bench, keyed())
    gone = bench.job(first.id)
    assert (gone.state, second.state) == (JobState.CANCELLED, JobState.QUEUED)
    assert gone.cancellation is not None
    assert (gone.cancellation.cause, gone.cancellation.superseded_by) == (CancelCause.SUPERSEDED, second.id)


def test_s3_behind_an_active_job_one_waits_and_the_latest_is_kept(bench: Bench) -> None:
    lease = started(bench, one(bench, keyed()))
    second, third = one(bench, keyed()), one(bench, keyed())
    assert (bench.job(second.id).state, bench.job(third.id).state) == (JobState.CANCELLED, JobState.BLOCKED)
    assert bench.cycle(offer()).granted == ()
    bench.finish(lease)
    assert bench.job(third.id).state is JobState.QUEUED
    assert bench.kinds(third.id) == ["submitted", "queued"]
    assert [granted.lease.job_id for granted in bench.cycle(offer()).granted] == [third.id]


def test_s3_a_job_in_backoff_is_active(bench: Bench) -> None:
    lease = started(bench, one(bench, keyed()))
    bench.fail(lease, FailureClass.CRASH)
    assert bench.job(lease.job_id).state is JobState.SCHEDULED
    second = one(bench, keyed())
    assert (bench.job(lease.job_id).state, second.state) == (JobState.SCHEDULED, JobState.BLOCKED)


def test_s3_what_was_granted_once_is_active_also_after_it_went_back(bench: Bench) -> None:
    first = one(bench, keyed())
    bench.assign(first.id)
    bench.lose()
    assert bench.job(first.id).state is JobState.QUEUED
    assert one(bench, keyed()).state is JobState.BLOCKED


@pytest.mark.parametrize("how", ["cancel", "fail", "lose"])
def test_s3_the_waiting_job_goes_on_however_the_active_one_ends(bench: Bench, how: str) -> None:
    lease = started(bench, one(bench, keyed()))
    second = one(bench, keyed())
    if how == "cancel":
        bench.cancel(lease.job_id)
        assert bench.job(second.id).state is JobState.BLOCKED
        bench.finish(lease, succeeded=None)
    elif how == "fail":
        bench.fail(lease, FailureClass.INVALID)
    else:
        bench.cancel(lease.job_id)
        bench.lose()
    assert bench.job(second.id).state is JobState.QUEUED


def test_s3_the_waiting_job_still_waits_for_its_time(bench: Bench) -> None:
    lease = started(bench, one(bench, keyed()))
    later = Micros(bench.clock.now() + 60 * SECOND)
    second = one(bench, keyed(schedule_time=later))
    assert second.state is JobState.BLOCKED
    bench.finish(lease)
    assert (bench.job(second.id).state, bench.job(second.id).due) == (JobState.SCHEDULED, later)


def test_s3_a_waiting_job_that_ends_leaves_its_place(bench: Bench) -> None:
    lease = started(bench, one(bench, keyed()))
    bench.cancel(one(bench, keyed()).id)
    third = one(bench, keyed())
    assert bench.read(places) == [(1, 1), (2, 0), (3, 2)]
    bench.finish(lease)
    assert bench.read(places) == [(1, 0), (2, 0), (3, 1)]
    assert bench.job(third.id).state is JobState.QUEUED


def test_s3_items_of_one_call_share_a_key_like_jobs_of_several(bench: Bench) -> None:
    answers = bench.write(submit_each, [keyed(), keyed(REFUSE), keyed(RETURN), keyed(), keyed(REFUSE)])
    ids = [answer.job.id if isinstance(answer, Accepted) else answer.resource_name for answer in answers]
    first, last = ids[0], ids[3]
    assert isinstance(first, bytes)
    assert isinstance(last, bytes)
    assert ids == [first, job_id_text(first), first, last, job_id_text(last)]
    assert [job.state for job in map(bench.job, (first, last))] == [JobState.CANCELLED, JobState.QUEUED]


def test_s3_all_or_nothing_and_checks_see_keys_within_the_call(bench: Bench) -> None:
    news = [keyed(), keyed(REFUSE)]
    for verb in (check_each, submit_all):
        answers = bench.write(verb, news)
        assert [answer.reason if isinstance(answer, Refusal) else None for answer in answers] == [
            None,
            Reason.UNIQUE_KEY_TAKEN,
        ]
    assert bench.read(places) == []


def test_s3_a_key_whose_job_ends_in_the_same_transaction_is_free(bench: Bench) -> None:
    lease = started(bench, one(bench, keyed(REFUSE)))

    def finish_and_submit(ledger: Ledger) -> list[Accepted | Refusal]:
        hear_each(ledger, [Word(HOME, finishes=[finished(lease)])])
        return submit_each(ledger, [keyed(REFUSE)])

    (answer,) = bench.write(finish_and_submit)
    assert isinstance(answer, Accepted)
    assert answer.job.state is JobState.QUEUED


def test_s3_the_waiting_job_is_first_when_the_active_one_ends_in_the_same_transaction(bench: Bench) -> None:
    lease = started(bench, one(bench, keyed()))
    waiting = one(bench, keyed())

    def finish_and_submit(ledger: Ledger) -> list[Accepted | Refusal]:
        hear_each(ledger, [Word(HOME, finishes=[finished(lease)])])
        return submit_each(ledger, [keyed()])

    (answer,) = bench.write(finish_and_submit)
    assert isinstance(answer, Accepted)
    assert (bench.job(waiting.id).state, answer.job.state) == (JobState.CANCELLED, JobState.QUEUED)


def test_s3_the_index_decides_also_when_nobody_looked(bench: Bench) -> None:
    one(bench, keyed())

    def take(ledger: Ledger) -> None:
        ledger.run("INSERT INTO unique_keys VALUES ('default', 'default', 'k', 99, 1)")

    with pytest.raises(Exception, match="UNIQUE constraint failed"):
        bench.write(take)


def test_s5_replacing_needs_no_room_and_a_full_queue_still_answers(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="small", max_queued=1), "tester")
    first = one(bench, keyed(queue="small"))
    second = one(bench, keyed(queue="small"))
    (again,) = bench.write(submit_each, [keyed(RETURN, queue="small")])
    assert isinstance(again, Accepted)
    assert (bench.job(first.id).state, again.job.id) == (JobState.CANCELLED, second.id)
    started(bench, second)
    assert one(bench, keyed(queue="small")).state is JobState.BLOCKED
    assert refused(bench, keyed(key="other", queue="small")).reason is Reason.QUEUE_FULL


def test_s3_q6_a_job_waits_for_its_key_and_for_its_parents_in_either_order(bench: Bench) -> None:
    for key_first in (True, False):
        unique = job_pb2.UniqueKey(key=f"k{key_first}", on_conflict=job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING)
        head = started(bench, one(bench, made(unique_key=unique)))
        parent = one(bench, made())
        child = one(bench, made(parent.id, unique_key=unique))
        assert child.state is JobState.BLOCKED
        parent_lease = bench.assign(parent.id)
        bench.finish(head if key_first else parent_lease)
        bench.cycle()
        assert bench.job(child.id).state is JobState.BLOCKED
        bench.finish(parent_lease if key_first else head)
        bench.cycle()
        assert bench.job(child.id).state is JobState.QUEUED
        bench.finish(bench.assign(child.id))


def test_s3_q6_a_waiting_job_whose_parent_failed_leaves_its_place(bench: Bench) -> None:
    unique = job_pb2.UniqueKey(key="k", on_conflict=job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING)
    head = started(bench, one(bench, made(unique_key=unique)))
    parent = one(bench, made())
    child = one(bench, made(parent.id, unique_key=unique, dependency_cancel_action=CANCEL))
    bench.cancel(parent.id)
    bench.cycle()
    assert bench.job(child.id).state is JobState.CANCELLED
    bench.finish(head)
    assert one(bench, made(unique_key=unique)).state is JobState.QUEUED


def test_s3_q6_a_job_that_ends_at_once_takes_no_place_and_replaces_nobody(bench: Bench) -> None:
    unique = job_pb2.UniqueKey(key="k", on_conflict=job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING)
    waiting = one(bench, made(unique_key=unique))
    gone = one(bench, made())
    bench.cancel(gone.id)
    skipped = one(bench, made(gone.id, unique_key=unique))
    assert (bench.job(skipped.id).state, bench.job(waiting.id).state) == (JobState.SKIPPED, JobState.QUEUED)


def test_s3_q6_a_replaced_parent_is_one_that_was_cancelled(bench: Bench) -> None:
    unique = job_pb2.UniqueKey(key="k", on_conflict=job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING)
    first = made(ref="a", unique_key=unique)
    jobs = bench.submit(first, made("a"), made(unique_key=unique), made("a"))
    bench.cycle()
    assert [bench.job(job.id).state for job in jobs] == [
        JobState.CANCELLED,
        JobState.SKIPPED,
        JobState.QUEUED,
        JobState.SKIPPED,
    ]


def test_e2_the_newest_job_with_a_key_is_found_ended_or_not(reopen: OpenStore) -> None:
    bench = reopen()
    assert bench.read(newest_with_key, NAMESPACE, "default", "k") is None
    first = one(bench, keyed())
    bench.cancel(first.id)
    assert reopen().read(newest_with_key, NAMESPACE, "default", "k") == first.id
    bench = reopen()
    second = one(bench, keyed())
    assert bench.effects[-1].keyed == {(NAMESPACE, "default", "k")}
    assert bench.read(newest_with_key, NAMESPACE, "default", "k") == second.id


@pytest.mark.parametrize("seed", range(5))
def test_s3_at_most_one_is_active_and_one_waits_whatever_happens(bench: Bench, seed: int) -> None:
    chance = Random(seed)
    leases: list[Lease] = []
    jobs: list[Job] = []
    for _ in range(120):
        act = chance.random()
        if act < 0.5:
            news = [keyed(chance.choice(list(UniqueKeyConflict)), key=chance.choice("ab")) for _ in range(2)]
            answers = bench.write(submit_each, news)
            jobs += [one.job for one in answers if isinstance(one, Accepted) and not one.deduplicated]
        elif act < 0.65:
            leases += [granted.lease for granted in bench.cycle(offer()).granted]
        elif act < 0.8 and leases:
            bench.finish(leases.pop(chance.randrange(len(leases))))
        elif jobs:
            bench.cancel(chance.choice(jobs).id)
        for key in "ab":
            live = bench.read(live_with, key)
            assert len(live) <= 2
            assert sum(state is not JobState.BLOCKED for state in live) == min(1, len(live)), live


def live_with(connection: Connection, key: str) -> list[JobState]:
    found = connection.rows(
        "SELECT state FROM jobs JOIN unique_keys ON unique_keys.job = jobs.job WHERE unique_key = ?", (key,)
    )
    return [JobState(state) for (state,) in found if JobState(state) not in ENDED]
