"""Making, changing, forking, interrupting and closing sessions, and that none of it happens twice (S1, S2, X4)."""

from collections.abc import Callable
from typing import Any

import pytest

from headrace.v1 import job_pb2, session_pb2, task_pb2, worker_service_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, Micros, job_id_text
from headrace_server.core.job import CancelCause, Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.sessions import SessionState
from headrace_server.core.states import JobState
from headrace_server.runtime.retention import Keeping, Retention
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.records import reads
from headrace_server.store.records.audit import list_audit
from headrace_server.store.records.expiry import drop_requests
from headrace_server.store.sessions.listing import SeenSession, see_session
from headrace_server.store.sessions.sessions import (
    Fork,
    Made,
    close_session,
    create_session,
    fork_session,
    interrupt_session,
    remove_sessions,
)
from headrace_server.store.sessions.settings import SessionChange, update_session
from headrace_server.store.sessions.turns import send_message
from store.conversing import CONVERSATION, Conversing, converse, session_spec, turn_job
from store.driving import HOME, NAMESPACE, Bench, OpenStore, handler_spec, offer


def create(bench: Bench, request_id: str = "", **fields: Any) -> Made | Refusal:
    """Makes a session, or is refused."""
    return bench.write(create_session, NAMESPACE, request_id, session_pb2.SessionSpec(**fields), "tester")


def change(bench: Bench, session: Conversing, *paths: str, etag: str = "", **fields: Any) -> Any:
    """Changes settings of a session, or is refused."""
    wanted = SessionChange(paths, session_pb2.SessionSpec(**fields), etag, "tester")
    return bench.write(update_session, NAMESPACE, session.id, wanted)


def interrupt(bench: Bench, session: Conversing) -> Job | Refusal:
    """Interrupts a session."""
    return bench.write(interrupt_session, NAMESPACE, session.id, "stop", "tester")


def see(bench: Bench, session: Conversing) -> SeenSession:
    """A session as its readers see it."""
    seen = bench.read(see_session, NAMESPACE, session.id)
    assert seen is not None
    return seen


def spec_of(bench: Bench, job: Job) -> job_pb2.JobSpec:
    """What is stored of what a job asks for."""
    return job_pb2.JobSpec.FromString(bench.read(reads.get_specs, [job])[job.row])


def reason_of(answer: object) -> Reason:
    """Why something was refused."""
    assert isinstance(answer, Refusal), answer
    return answer.reason


def test_s1_a_session_is_made_once_for_a_request_id(reopen: OpenStore) -> None:
    made = create(reopen(), "r1", display_name="chat")
    again = create(reopen(), "r1", display_name="chat")
    assert isinstance(made, Made)
    assert isinstance(again, Made)
    assert (made.deduplicated, again.deduplicated) == (False, True)
    assert again.session.id == made.session.id


def test_s2_a_request_id_belongs_to_one_payload(bench: Bench) -> None:
    made = create(bench, "r1", display_name="chat")
    refused = create(bench, "r1", display_name="other")
    assert isinstance(made, Made)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.REQUEST_ID_REUSED
    assert (refused.resource_type, refused.resource_name) == ("headrace.v1.Session", job_id_text(made.session.id))


Call = Callable[[Bench, Conversing, str], object]


def submitted(bench: Bench, spec: job_pb2.JobSpec, request_id: str) -> object:
    """The answer to a submit."""
    return bench.write(submit_each, [new_job(NAMESPACE, request_id, spec, "tester", "")])[0]


CALLS: dict[str, Call] = {
    "create": lambda bench, session, request_id: create(bench, request_id),
    "fork": lambda bench, session, request_id: bench.write(
        fork_session, NAMESPACE, request_id, Fork(session.id, "", {}), "tester"
    ),
    "message": lambda bench, session, request_id: session.try_to_say("hi", request_id),
    "turn": lambda bench, session, request_id: submitted(bench, turn_job(session.id), request_id),
    "job": lambda bench, session, request_id: submitted(bench, handler_spec(), request_id),
}


@pytest.mark.parametrize("first", CALLS)
@pytest.mark.parametrize("second", CALLS)
def test_s2_a_request_id_is_of_one_kind_of_call(bench: Bench, first: str, second: str) -> None:
    session = converse(bench)
    session.turn()
    assert isinstance(CALLS[first](bench, session, "r1"), Made | Accepted)
    again = CALLS[second](bench, session, "r1")
    if first == second:
        assert isinstance(again, Made | Accepted)
        assert again.deduplicated
    else:
        assert reason_of(again) is Reason.REQUEST_ID_REUSED


def test_s1_a_message_is_said_once_whatever_became_of_the_session(bench: Bench) -> None:
    session = converse(bench)
    job = session.say("hi", "r1")
    change(bench, session, "task.model", task=task_pb2.ClaudeTask(model="haiku"))
    session.close()
    again = session.try_to_say("hi", "r1")
    assert isinstance(again, Accepted)
    assert (again.job.id, again.deduplicated) == (job.id, True)
    assert reason_of(session.try_to_say("ho", "r1")) is Reason.REQUEST_ID_REUSED
    assert session.row.turns == 1


def test_s1_a_session_that_was_removed_is_not_made_again(bench: Bench) -> None:
    session = converse(bench, request_id="r1")
    session.close()
    bench.clock.advance(10.0)
    assert bench.write(remove_sessions, bench.clock.now(), 10) is False
    again = create(bench, "r1")
    assert isinstance(again, Made)
    assert (again.session.id, again.deduplicated) == (session.id, True)
    assert SeenSession(again.session).state is SessionState.CLOSED
    bench.write(drop_requests, Micros(bench.clock.now()))
    made = create(bench, "r1")
    assert isinstance(made, Made)
    assert not made.deduplicated


def test_a_session_has_a_queue_and_an_owner(bench: Bench) -> None:
    session = converse(bench)
    assert (session.row.queue, session.row.owner) == ("default", "tester")
    assert reason_of(create(bench, queue="nowhere")) is Reason.NOT_FOUND


def test_x4_an_interrupt_ends_the_turn_and_not_the_session(bench: Bench) -> None:
    session = converse(bench)
    job, behind = session.say(), session.say()
    lease = session.start(job.id)
    interrupted = interrupt(bench, session)
    assert isinstance(interrupted, Job)
    assert (interrupted.id, interrupted.state) == (job.id, JobState.CANCELLING)
    assert interrupted.cancellation is not None
    assert interrupted.cancellation.cause is CancelCause.INTERRUPTED
    again = interrupt(bench, session)
    assert isinstance(again, Job)
    assert again.id == job.id
    bench.finish(lease, succeeded=None, outputs=1)
    assert bench.job(job.id).state is JobState.CANCELLED
    assert bench.job(behind.id).state is JobState.QUEUED
    assert len(bench.read(list_audit, NAMESPACE, "session", job_id_text(session.id), 0, 10)) == 1


def test_x4_an_interrupt_needs_a_turn_that_runs(bench: Bench) -> None:
    session = converse(bench)
    assert reason_of(interrupt(bench, session)) is Reason.NO_ACTIVE_TURN
    job = session.say()
    assert reason_of(interrupt(bench, session)) is Reason.NO_ACTIVE_TURN
    assert bench.job(job.id).state is JobState.QUEUED


def test_x4_closing_cancels_what_runs_and_what_waits(bench: Bench) -> None:
    session = converse(bench)
    jobs = [session.say() for _ in range(3)]
    lease = session.start(jobs[0].id)
    closed = session.close("enough")
    assert (closed.ended, closed.end_reason, closed.version) == (bench.clock.now(), "enough", 2)
    found = [bench.job(job.id) for job in jobs]
    assert [job.state for job in found] == [JobState.CANCELLING, JobState.CANCELLED, JobState.CANCELLED]
    for job in found:
        assert job.cancellation is not None
        assert job.cancellation.cause is CancelCause.SESSION_CLOSED
        assert job.cancellation.reason == "its session was closed: enough"
    bench.finish(lease, succeeded=None, outputs=1)
    assert session.row.ended_turns == 3


def test_x4_closing_may_let_the_turn_that_was_begun_end(bench: Bench) -> None:
    session = converse(bench)
    job, behind = session.say(), session.say()
    lease = session.start(job.id)
    session.close(finish_turn=True)
    assert [bench.job(one.id).state for one in (job, behind)] == [JobState.RUNNING, JobState.CANCELLED]
    bench.fail(lease, FailureClass.CRASH, outputs=1)
    bench.clock.advance(2.0)
    bench.finish(session.start(job.id), outputs=1)
    assert bench.job(job.id).state is JobState.SUCCEEDED
    assert session.row.ended_turns == 2


def test_x4_closing_twice_changes_nothing(bench: Bench) -> None:
    session = converse(bench)
    session.close("one")
    bench.clock.advance(1.0)
    again = session.close("two")
    assert (again.end_reason, again.version) == ("one", 2)
    assert len(bench.read(list_audit, NAMESPACE, "session", "", 0, 10)) == 1


def test_x4_an_ended_session_takes_nothing_more(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    session.close()
    assert reason_of(session.try_to_say()) is Reason.SESSION_ENDED
    assert reason_of(submitted(bench, turn_job(session.id), "")) is Reason.SESSION_ENDED
    assert reason_of(change(bench, session, "display_name", display_name="x")) is Reason.SESSION_ENDED
    fork = bench.write(fork_session, NAMESPACE, "", Fork(session.id, "", {}), "tester")
    assert reason_of(fork) is Reason.SESSION_ENDED


def test_x4_a_fork_has_the_settings_and_the_lineage_of_the_other(bench: Bench) -> None:
    session = converse(bench, session_spec(model="opus"))
    assert reason_of(bench.write(fork_session, NAMESPACE, "", Fork(session.id, "", {}), "t")) is Reason.SESSION_EMPTY
    session.turn()
    made = bench.write(fork_session, NAMESPACE, "", Fork(session.id, "twin", {"a": "b"}), "tester")
    assert isinstance(made, Made)
    spec = session_pb2.SessionSpec.FromString(made.session.spec)
    assert (spec.task.model, spec.display_name, dict(spec.labels)) == ("opus", "twin", {"a": "b"})
    assert (made.session.forked_from, made.session.source_claude_session) == (session.id, CONVERSATION)
    assert see(bench, session).forks == (made.session.id,)
    assert see(bench, session).session.turns == 1


def test_a_change_of_settings_has_an_etag(bench: Bench) -> None:
    session = converse(bench)
    changed = change(bench, session, "display_name", etag="1", display_name="chat")
    assert changed.version == 2
    assert reason_of(change(bench, session, "priority", etag="1", priority=3)) is Reason.STALE_ETAG


def test_a_change_replaces_what_the_mask_names_and_nothing_else(bench: Bench) -> None:
    session = converse(bench, session_spec(model="opus", allowed_tools=["Read"], fallback_model="haiku"))
    change(bench, session, "task.allowed_tools", "labels", task={"allowed_tools": ["Bash"]}, labels={"a": "b"})
    change(bench, session, "task.model", "task.limits", task={"limits": {"max_turns": 3}})
    change(bench, session, "labels", labels={"c": "d"})
    spec = session_pb2.SessionSpec.FromString(session.row.spec)
    assert (spec.task.model, spec.task.fallback_model, list(spec.task.allowed_tools)) == ("", "haiku", ["Bash"])
    assert (spec.task.limits.max_turns, dict(spec.labels)) == (3, {"c": "d"})


def test_a_change_is_told_to_the_turn_that_runs_and_taken_over_by_those_that_wait(bench: Bench) -> None:
    session = converse(bench, session_spec(model="opus", append_system_prompt="be brief"))
    job, behind = session.say(), session.say()
    own = bench.submit(new_job(NAMESPACE, "", turn_job(session.id, model="sonnet"), "tester", ""))[0]
    session.start(job.id)
    change(bench, session, "task.model", "task.append_system_prompt", task={"model": "haiku"})
    (command,) = bench.hear(HOME, counter=1).commands
    told = worker_service_pb2.AttemptCommand.FromString(command.body).settings
    assert (told.model, told.permission_mode) == ("haiku", task_pb2.PERMISSION_MODE_UNSPECIFIED)
    assert spec_of(bench, job).claude.model == "opus"
    assert (spec_of(bench, behind).claude.model, spec_of(bench, behind).claude.append_system_prompt) == ("haiku", "")
    assert spec_of(bench, own).claude.model == "sonnet"


def test_e8_a_closed_session_goes_with_the_last_of_its_turns(bench: Bench) -> None:
    session, still_open = converse(bench, session_pb2.SessionSpec(labels={"a": "b"})), converse(bench)
    job = session.turn()
    session.close()
    bench.clock.advance(10.0)
    bench.write(remove_sessions, bench.clock.now(), 10)
    assert see(bench, session).state is SessionState.CLOSED
    assert bench.write(delete, NAMESPACE, job.id, "", "tester") is None
    bench.write(remove_sessions, Micros(bench.clock.now() - 11 * SECOND), 10)
    assert see(bench, session).state is SessionState.CLOSED
    assert bench.write(remove_sessions, bench.clock.now(), 1) is True
    assert bench.read(see_session, NAMESPACE, session.id) is None
    assert see(bench, still_open).state is SessionState.CREATED


def test_e8_retention_removes_closed_sessions_with_their_turns(bench: Bench) -> None:
    session, still_open = converse(bench), converse(bench)
    jobs = [session.turn(), still_open.turn()]
    session.close()
    keeping = Keeping(jobs_days=1, audit_days=1, output_days=1)
    bench.clock.advance(86_401.0)
    bench.run(Retention(bench.store, bench.clock, keeping, pause_seconds=0).sweep())
    assert bench.read(see_session, NAMESPACE, session.id) is None
    seen = see(bench, still_open)
    assert (seen.state, seen.last, seen.session.ended_turns) == (SessionState.IDLE, None, 1)
    assert all(bench.read(reads.get_job, NAMESPACE, job.id) is None for job in jobs)


def test_a_commit_tells_of_the_sessions_that_it_changed(bench: Bench) -> None:
    session = converse(bench)

    def told(action: Callable[[], object]) -> bool:
        bench.effects.clear()
        action()
        return any(session.id in effects.sessions for effects in bench.effects)

    assert told(session.say)
    assert told(lambda: bench.cycle(offer()))
    assert not told(lambda: bench.cycle(offer()))
    assert told(lambda: change(bench, session, "priority", priority=1))
    assert told(session.close)


def test_what_is_said_elsewhere_is_not_found(bench: Bench) -> None:
    session = converse(bench)

    def verbs(ledger: Ledger) -> list[object]:
        return [
            send_message(ledger, "elsewhere", session.id, "", "hi", "tester", ""),
            close_session(ledger, "elsewhere", session.id, "", "tester", finish_turn=False),
            interrupt_session(ledger, "elsewhere", session.id, "", "tester"),
            fork_session(ledger, "elsewhere", "", Fork(session.id, "", {}), "tester"),
            update_session(ledger, "elsewhere", session.id, SessionChange((), session_pb2.SessionSpec(), "", "t")),
        ]

    assert {reason_of(answer) for answer in bench.write(verbs)} == {Reason.NOT_FOUND}
    assert bench.read(see_session, "elsewhere", session.id) is None
