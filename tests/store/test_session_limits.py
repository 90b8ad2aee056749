"""How many sessions and turns there may be: what the settings say, and what is refused past it."""

from typing import Any

from headrace.v1 import session_pb2, settings_pb2
from headrace_server.core.limits import SESSION_PENDING_TURNS_COUNT_DEFAULT
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.records.audit import list_audit
from headrace_server.store.sessions.limits import SessionLimits, effective
from headrace_server.store.sessions.sessions import Fork, Made, create_session, fork_session
from store.conversing import Conversing, converse, limit_sessions, turn_job
from store.driving import NAMESPACE, Bench


def create(bench: Bench, namespace: str = NAMESPACE, **fields: Any) -> Made | Refusal:
    """Makes a session, or is refused."""
    return bench.write(create_session, namespace, "", session_pb2.SessionSpec(**fields), "tester")


def refused(answer: object) -> tuple[str, str, str]:
    """Which limit, how much it allows, and how much there is."""
    assert isinstance(answer, Refusal), answer
    assert answer.reason is Reason.TOO_MANY_SESSIONS
    assert answer.metadata["limit"] in answer.message
    return answer.metadata["limit"], answer.metadata["max"], answer.metadata["count"]


def test_what_settings_leave_out_is_the_default() -> None:
    assert effective(settings_pb2.SessionLimits()) == SessionLimits(10_000, 1_000, 100)
    assert effective(settings_pb2.SessionLimits(open_per_owner_max=7)) == SessionLimits(10_000, 7, 100)


def test_there_are_no_more_open_sessions_than_may_be(bench: Bench) -> None:
    limit_sessions(bench, open_max=3, open_per_owner_max=2)
    first = converse(bench)
    first.turn()
    converse(bench)
    answer = create(bench)
    assert refused(answer) == ("sessions_per_owner", "2", "2")
    assert isinstance(answer, Refusal)
    assert "owner 'tester' has 2 open sessions; at most 2 are allowed" in answer.message
    forked = bench.write(fork_session, NAMESPACE, "", Fork(first.id, "", {}), "t")
    assert refused(forked) == ("sessions_per_owner", "2", "2")
    assert isinstance(create(bench, owner="ann"), Made)
    assert refused(create(bench, owner="ann")) == ("sessions_per_namespace", "3", "3")
    first.close()
    assert isinstance(create(bench), Made)


def test_a_lower_limit_closes_nothing_and_a_higher_one_holds_at_once(bench: Bench) -> None:
    sessions = [converse(bench) for _ in range(3)]
    limit_sessions(bench, open_per_owner_max=1)
    assert refused(create(bench)) == ("sessions_per_owner", "1", "3")
    assert isinstance(sessions[2].try_to_say(), Accepted)
    limit_sessions(bench, open_per_owner_max=4)
    assert isinstance(create(bench), Made)
    assert refused(create(bench)) == ("sessions_per_owner", "4", "4")


def test_limits_are_those_of_a_namespace(bench: Bench) -> None:
    limit_sessions(bench, open_max=1)
    assert isinstance(create(bench), Made)
    assert isinstance(create(bench), Refusal)
    assert isinstance(create(bench, "elsewhere"), Made)
    assert isinstance(create(bench, "elsewhere"), Made)


def test_a_session_takes_no_more_pending_turns_than_it_may(bench: Bench) -> None:
    session = converse(bench)
    jobs = [session.say() for _ in range(SESSION_PENDING_TURNS_COUNT_DEFAULT)]
    assert refused(session.try_to_say()) == ("pending_turns_per_session", "100", "100")
    bench.cancel(jobs[5].id)
    assert isinstance(session.try_to_say(), Accepted)
    limit_sessions(bench, pending_turns_max=3)
    assert refused(session.try_to_say()) == ("pending_turns_per_session", "3", "100")


def test_pending_turns_of_one_call_count(bench: Bench) -> None:
    limit_sessions(bench, pending_turns_max=3)
    session: Conversing = converse(bench)
    news = [new_job(NAMESPACE, "", turn_job(session.id), "tester", "") for _ in range(5)]
    answers = bench.write(submit_each, news)
    assert [isinstance(answer, Accepted) for answer in answers] == [True, True, True, False, False]


def test_the_audit_log_says_what_was_limited(bench: Bench) -> None:
    limit_sessions(bench, open_per_owner_max=4)
    (entry,) = bench.read(list_audit, NAMESPACE, "settings", "", 0, 10)
    assert entry.detail.endswith("; limits on sessions: open_per_owner_max 4")
