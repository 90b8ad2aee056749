"""X3 and C3: what an attempt asks of a person is answered once, by whoever comes first, or expires, or is withdrawn."""

from typing import Any

import pytest

from headrace.v1 import input_pb2, queue_pb2, session_pb2, worker_service_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import InputResolution
from headrace_server.core.limits import INPUT_JSON_BYTES_MAX, INPUTS_OPEN_COUNT_MAX
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.store.attempts.inputs import OpenCount, answer, count_open, open_inputs
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.workers import Word, hear_each
from headrace_server.store.codec import time_of
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.records.audit import list_audit
from store.driving import HOME, NAMESPACE, Bench, OpenStore, chunk, claude_spec, finished


def ask(bench: Bench, lease: Lease, name: str = "q", report_number: int = 1, **fields: Any) -> int:
    """The attempt asks; returns the last report that is committed."""
    made = {"kind": input_pb2.INPUT_KIND_PERMISSION, "tool_name": "Write", "input_json": '{"file_path": "a"}'}
    request = input_pb2.InputRequest(request_id=name, **{**made, **fields})
    return bench.report(lease, report_number=report_number, input_requested=request)


def say(
    bench: Bench, job_id: JobId, name: str = "q", actor: str = "ann", namespace: str = NAMESPACE, **fields: Any
) -> InputResolution | Refusal:
    """Somebody answers."""
    return bench.write(answer, namespace, job_id, input_pb2.InputAnswer(request_id=name, **fields), actor)


def refused(answered: InputResolution | Refusal) -> Refusal:
    assert isinstance(answered, Refusal), answered
    return answered


def resolutions(bench: Bench, job_id: JobId) -> list[tuple[str, InputResolution, str]]:
    """What the log says became of each request, and by whom."""
    resolved = [event.input_resolved for event in bench.events(job_id) if event.HasField("input_resolved")]
    return [(one.request_id, InputResolution(one.resolution), one.actor) for one in resolved]


def told(bench: Bench) -> list[input_pb2.InputAnswer]:
    """The answers that the worker does not know of yet, as its next renewal brings them."""
    commands = bench.hear(counter=1).commands
    return [worker_service_pb2.AttemptCommand.FromString(command.body).answer for command in commands]


def seen(bench: Bench, job_id: JobId) -> list[session_pb2.OpenInput]:
    return bench.read(open_inputs, [bench.job(job_id)])


def test_x3_a_request_makes_the_job_wait_with_the_tool_its_input_and_an_expiry(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    bench.append(lease, chunk(1))
    asked_at = bench.clock.now()
    assert ask(bench, lease, tool_use_id="t1") == 1
    job = bench.job(lease.job_id)
    assert job.state is JobState.WAITING_INPUT
    assert [(one.request_id, one.tool_name, one.expires) for one in job.open_inputs] == [
        ("q", "Write", asked_at + 600 * SECOND)
    ]
    (event,) = [event for event in bench.events(lease.job_id) if event.HasField("input_requested")]
    assert event.input_requested.request.input_json == '{"file_path": "a"}'
    assert time_of(event.input_requested.expire_time) == asked_at + 600 * SECOND
    (found,) = seen(bench, lease.job_id)
    assert (found.request.tool_use_id, found.request.tool_name) == ("t1", "Write")
    assert (time_of(found.time), time_of(found.expire_time)) == (asked_at, asked_at + 600 * SECOND)


def test_x3_an_answer_lets_the_job_go_on_and_is_told_to_its_attempt(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    assert say(bench, lease.job_id, allow=True, updated_input_json='{"a": 1}') is InputResolution.ALLOWED
    assert bench.job(lease.job_id).state is JobState.RUNNING
    assert resolutions(bench, lease.job_id) == [("q", InputResolution.ALLOWED, "ann")]
    assert [(one.request_id, one.allow, one.updated_input_json) for one in told(bench)] == [("q", True, '{"a": 1}')]
    assert seen(bench, lease.job_id) == []
    (entry,) = bench.read(list_audit, NAMESPACE, "job", "", 0, 10)
    assert (entry.actor, entry.action) == ("ann", "SessionService.AnswerRequest")
    assert entry.detail == "ALLOWED Write, request q"


def test_x3_the_first_answer_wins_and_others_are_told_what_became_of_it(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    assert say(bench, lease.job_id, allow=False, message="no") is InputResolution.DENIED
    refusal = refused(say(bench, lease.job_id, actor="bob", allow=True))
    assert refusal.reason is Reason.INPUT_RESOLVED
    assert (refusal.metadata["resolution"], refusal.metadata["actor"]) == ("DENIED", "ann")
    assert refusal.metadata["time"]
    assert refused(say(bench, lease.job_id, actor="bob", allow=False, message="no")).reason is Reason.INPUT_RESOLVED
    assert refused(say(bench, lease.job_id, allow=True)).reason is Reason.INPUT_RESOLVED
    assert len(told(bench)) == 1
    assert len(resolutions(bench, lease.job_id)) == 1


def test_x3_the_same_answer_of_the_same_actor_is_told_the_same_also_after_the_job(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    for _ in range(2):
        assert say(bench, lease.job_id, allow=True) is InputResolution.ALLOWED
    bench.finish(lease, reports=1)
    assert say(bench, lease.job_id, allow=True) is InputResolution.ALLOWED
    assert len(resolutions(bench, lease.job_id)) == 1


def test_x3_several_may_be_open_at_once_and_the_job_waits_for_the_last(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    for number, name in enumerate("abc", 1):
        ask(bench, lease, name, number)
    assert [one.request.request_id for one in seen(bench, lease.job_id)] == ["a", "b", "c"]
    say(bench, lease.job_id, "b", allow=True)
    say(bench, lease.job_id, "c")
    assert bench.job(lease.job_id).state is JobState.WAITING_INPUT
    say(bench, lease.job_id, "a", allow=True)
    assert bench.job(lease.job_id).state is JobState.RUNNING


def test_x3_who_names_no_request_or_another_namespaces_job_is_told_so(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    unknown = refused(say(bench, lease.job_id, "other", allow=True))
    assert (unknown.reason, unknown.resource_name) == (Reason.NOT_FOUND, "other")
    foreign = refused(say(bench, lease.job_id, namespace="other", allow=True))
    assert (foreign.reason, foreign.resource_type) == (Reason.NOT_FOUND, "headrace.v1.Job")
    assert bench.job(lease.job_id).state is JobState.WAITING_INPUT


def test_x3_a_question_is_not_answered_by_a_bare_yes(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease, kind=input_pb2.INPUT_KIND_QUESTION, tool_name="")
    refusal = refused(say(bench, lease.job_id, allow=True))
    assert (refusal.reason, refusal.violations[0].field) == (Reason.INVALID_FIELD, "answer.message")
    assert say(bench, lease.job_id, allow=True, message="blue") is InputResolution.ALLOWED
    assert told(bench)[0].message == "blue"


def test_c3_what_nobody_answers_in_time_is_denied_and_the_attempt_goes_on(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    assert bench.job(lease.job_id).wake == bench.clock.now() + 600 * SECOND
    bench.clock.advance(599)
    bench.cycle()
    assert bench.job(lease.job_id).state is JobState.WAITING_INPUT
    bench.clock.advance(1)
    bench.cycle()
    assert bench.job(lease.job_id).state is JobState.RUNNING
    assert resolutions(bench, lease.job_id) == [("q", InputResolution.EXPIRED, "")]
    (denial,) = told(bench)
    assert (denial.request_id, denial.allow) == ("q", False)
    assert "Nobody answered in time" in denial.message
    late = refused(say(bench, lease.job_id, allow=True))
    assert (late.reason, late.metadata["resolution"]) == (Reason.INPUT_RESOLVED, "EXPIRED")
    assert "actor" not in late.metadata


def test_c3_an_answer_after_the_expiry_is_too_late_also_when_nobody_has_looked(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    bench.clock.advance(600)
    assert refused(say(bench, lease.job_id, allow=True)).metadata["resolution"] == "EXPIRED"
    assert resolutions(bench, lease.job_id) == [("q", InputResolution.EXPIRED, "")]
    assert [one.allow for one in told(bench)] == [False]
    bench.cycle()
    assert len(told(bench)) == 1


def test_c3_of_several_requests_each_expires_at_its_own_time(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease, "a")
    bench.clock.advance(100)
    ask(bench, lease, "b", 2)
    bench.clock.advance(500)
    bench.cycle()
    assert resolutions(bench, lease.job_id) == [("a", InputResolution.EXPIRED, "")]
    job = bench.job(lease.job_id)
    assert (job.state, job.wake) == (JobState.WAITING_INPUT, bench.clock.now() + 100 * SECOND)
    bench.clock.advance(100)
    bench.cycle()
    assert bench.job(lease.job_id).state is JobState.RUNNING


def test_c3_a_jobs_own_input_timeout_counts_and_none_waits_for_ever(bench: Bench) -> None:
    short, none = claude_spec(), claude_spec()
    short.timeouts.input_timeout.FromSeconds(5)
    none.timeouts.input_timeout.FromSeconds(0)
    quick = bench.running(short)
    ask(bench, quick)
    bench.clock.advance(5)
    bench.cycle()
    assert [how for _, how, _ in resolutions(bench, quick.job_id)] == [InputResolution.EXPIRED]
    bench.finish(quick, reports=1)
    patient = bench.running(none)
    ask(bench, patient)
    assert bench.job(patient.job_id).wake == 0
    assert not seen(bench, patient.job_id)[0].HasField("expire_time")
    bench.clock.advance(100_000)
    bench.cycle()
    assert say(bench, patient.job_id, allow=True) is InputResolution.ALLOWED


def test_c3_the_queues_input_timeout_counts_where_the_job_states_none(bench: Bench) -> None:
    queue = queue_pb2.Queue(name="quick")
    queue.timeouts.input_timeout.FromSeconds(7)
    bench.write(create_queue, NAMESPACE, queue, "tester")
    lease = bench.running(claude_spec(), queue="quick")
    ask(bench, lease)
    assert bench.job(lease.job_id).wake == bench.clock.now() + 7 * SECOND


def test_x3_what_the_cli_takes_back_can_not_be_answered_any_more(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    assert bench.report(lease, report_number=2, input_withdrawn={"request_id": "q"}) == 2
    assert resolutions(bench, lease.job_id) == [("q", InputResolution.WITHDRAWN, "")]
    refusal = refused(say(bench, lease.job_id, allow=True))
    assert (refusal.reason, refusal.metadata["resolution"]) == (Reason.INPUT_RESOLVED, "WITHDRAWN")
    assert told(bench) == []


def test_x3_an_answer_that_came_first_is_not_undone_by_a_withdrawal(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    say(bench, lease.job_id, allow=True)
    sequence = bench.job(lease.job_id).sequence
    assert bench.report(lease, report_number=2, input_withdrawn={"request_id": "q"}) == 2
    assert bench.job(lease.job_id).sequence == sequence
    assert ask(bench, lease, "r", 3) == 3
    assert bench.job(lease.job_id).state is JobState.WAITING_INPUT


@pytest.mark.parametrize("end", ["lost", "failed", "returned", "cancelled"])
def test_x3_open_requests_end_with_their_attempt(bench: Bench, end: str) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    if end == "lost":
        bench.lose()
    elif end == "failed":
        bench.fail(lease, FailureClass.CRASH, reports=1)
    elif end == "returned":
        bench.finish(lease, returned=True, reports=1)
    else:
        bench.cancel(lease.job_id)
        assert refused(say(bench, lease.job_id, allow=True)).metadata["resolution"] == "WITHDRAWN"
        bench.finish(lease, succeeded=None, reports=1)
    job = bench.job(lease.job_id)
    assert (job.open_inputs, job.worker) == ((), "")
    assert seen(bench, lease.job_id) == []
    refusal = refused(say(bench, lease.job_id, allow=True))
    assert (refusal.reason, refusal.metadata["resolution"]) == (Reason.INPUT_RESOLVED, "WITHDRAWN")
    assert told(bench) == []


def test_x3_an_answer_in_the_transaction_that_ends_the_attempt_comes_too_late(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)

    async def both() -> InputResolution | Refusal:
        given = input_pb2.InputAnswer(request_id="q", allow=True)
        ending = bench.store.write_each(hear_each, Word(HOME, finishes=[finished(lease, reports=1)]))
        answering = bench.store.write(lambda ledger: answer(ledger, NAMESPACE, lease.job_id, given, "ann"))
        await ending
        return await answering

    assert refused(bench.run(both())).metadata["resolution"] == "WITHDRAWN"
    assert bench.kinds(lease.job_id)[-1] == "succeeded"


def test_x3_a_later_attempt_may_use_an_id_again(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    bench.lose()
    again = bench.assign(lease.job_id)
    assert ask(bench, again) == 1
    assert say(bench, lease.job_id, allow=True) is InputResolution.ALLOWED
    assert bench.job(lease.job_id).state is JobState.RUNNING


def test_x3_a_request_is_taken_once(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease)
    assert ask(bench, lease) == 1
    assert ask(bench, lease, report_number=2) == 2
    assert len(bench.job(lease.job_id).open_inputs) == 1
    assert bench.kinds(lease.job_id).count("input_requested") == 1


def test_x3_more_than_may_be_open_at_once_is_denied_at_once(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    for number in range(1, INPUTS_OPEN_COUNT_MAX + 2):
        ask(bench, lease, f"q{number}", number)
    assert len(bench.job(lease.job_id).open_inputs) == INPUTS_OPEN_COUNT_MAX
    (denial,) = told(bench)
    assert (denial.request_id, denial.allow) == (f"q{INPUTS_OPEN_COUNT_MAX + 1}", False)
    assert str(INPUTS_OPEN_COUNT_MAX) in denial.message


def test_x3_an_attempt_that_is_being_ended_asks_nobody(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    bench.cancel(lease.job_id)
    assert ask(bench, lease) == 1
    assert bench.job(lease.job_id).open_inputs == ()
    assert told(bench) == []
    assert bench.report(lease, report_number=2, input_withdrawn={"request_id": "q"}) == 2


def test_x3_an_input_that_is_too_large_is_cut_and_says_so(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    ask(bench, lease, input_json="é" * INPUT_JSON_BYTES_MAX, tool_name="T" * 300)
    (found,) = seen(bench, lease.job_id)
    assert len(found.request.input_json.encode()) <= INPUT_JSON_BYTES_MAX
    assert found.request.input_json.endswith(f"cut; the whole of it has {2 * INPUT_JSON_BYTES_MAX} bytes")
    assert len(found.request.tool_name) == 256


def test_x3_what_is_asked_outlives_a_restart_and_is_gone_with_its_job(reopen: OpenStore) -> None:
    bench = reopen()
    lease = bench.running(claude_spec())
    ask(bench, lease)
    bench = reopen()
    assert [one.request.request_id for one in seen(bench, lease.job_id)] == ["q"]
    assert say(bench, lease.job_id, allow=True) is InputResolution.ALLOWED
    bench.finish(lease, reports=1)
    assert bench.write(delete, NAMESPACE, lease.job_id, "", "tester") is None
    with bench.engine.reading() as connection:
        assert connection.rows("SELECT count(*) FROM inputs") == [(0,)]


def test_x3_what_waits_is_counted_by_queue_and_a_commit_tells_what_became_of_it(bench: Bench) -> None:
    first, second, third = (bench.running(claude_spec()) for _ in range(3))
    begun = bench.clock.now()
    for lease in (first, second, third):
        ask(bench, lease)
        ask(bench, lease, "r", 2)
        bench.clock.advance(1.0)
    assert bench.read(count_open) == [OpenCount(NAMESPACE, "default", 6, begun)]
    bench.effects.clear()
    say(bench, first.job_id, allow=True)
    say(bench, first.job_id, "r")
    bench.report(second, report_number=3, input_withdrawn=worker_service_pb2.InputWithdrawn(request_id="q"))
    bench.finish(second, reports=3)
    assert bench.read(count_open) == [OpenCount(NAMESPACE, "default", 2, Micros(begun + 2 * SECOND))]
    bench.clock.advance(600.0)
    bench.cycle()
    assert bench.read(count_open) == []
    assert [(one.queue, one.resolution, one.waited // SECOND) for told in bench.effects for one in told.resolved] == [
        ("default", InputResolution.ALLOWED, 3),
        ("default", InputResolution.DENIED, 3),
        ("default", InputResolution.WITHDRAWN, 2),
        ("default", InputResolution.WITHDRAWN, 2),
        ("default", InputResolution.EXPIRED, 601),
        ("default", InputResolution.EXPIRED, 601),
    ]
