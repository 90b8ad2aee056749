"""Accepting jobs: once, all or none, within bounds."""

import pytest

from headrace.v1 import queue_pb2
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.placement import Needs
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.submit import Accepted, NewJob, check_each, submit_all, submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queues import create_queue
from store.checkers import check_store
from store.driving import NAMESPACE, Bench, OpenStore, handler_spec, new_job

OTHER = handler_spec("other")


def reasons(results: list[Accepted | Refusal | None]) -> list[Reason | None]:
    return [result.reason if isinstance(result, Refusal) else None for result in results]


def jobs_count(bench: Bench) -> int:
    return int(bench.read(lambda connection: connection.rows("SELECT count(*) FROM jobs"))[0][0])


def small_queue(bench: Bench, max_queued: int) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="small", max_queued=max_queued), "tester")


def test_s1_a_repeated_submit_returns_the_same_job(bench: Bench) -> None:
    (first,) = bench.write(submit_each, [new_job("r1")])
    (again,) = bench.write(submit_each, [new_job("r1")])
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (first.deduplicated, again.deduplicated) == (False, True)
    assert again.job == first.job
    assert jobs_count(bench) == 1


def test_s1_a_repeat_within_one_transaction_returns_the_same_job(bench: Bench) -> None:
    first, again = bench.write(submit_each, [new_job("r1"), new_job("r1")])
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.job.id, again.deduplicated) == (first.job.id, True)
    assert jobs_count(bench) == 1


def test_s1_a_repeat_by_another_verb_of_the_same_transaction_returns_the_same_job(bench: Bench) -> None:
    first, again = bench.write(
        lambda ledger: submit_each(ledger, [new_job("r1")]) + submit_each(ledger, [new_job("r1")])
    )
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.job.id, again.deduplicated) == (first.job.id, True)


def test_s1_a_repeat_after_a_restart_returns_the_same_job(reopen: OpenStore) -> None:
    (job,) = reopen().submit(new_job("r1"))
    (again,) = reopen().write(submit_each, [new_job("r1")])
    assert again == Accepted(job, deduplicated=True)


def test_s1_a_repeat_after_the_end_returns_the_ended_job(bench: Bench) -> None:
    (job,) = bench.submit(new_job("r1"))
    bench.cancel(job.id)
    (again,) = bench.write(submit_each, [new_job("r1")])
    assert isinstance(again, Accepted)
    assert (again.job.id, again.job.state) == (job.id, JobState.CANCELLED)


def test_s1_the_same_id_in_another_namespace_is_another_job(bench: Bench) -> None:
    (here,) = bench.submit(new_job("r1"))
    (there,) = bench.submit(new_job("r1", namespace="other"))
    assert here.id != there.id


def test_submits_without_a_request_id_are_never_taken_for_each_other(bench: Bench) -> None:
    one, two = bench.submit(new_job(), new_job())
    assert one.id != two.id


def test_s2_same_id_other_payload_is_refused_with_the_existing_job(bench: Bench) -> None:
    (job,) = bench.submit(new_job("r1"))
    (refused,) = bench.write(submit_each, [new_job("r1", OTHER)])
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.REQUEST_ID_REUSED
    assert refused.resource_name in refused.message
    assert refused.resource_name.replace("-", "") == job.id.hex()


def test_s2_same_id_other_payload_within_one_transaction_is_refused(bench: Bench) -> None:
    results = bench.write(submit_each, [new_job("r1"), new_job("r1", OTHER)])
    assert reasons([*results]) == [None, Reason.REQUEST_ID_REUSED]


def test_s4_nothing_is_left_of_a_submit_whose_transaction_fails(bench: Bench) -> None:
    def submit_and_fail(ledger: Ledger) -> None:
        submit_each(ledger, [new_job("r1")])
        ledger.flush()
        raise RuntimeError("after the submit")

    with pytest.raises(RuntimeError, match="after the submit"):
        bench.write(submit_and_fail)
    assert jobs_count(bench) == 0
    bench.submit(new_job("r1", OTHER))


def test_s5_max_queued_is_decided_inside_the_transaction(bench: Bench) -> None:
    small_queue(bench, 3)
    results = bench.write(submit_each, [new_job(f"r{n}", queue="small") for n in range(5)])
    assert reasons([*results]) == [None, None, None, Reason.QUEUE_FULL, Reason.QUEUE_FULL]
    refusal = results[3]
    assert isinstance(refusal, Refusal)
    assert refusal.metadata == {"max_queued": "3"}
    assert refusal.retry_after_seconds is not None
    assert reasons([*bench.write(submit_each, [new_job(queue="small")])]) == [Reason.QUEUE_FULL]


def test_s5_scheduled_jobs_count_and_running_ones_do_not(bench: Bench) -> None:
    small_queue(bench, 1)
    lease = bench.running(queue="small")
    later = Micros(bench.clock.now() + SECOND)
    bench.submit(new_job(queue="small", schedule_time=later))
    assert reasons([*bench.write(submit_each, [new_job(queue="small")])]) == [Reason.QUEUE_FULL]
    bench.finish(lease)


def test_s5_a_job_that_ends_at_once_needs_no_room(bench: Bench) -> None:
    small_queue(bench, 1)
    (parent,) = bench.submit(new_job())
    bench.cancel(parent.id)
    (waits,) = bench.submit(new_job(queue="small"))
    (skipped,) = bench.submit(new_job(queue="small", dependencies=(parent.id,)))
    assert (waits.state, skipped.state) == (JobState.QUEUED, JobState.SKIPPED)


def test_s5_a_deduplicated_submit_is_answered_by_a_full_queue(bench: Bench) -> None:
    small_queue(bench, 1)
    full = [new_job("r1", queue="small")]
    bench.submit(*full)
    (again,) = bench.write(submit_each, full)
    assert isinstance(again, Accepted)
    assert again.deduplicated


def test_s5_what_comes_back_is_never_refused_by_a_full_queue(bench: Bench) -> None:
    small_queue(bench, 1)
    lease = bench.running(queue="small")
    bench.submit(new_job(queue="small"))
    bench.lose()
    assert bench.job(lease.job_id).state is JobState.QUEUED


def test_s6_an_executor_that_the_queue_does_not_take_is_refused(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="talk", executors=["claude"]), "tester")
    (refused,) = bench.write(submit_each, [new_job(queue="talk")])
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.resource_name) == (Reason.EXECUTOR_NOT_TAKEN, "talk")


def test_an_unknown_queue_is_refused(bench: Bench) -> None:
    assert reasons([*bench.write(submit_each, [new_job(queue="nowhere")])]) == [Reason.NOT_FOUND]


def test_s7_order_is_kept_and_each_item_has_its_own_answer(bench: Bench) -> None:
    results = bench.write(submit_each, [new_job("a"), new_job("b", queue="nowhere"), new_job("c")])
    assert reasons([*results]) == [None, Reason.NOT_FOUND, None]
    rows = [result.job.row for result in results if isinstance(result, Accepted)]
    assert rows == sorted(rows)


def test_s7_all_or_nothing_stores_nothing_when_one_is_refused(bench: Bench) -> None:
    news = [new_job("a"), new_job("b", queue="nowhere"), new_job("c")]
    assert reasons([*bench.write(submit_all, news)]) == [None, Reason.NOT_FOUND, None]
    assert jobs_count(bench) == 0
    assert reasons([*bench.write(submit_all, [news[0], news[2]])]) == [None, None]


def test_s7_all_or_nothing_holds_when_an_id_is_used_twice_with_another_payload(bench: Bench) -> None:
    news = [new_job("a"), new_job("b"), new_job("a", OTHER)]
    assert reasons([*bench.write(submit_all, news)]) == [None, None, Reason.REQUEST_ID_REUSED]
    assert jobs_count(bench) == 0


def test_s7_all_or_nothing_counts_a_deduplicated_item_as_done(bench: Bench) -> None:
    small_queue(bench, 1)
    first, again = bench.write(submit_all, [new_job("a", queue="small"), new_job("a", queue="small")])
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.job.id, again.deduplicated) == (first.job.id, True)


def test_s7_all_or_nothing_is_refused_by_a_queue_with_room_for_some(bench: Bench) -> None:
    small_queue(bench, 2)
    news = [new_job(f"r{n}", queue="small") for n in range(3)]
    assert reasons([*bench.write(submit_all, news)]) == [None, None, Reason.QUEUE_FULL]
    assert jobs_count(bench) == 0


def test_s5_a_refusal_says_how_many_wait_and_what_the_call_itself_takes(bench: Bench) -> None:
    small_queue(bench, 4)
    for _ in range(2):
        bench.submit(new_job(queue="small"))
    news = [new_job(f"r{n}", queue="small") for n in range(3)]
    holds = "queue 'small' holds 2 jobs that wait, and its max_queued is 4"
    together, *_ = [one for one in bench.write(submit_all, news) if isinstance(one, Refusal)]
    assert together.message == f"{holds}; earlier items of this call take the room for 2"
    refused = [one for one in bench.write(submit_each, news) if isinstance(one, Refusal)]
    assert [one.message for one in refused] == [together.message]
    alone, *_ = [one for one in bench.write(submit_each, [new_job(queue="small")]) if isinstance(one, Refusal)]
    assert alone.message == "queue 'small' holds 4 jobs that wait, and its max_queued is 4"


def test_s8_validate_only_stores_nothing_and_says_what_submit_would(bench: Bench) -> None:
    small_queue(bench, 1)
    bench.submit(new_job("known"))
    before = bench.read(dump)
    news: list[NewJob] = [
        new_job("a", queue="small"),
        new_job("b", queue="small"),
        new_job("known"),
        new_job("known", OTHER),
        new_job("new", needs=Needs("handler", "never seen")),
    ]
    checked = bench.write(check_each, news)
    assert reasons([*checked]) == [None, Reason.QUEUE_FULL, None, Reason.REQUEST_ID_REUSED, None]
    assert bench.read(dump) == before


def dump(connection: Connection) -> list[object]:
    tables = ("jobs", "job_specs", "job_labels", "requests", "events", "state_counts", "ready_keys", "sequences")
    return [connection.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def test_a_job_with_a_time_to_come_is_scheduled(bench: Bench) -> None:
    later = Micros(bench.clock.now() + 60 * SECOND)
    (job,) = bench.submit(new_job(schedule_time=later, labels=(("team", "blue"),)))
    assert (job.state, job.due, job.rank) == (JobState.SCHEDULED, later, later)
    assert bench.cycle().next_due == later
    bench.clock.advance(60)
    bench.cycle()
    assert bench.job(job.id).state is JobState.QUEUED
    assert bench.kinds(job.id) == ["submitted", "queued"]


def test_a_time_that_has_passed_queues_at_once(bench: Bench) -> None:
    (job,) = bench.submit(new_job(schedule_time=bench.clock.now()))
    assert (job.state, job.due) == (JobState.QUEUED, 0)


def test_thousands_of_jobs_in_one_transaction_are_all_there(bench: Bench) -> None:
    jobs = bench.submit(*(new_job(f"r{n}", labels=(("n", str(n)),)) for n in range(1100)))
    assert len({job.id for job in jobs}) == 1100
    assert jobs_count(bench) == 1100
    bench.read(check_store)
