"""Queues are paused, drained, resumed, purged and deleted, and the audit log says by whom (Q7)."""

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from headrace.v1 import event_pb2, job_pb2, queue_pb2, schedule_pb2, session_pb2
from headrace_server.core.ids import SECOND, Micros, job_id_text
from headrace_server.core.placement import Needs
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.store.engine import Row
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing import queue_control
from headrace_server.store.queueing.queue_control import Purged, check_purge, purge_queue, resume_queue, stop_queue
from headrace_server.store.queueing.queue_stops import Stop, StopKind, next_expiry, stops
from headrace_server.store.queueing.queues import (
    StoredQueue,
    create_queue,
    delete_queue,
    get_queue,
    list_queues,
    update_queue,
)
from headrace_server.store.records.audit import list_audit
from headrace_server.store.scheduling.schedules import StoredSchedule, create_schedule
from store.conversing import converse
from store.driving import NAMESPACE, Bench, OpenStore, new_job

QUEUE = "batch"


@pytest.fixture
def queue(bench: Bench) -> Bench:
    """A store with a queue."""
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name=QUEUE, max_queued=5000), "ada")
    bench.effects.clear()
    return bench


def stop(bench: Bench, kind: StopKind, seconds: float | None = None, name: str = QUEUE) -> StoredQueue:
    length = None if seconds is None else int(seconds * SECOND)
    stopped = bench.write(stop_queue, NAMESPACE, name, kind, "too full", length, "ada")
    assert isinstance(stopped, StoredQueue)
    return stopped


def standing(bench: Bench) -> dict[tuple[str, str], Stop]:
    return bench.write(stops)


def shown(bench: Bench, name: str = QUEUE) -> StoredQueue:
    found = bench.read(get_queue, NAMESPACE, name, bench.clock.now())
    assert found is not None
    return found


def actions(bench: Bench) -> list[tuple[str, str]]:
    entries = bench.read(list_audit, NAMESPACE, "queue", QUEUE, 0, 100)
    assert {entry.actor for entry in entries} == {"ada"}
    return [(entry.action.removeprefix("QueueService."), entry.detail) for entry in entries]


def stored_rows(bench: Bench) -> int:
    return int(bench.read(lambda connection: connection.rows("SELECT count(*) FROM queue_stops"))[0][0])


def test_q7_a_paused_queue_says_who_why_and_until_when(queue: Bench) -> None:
    stop(queue, StopKind.PAUSE, 60)
    until = queue.clock.now() + 60 * SECOND
    pause = shown(queue).stop.pause
    assert pause is not None
    assert (pause.actor, pause.reason, pause.time, pause.until) == ("ada", "too full", queue.clock.now(), until)
    assert set(standing(queue)) == {(NAMESPACE, QUEUE)}
    assert actions(queue)[0] == ("PauseQueue", "reason: too full; until 2023-11-14T22:14:20+00:00")


def test_q7_a_pause_without_an_expiry_stays(queue: Bench) -> None:
    stop(queue, StopKind.PAUSE)
    queue.clock.advance(1_000_000)
    assert set(standing(queue)) == {(NAMESPACE, QUEUE)}
    assert queue.write(next_expiry) is None


def test_q7_a_pause_ends_by_itself_and_is_removed(queue: Bench) -> None:
    stop(queue, StopKind.PAUSE, 60)
    queue.clock.advance(59.999)
    assert set(standing(queue)) == {(NAMESPACE, QUEUE)}
    queue.clock.advance(0.001)
    assert shown(queue).stop == Stop()
    assert stored_rows(queue) == 1
    assert standing(queue) == {}
    assert stored_rows(queue) == 0


def test_q7_a_pause_and_a_drain_stand_beside_each_other(queue: Bench) -> None:
    stop(queue, StopKind.PAUSE, 60)
    stop(queue, StopKind.DRAIN)
    queue.clock.advance(60)
    (left,) = standing(queue).values()
    assert left.pause is None
    assert left.drain is not None


def test_q7_a_stopped_queue_gets_the_new_reason_and_time(queue: Bench) -> None:
    stop(queue, StopKind.PAUSE, 60)
    stop(queue, StopKind.PAUSE)
    pause = shown(queue).stop.pause
    assert pause is not None
    assert pause.until == 0
    assert stored_rows(queue) == 1


def test_q7_the_end_of_a_pause_wakes_the_scheduler(queue: Bench) -> None:
    stop(queue, StopKind.PAUSE, 60)
    assert queue.effects[-1].next_due == queue.clock.now() + 60 * SECOND
    stop(queue, StopKind.DRAIN, 0)
    assert queue.effects[-1].next_due == queue.clock.now()


def test_q7_the_next_expiry_is_known_after_a_restart(bench: Bench, reopen: OpenStore) -> None:
    stop(bench, StopKind.PAUSE, 60, "default")
    expected = Micros(bench.clock.now() + 60 * SECOND)
    again = reopen()
    assert again.write(next_expiry) == expected
    assert set(standing(again)) == {(NAMESPACE, "default")}


def test_q7_a_drain_keeps_its_time_after_it_has_passed(queue: Bench) -> None:
    stop(queue, StopKind.DRAIN, 10)
    assert queue.write(next_expiry) == queue.clock.now() + 10 * SECOND
    queue.clock.advance(10)
    (left,) = standing(queue).values()
    assert left.drain is not None
    assert left.drain.until == queue.clock.now()
    assert queue.write(next_expiry) is None


def test_q7_resume_ends_pause_and_drain_and_wakes_the_scheduler(queue: Bench) -> None:
    stop(queue, StopKind.PAUSE)
    stop(queue, StopKind.DRAIN)
    resumed = queue.write(resume_queue, NAMESPACE, QUEUE, "ada")
    assert isinstance(resumed, StoredQueue)
    assert resumed.stop == Stop()
    assert queue.effects[-1].queued
    assert standing(queue) == {}
    assert actions(queue)[0] == ("ResumeQueue", "ended its pause and its drain")


def test_q7_resuming_what_is_not_stopped_succeeds_and_leaves_no_trace(queue: Bench) -> None:
    assert isinstance(queue.write(resume_queue, NAMESPACE, QUEUE, "ada"), StoredQueue)
    assert [action for action, _ in actions(queue)] == ["CreateQueue"]


def test_q7_what_stops_queues_costs_a_cycle_no_statement(queue: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(queue, StopKind.PAUSE, 60)
    standing(queue)

    asked: list[str] = []

    def watched(ledger: Ledger) -> None:
        look_up = ledger.look_up

        def noted(sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
            asked.append(sql)
            return look_up(sql, parameters)

        monkeypatch.setattr(ledger, "look_up", noted)
        stops(ledger)
        next_expiry(ledger)

    queue.write(watched)
    assert asked == []


@pytest.mark.parametrize(
    "verb",
    [
        lambda ledger: stop_queue(ledger, NAMESPACE, "none", StopKind.PAUSE, "", None, "ada"),
        lambda ledger: resume_queue(ledger, NAMESPACE, "none", "ada"),
        lambda ledger: purge_queue(ledger, NAMESPACE, "none", "", "ada"),
        lambda ledger: check_purge(ledger, NAMESPACE, "none"),
        lambda ledger: delete_queue(ledger, NAMESPACE, "none", "", "ada"),
    ],
)
def test_a_queue_that_is_not_there_is_not_found(bench: Bench, verb: Any) -> None:
    refusal = bench.write(verb)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.NOT_FOUND


def test_q7_purge_cancels_what_waits_and_nothing_else(queue: Bench) -> None:
    running = queue.running(queue=QUEUE)
    later = Micros(queue.clock.now() + 3600 * SECOND)
    waiting = queue.submit(
        new_job(queue=QUEUE), new_job(queue=QUEUE, schedule_time=later), new_job(queue=QUEUE, needs=Needs("claude"))
    )
    (elsewhere,) = queue.submit(new_job())
    assert queue.write(check_purge, NAMESPACE, QUEUE) == Purged(3, 0)
    assert queue.write(purge_queue, NAMESPACE, QUEUE, "wrong input", "ada") == Purged(3, 0)
    assert {queue.job(job.id).state for job in waiting} == {JobState.CANCELLED}
    assert queue.job(running.job_id).state is JobState.RUNNING
    assert queue.job(elsewhere.id).state is JobState.QUEUED
    cancelled = queue.events(waiting[0].id)[-1].cancelled.cancellation
    assert (cancelled.cause, cancelled.reason) == (job_pb2.CANCEL_CAUSE_PURGED, "wrong input")
    assert actions(queue)[0] == ("PurgeQueue", "cancelled 3, 0 left; reason: wrong input")


def test_q7_purge_is_bounded_and_says_what_is_left(queue: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_control, "CANCEL_ITEMS_COUNT_MAX", 2)
    later = Micros(queue.clock.now() + SECOND)
    queue.submit(*(new_job(queue=QUEUE, schedule_time=time) for time in (later, *[Micros(0)] * 4)))
    assert queue.write(purge_queue, NAMESPACE, QUEUE, "", "ada") == Purged(2, 3)
    assert shown(queue).state_counts == ((JobState.QUEUED, 3), (JobState.CANCELLED, 2))
    assert queue.write(purge_queue, NAMESPACE, QUEUE, "", "ada") == Purged(2, 1)
    assert queue.write(purge_queue, NAMESPACE, QUEUE, "", "ada") == Purged(1, 0)


def test_a_queue_with_jobs_that_have_not_ended_is_not_deleted(queue: Bench) -> None:
    (job,) = queue.submit(new_job(queue=QUEUE))
    refusal = queue.write(delete_queue, NAMESPACE, QUEUE, "", "ada")
    assert refusal is not None
    assert refusal.reason is Reason.QUEUE_NOT_EMPTY
    assert "1 of its jobs" in refusal.message
    queue.cancel(job.id)
    assert queue.write(delete_queue, NAMESPACE, QUEUE, "", "ada") is None
    assert queue.job(job.id).state is JobState.CANCELLED
    assert queue.read(get_queue, NAMESPACE, QUEUE, queue.clock.now()) is None
    assert actions(queue)[0] == ("DeleteQueue", "")


def test_a_deleted_queue_takes_no_more_jobs_and_its_stops_are_gone(queue: Bench) -> None:
    stop(queue, StopKind.PAUSE)
    queue.submit()
    assert queue.write(delete_queue, NAMESPACE, QUEUE, "", "ada") is None
    assert standing(queue) == {}
    assert stored_rows(queue) == 0


def test_a_queue_that_is_made_again_begins_anew(bench: Bench) -> None:
    rate = queue_pb2.RateLimit(count=1, period=Duration(seconds=600))
    fair = queue_pb2.Fairness(scope=queue_pb2.FAIRNESS_SCOPE_OWNER)
    body = queue_pb2.Queue(name=QUEUE, rate_limit=rate, fairness=fair)
    for _ in range(2):
        bench.write(create_queue, NAMESPACE, body, "ada")
        (job,) = bench.submit(new_job(queue=QUEUE))
        bench.finish(bench.assign(job.id))
        assert bench.write(delete_queue, NAMESPACE, QUEUE, "", "ada") is None
        assert bench.read(lambda one: one.rows("SELECT 1 FROM rate_buckets UNION ALL SELECT 1 FROM shares")) == []


def test_a_queue_that_a_schedule_makes_jobs_in_is_not_deleted(queue: Bench) -> None:
    schedule = schedule_pb2.Schedule(name="nightly", interval={"seconds": 3600}, spec={"queue": QUEUE})
    schedule.spec.handler.name = "echo"
    assert isinstance(queue.write(create_schedule, NAMESPACE, schedule, "ada"), StoredSchedule)
    refusal = queue.write(delete_queue, NAMESPACE, QUEUE, "", "ada")
    assert refusal is not None
    assert refusal.reason is Reason.QUEUE_NOT_EMPTY
    assert "schedule 'nightly'" in refusal.message


def test_a_queue_in_which_open_sessions_have_their_turns_is_not_deleted(queue: Bench) -> None:
    sessions = [converse(queue, session_pb2.SessionSpec(queue=QUEUE)) for _ in range(7)]
    ids = [job_id_text(session.id) for session in sessions]
    refusal = queue.write(delete_queue, NAMESPACE, QUEUE, "", "ada")
    assert refusal is not None
    assert refusal.reason is Reason.QUEUE_NOT_EMPTY
    assert f"7 open sessions have their turns in it: {', '.join(ids[:5])} and 2 more; close them" in refusal.message
    assert ids[5] not in refusal.message
    for session in sessions[1:]:
        session.close()
    refusal = queue.write(delete_queue, NAMESPACE, QUEUE, "", "ada")
    assert refusal is not None
    assert f"1 open session has its turns in it: {ids[0]};" in refusal.message
    sessions[0].close()
    assert queue.write(delete_queue, NAMESPACE, QUEUE, "", "ada") is None


def test_the_default_queue_is_never_deleted(bench: Bench) -> None:
    refusal = bench.write(delete_queue, NAMESPACE, "default", "", "ada")
    assert refusal is not None
    assert refusal.reason is Reason.QUEUE_NOT_EMPTY


def test_a_queue_is_deleted_only_as_it_was_read(queue: Bench) -> None:
    refusal = queue.write(delete_queue, NAMESPACE, QUEUE, "7", "ada")
    assert refusal is not None
    assert refusal.reason is Reason.STALE_ETAG


def test_changes_are_audited_with_what_each_field_was_and_is(queue: Bench) -> None:
    def change(body: queue_pb2.Queue) -> None:
        body.max_queued = 7
        body.executors.append("claude")

    queue.write(update_queue, NAMESPACE, QUEUE, "", change, ("max_queued", "executors"), "ada")
    assert actions(queue) == [
        ("UpdateQueue", 'executors: unset → executors: "claude"; max_queued: 5000 → 7'),
        ("CreateQueue", "max_queued: unset → 5000"),
    ]
    assert queue.effects[-1].queued


def test_lists_show_what_stops_each_queue(queue: Bench) -> None:
    stop(queue, StopKind.DRAIN, 30)
    listed = queue.read(list_queues, NAMESPACE, "", 10, queue.clock.now())
    assert [(one.name, one.stop.drain is not None) for one in listed] == [(QUEUE, True), ("default", False)]


@pytest.mark.parametrize("states", ["IN (1, 2)", "= 3"])
def test_finding_what_waits_uses_an_index(bench: Bench, states: str) -> None:
    plan = bench.read(
        lambda connection: connection.rows(
            f"EXPLAIN QUERY PLAN SELECT job FROM jobs WHERE namespace = ? AND queue = ? AND state {states}"
            " ORDER BY job LIMIT ?",
            (NAMESPACE, QUEUE, 10),
        )
    )
    (step,) = plan
    assert f"INDEX {'jobs_queued' if states == '= 3' else 'jobs_waiting'} (" in step[-1]


def test_the_cancel_of_a_purge_is_one_event(queue: Bench) -> None:
    (job,) = queue.submit(new_job(queue=QUEUE))
    queue.write(purge_queue, NAMESPACE, QUEUE, "", "ada")
    events: list[event_pb2.Event] = queue.events(job.id)
    assert [event.WhichOneof("kind") for event in events] == ["submitted", "cancelled"]
