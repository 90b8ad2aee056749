"""Turns that the CLI of a session began by itself: a job for each, once, on the worker that has its process."""

import pytest

from headrace.v1 import queue_pb2, session_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.jobs.retries import retry
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.sessions.background import BackgroundTurn
from headrace_server.store.sessions.sessions import interrupt_session
from store.conversing import Conversing, converse
from store.driving import HOME, NAMESPACE, Bench, frame, offer

AGAIN = Holder("w1", "i2")


def begin(bench: Bench, session: Conversing, number: int = 1, epoch: int = 1, holder: Holder = HOME) -> JobId | None:
    """A worker says that a CLI began a turn; its job."""
    word = BackgroundTurn(session.id, epoch, number)
    ((told, job_id),) = bench.hear(holder, background=[word]).background
    assert told == word
    return job_id


def begun(bench: Bench, session: Conversing, number: int = 1) -> Job:
    """The same, where a job has to be made."""
    job_id = begin(bench, session, number)
    assert job_id is not None
    return bench.job(job_id)


def test_a_turn_that_the_cli_began_is_a_job_of_its_worker(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    job = begun(bench, session)
    assert job.turn is not None
    assert (job.turn.number, job.turn.background, job.holder, job.state) == (2, True, "w1", JobState.QUEUED)
    (granted,) = bench.cycle(offer()).granted
    assert (granted.assignment.session.background_number, granted.assignment.session.turn) == (1, 2)
    assert granted.assignment.spec.claude.prompt == ""
    bench.hear(starts=[granted.lease])
    bench.append(granted.lease, frame(1))
    bench.finish(granted.lease, outputs=1)
    assert bench.job(job.id).state is JobState.SUCCEEDED
    assert session.row.ended_turns == 2


def test_a_turn_that_is_said_again_is_the_same_job(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    job = begun(bench, session)
    assert begin(bench, session) == job.id
    assert begin(bench, session, number=2) != job.id
    assert session.row.turns == 3
    session.close()
    assert begin(bench, session) == job.id


def test_it_waits_for_no_other_turn_and_no_other_waits_for_it(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    message = session.say()
    session.start(message.id)
    job = begun(bench, session)
    waiting = session.say()
    assert (job.state, waiting.state) == (JobState.QUEUED, JobState.BLOCKED)
    (granted,) = bench.cycle(offer()).granted
    assert granted.lease.job_id == job.id
    bench.hear(starts=[granted.lease])
    bench.finish(granted.lease)
    assert bench.job(waiting.id).state is JobState.BLOCKED


def test_a_queue_that_is_full_refuses_none(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="small", max_queued=1), "tester")
    session = converse(bench, session_pb2.SessionSpec(queue="small"))
    session.turn()
    session.say()
    refused = session.try_to_say()
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.QUEUE_FULL
    assert begin(bench, session) is not None


@pytest.mark.parametrize("case", ["closed", "other start", "older binding", "unknown", "no number"])
def test_a_session_that_is_no_longer_the_workers_gets_none(bench: Bench, case: str) -> None:
    session = converse(bench)
    session.turn()
    if case == "closed":
        session.close()
        assert begin(bench, session) is None
    elif case == "other start":
        assert begin(bench, session, holder=AGAIN) is None
    elif case == "older binding":
        assert begin(bench, session, epoch=0) is None
    elif case == "unknown":
        ((_, job_id),) = bench.hear(background=[BackgroundTurn(JobId(bytes(16)), 1, 1)]).background
        assert job_id is None
    else:
        assert begin(bench, session, number=0) is None
    assert session.row.turns == 1


def test_it_is_begun_once(bench: Bench) -> None:
    """A crash, a loss and a drain end it: nobody has said what is to be done again."""
    session = converse(bench)
    session.turn()
    crashed = begun(bench, session, 1)
    bench.fail(session.start(crashed.id), FailureClass.CRASH, outputs=1)
    returned = begun(bench, session, 2)
    bench.finish(session.start(returned.id), returned=True, outputs=1)
    lost = begun(bench, session, 3)
    session.start(lost.id)
    bench.lose()
    found = [bench.job(job.id) for job in (crashed, returned, lost)]
    assert [job.state for job in found] == [JobState.FAILED] * 3
    assert [job.failure.failure_class for job in found if job.failure] == [
        FailureClass.CRASH,
        FailureClass.UNKNOWN_OUTCOME,
        FailureClass.UNKNOWN_OUTCOME,
    ]
    assert not session.row.lost


@pytest.mark.parametrize("how", ["a new start", "the end of the lease"])
def test_what_nobody_has_taken_goes_with_its_process(bench: Bench, how: str) -> None:
    bench.welcome(HOME)
    session = converse(bench)
    session.turn()
    job, message = begun(bench, session), session.say()
    if how == "a new start":
        bench.welcome(AGAIN)
    else:
        bench.lose()
    assert bench.job(job.id).state is JobState.FAILED
    assert bench.job(message.id).state is JobState.QUEUED


def test_what_was_granted_and_not_begun_goes_with_its_process(bench: Bench) -> None:
    bench.welcome(HOME)
    session = converse(bench)
    session.turn()
    job = begun(bench, session)
    bench.assign(job.id)
    bench.welcome(AGAIN)
    assert bench.job(job.id).state is JobState.FAILED


def test_a_worker_that_only_reconnects_loses_none(bench: Bench) -> None:
    bench.welcome(HOME)
    session = converse(bench)
    session.turn()
    job = begun(bench, session)
    bench.welcome(HOME, reattach=True)
    assert bench.job(job.id).state is JobState.QUEUED


def test_it_can_be_interrupted_and_not_retried(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    job = begun(bench, session)
    lease = session.start(job.id)
    interrupted = bench.write(interrupt_session, NAMESPACE, session.id, "", "tester")
    assert isinstance(interrupted, Job)
    assert interrupted.id == job.id
    bench.finish(lease, succeeded=None, outputs=1)
    refused = bench.write(retry, NAMESPACE, job.id, "", "tester", "")
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.INVALID_FIELD


def test_x4_one_that_ended_first_does_not_hide_what_the_first_turn_of_a_fork_goes_on_from(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    fork = session.fork()
    lease = fork.start(fork.say().id)
    begun(bench, fork)
    (own,) = bench.cycle(offer()).granted
    bench.hear(starts=[own.lease])
    bench.append(own.lease, frame(1))
    bench.finish(own.lease, outputs=1)
    bench.fail(lease, FailureClass.NETWORK, outputs=1)
    bench.clock.advance(60.0)
    (again,) = bench.cycle(offer()).granted
    assert again.lease.job_id == lease.job_id
    assert again.assignment.session.claude_session_id
    assert again.assignment.session.fork_session_id == job_id_text(session.id)
