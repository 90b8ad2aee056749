"""Sessions as their readers see them: their state, and lists of them by a filter (X1)."""

from typing import Any

import pytest

from headrace.v1 import session_pb2
from headrace_server.core.sessions import SessionFilter, SessionState
from headrace_server.store.sessions.listing import SeenSession, list_sessions, see_session
from store.conversing import Conversing, converse
from store.driving import NAMESPACE, Bench


def see(bench: Bench, session: Conversing) -> SeenSession:
    """A session as its readers see it."""
    seen = bench.read(see_session, NAMESPACE, session.id)
    assert seen is not None
    return seen


def test_the_state_of_a_session_is_that_of_its_turns(bench: Bench) -> None:
    session = converse(bench)
    assert see(bench, session).state is SessionState.CREATED
    job, behind = session.say(), session.say()
    seen = see(bench, session)
    assert (seen.state, seen.active and seen.active.id, seen.last) == (SessionState.QUEUED, job.id, behind.id)
    lease = session.start(job.id)
    assert see(bench, session).state is SessionState.RUNNING
    bench.report(lease, report_number=1, after_producer_sequence=1, input_requested={"request_id": "a"})
    seen = see(bench, session)
    assert seen.state is SessionState.WAITING_INPUT
    assert [one.request.request_id for one in seen.inputs] == ["a"]
    bench.finish(lease, outputs=1, reports=1)
    seen = see(bench, session)
    assert (seen.state, seen.active and seen.active.id) == (SessionState.QUEUED, behind.id)
    bench.finish(session.start(behind.id), outputs=1)
    seen = see(bench, session)
    assert (seen.state, seen.active, seen.last) == (SessionState.IDLE, None, behind.id)
    session.close()
    assert see(bench, session).state is SessionState.CLOSED


def test_sessions_are_listed_by_what_they_are(bench: Bench) -> None:
    labelled = session_pb2.SessionSpec(labels={"team": "search"}, owner="ann")
    one, two, three = converse(bench, labelled), converse(bench), converse(bench)
    two.turn()
    three.say()
    closed = converse(bench)
    closed.close()

    def found(**terms: Any) -> list[Any]:
        listed = bench.read(list_sessions, NAMESPACE, SessionFilter(**terms), 0, 10)
        return [seen.session.id for seen in listed.sessions]

    assert found() == [closed.id, three.id, two.id, one.id]
    assert found(states=frozenset({SessionState.IDLE})) == [two.id]
    assert found(states=frozenset({SessionState.QUEUED, SessionState.CLOSED})) == [closed.id, three.id]
    assert found(owners=("ann",)) == [one.id]
    assert found(worker_ids=("w1",)) == [two.id]
    assert found(labels=(("team", ("search", "ads")),)) == [one.id]
    assert found(queues=("batch",)) == []


def test_a_list_goes_on_where_its_page_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace_server.store.sessions.listing._STEP_ROWS_COUNT", 3)
    monkeypatch.setattr("headrace_server.store.sessions.listing.SCANNED_ROWS_COUNT", 6)
    made = [converse(bench).id for _ in range(20)]
    converse(bench).say()
    wanted = SessionFilter(states=frozenset({SessionState.CREATED}))
    ids, before, pages = [], 0, 0
    while True:
        listed = bench.read(list_sessions, NAMESPACE, wanted, before, 4)
        ids += [seen.session.id for seen in listed.sessions]
        pages += 1
        if listed.before is None:
            break
        before = listed.before
    assert ids == made[::-1]
    assert pages >= 5
