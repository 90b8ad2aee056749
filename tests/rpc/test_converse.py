"""Conversations: what comes in which order, what answers come of requests, and what ends a stream (X1, X3, E1)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import error_pb2, event_pb2, input_pb2, session_pb2, watch_pb2, worker_service_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.ids import job_id_text
from headrace_server.core.refusal import Reason, Refused
from headrace_server.core.states import ENDED, JobState
from headrace_server.rpc.messages.session_view import get_session
from headrace_server.rpc.streams import converse as conversations
from headrace_server.store.attempts.workers import Word, hear_each
from headrace_server.store.jobs.deletions import delete
from rpc.conversing import Node, Talk
from store.conversing import Conversing, converse
from store.driving import HOME, NAMESPACE, chunk, frame


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "data")
    yield node
    node.close()


@pytest.fixture
def session(node: Node) -> Conversing:
    node.bench.welcome()
    return converse(node.bench, session_pb2.SessionSpec(task={"permission_prompts": "PERMISSION_PROMPTS_ASK"}))


def log_of(node: Node, *turns: Any) -> list[tuple[int, int]]:
    """Turn and sequence of every event of turns, which are numbered from 1."""
    return [
        (number, event.sequence) for number, job in enumerate(turns, start=1) for event in node.bench.events(job.id)
    ]


def asks(node: Node, lease: Any, request_id: str, report_number: int = 1) -> None:
    """The running attempt asks for a permission."""
    asked = input_pb2.InputRequest(request_id=request_id, kind=input_pb2.INPUT_KIND_PERMISSION, tool_name="Bash")
    node.bench.report(lease, report_number=report_number, input_requested=asked)


def test_e1_the_logs_of_all_turns_come_in_order_then_what_happens(node: Node, session: Conversing) -> None:
    turns = [session.turn("one"), session.turn("two")]
    talk = node.talk(session.id)
    talk.until_events(len(log_of(node, *turns)))
    turns.append(session.turn("three"))
    expected = log_of(node, *turns)
    talk.until_events(len(expected))
    assert talk.places() == expected
    assert {event.job_id for event in talk.events()} == {job_id_text(turn.id) for turn in turns}
    assert talk.kinds()[0] == "opened"


def test_e1_a_turn_that_was_submitted_early_is_told_after_the_one_before_it(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    first = session.say("one")
    second = session.say("two")
    lease = session.start(first.id)
    talk.until_events(len(node.bench.events(first.id)))
    assert {turn for turn, _ in talk.places()} == {1}
    node.bench.finish(lease, outputs=1)
    expected = log_of(node, first, second)
    talk.until_events(len(expected))
    assert talk.places() == expected


def test_a_message_becomes_a_turn_and_is_answered_with_its_job(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    done = talk.done(talk.say(message=pb.ConverseMessage(text="hello", request_id="r")))
    again = talk.done(talk.say(message=pb.ConverseMessage(text="hello", request_id="r")))
    assert (done.HasField("error"), done.HasField("time")) == (False, True)
    assert again.job_id == done.job_id, "the same request id is the same turn"
    (job,) = [event for event in talk.until(lambda talk: talk.events()) if event.HasField("submitted")]
    assert job.job_id == done.job_id


def test_x3_what_is_asked_is_told_and_answered_on_the_stream(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    talk.until(lambda talk: "opened" in talk.kinds())
    lease = session.start(session.say().id)
    asks(node, lease, "q")
    talk.until(lambda talk: talk.inputs() == [["q"]])
    done = talk.done(talk.say(answer=input_pb2.InputAnswer(request_id="q", allow=True)))
    assert done.resolution == input_pb2.INPUT_RESOLUTION_ALLOWED
    talk.until(lambda talk: talk.inputs() == [["q"], []])
    assert session_pb2.SESSION_STATE_WAITING_INPUT in talk.states()
    talk.until(lambda talk: talk.states()[-1] == session_pb2.SESSION_STATE_RUNNING)


def test_x3_the_first_answer_wins_and_the_others_are_told(node: Node, session: Conversing) -> None:
    one, other = node.talk(session.id), node.talk(session.id)
    other.principal = "somebody else"
    asks(node, session.start(session.say().id), "q")
    for talk in (one, other):
        talk.until(lambda talk: talk.inputs() == [["q"]])
    one.done(one.say(answer=input_pb2.InputAnswer(request_id="q", allow=True)))
    other.until(lambda talk: talk.inputs() == [["q"], []])
    late = other.done(other.say(answer=input_pb2.InputAnswer(request_id="q")))
    assert late.error.reason == error_pb2.ERROR_REASON_INPUT_RESOLVED
    assert late.error.metadata["resolution"] == "ALLOWED"


def test_x3_a_paused_reader_is_asked_at_once_and_an_answer_by_another_way_lets_the_turn_go_on(
    node: Node, session: Conversing
) -> None:
    talk = node.talk(session.id, credit=1)
    lease = session.start(session.say().id)
    node.bench.append(lease, *(frame(n) for n in range(2, 50)))
    asks(node, lease, "q")
    talk.until(lambda talk: talk.inputs() == [["q"]])
    assert talk.places() == [(1, 1)]
    request = pb.AnswerRequestRequest(session_id=job_id_text(session.id))
    request.answer.request_id, request.answer.allow = "q", True
    node.answer(request)
    talk.until(lambda talk: talk.inputs() == [["q"], []])
    assert node.bench.job(lease.job_id).state is JobState.RUNNING
    assert talk.places() == [(1, 1)], "no event was granted"
    talk.say(credit=pb.ConverseCredit(events=1_000))
    expected = [(1, event.sequence) for event in node.bench.events(lease.job_id)]
    talk.until_events(len(expected))
    assert talk.places() == expected


def test_e4_credit_is_kept_to_the_event(node: Node, session: Conversing) -> None:
    expected = log_of(node, session.turn("one"), session.turn("two"))
    talk = node.talk(session.id, credit=0)
    talk.settle()
    assert talk.places() == []
    for granted in range(1, len(expected) + 1):
        talk.say(credit=pb.ConverseCredit(events=1))
        talk.until_events(granted)
        talk.settle()
        assert talk.places() == expected[:granted]


def test_e1_a_conversation_goes_on_at_its_cursor_with_another_client(node: Node, session: Conversing) -> None:
    turns = [session.turn("one"), session.turn("two")]
    expected = log_of(node, *turns)
    seen: list[tuple[int, int]] = []
    cursor = ""
    while len(seen) < len(expected):
        talk = node.talk(session.id, cursor=cursor, credit=1)
        talk.until(lambda talk: talk.places())
        seen += talk.places()
        cursor = talk.cut()
    assert seen == expected


@pytest.mark.parametrize(
    ("count", "first"),
    [(0, 4), (1, 3), (2, 2), (9, 1)],
)
def test_a_reader_begins_with_the_last_turns_that_ended_and_the_active_one(
    node: Node, session: Conversing, count: int, first: int
) -> None:
    for _ in range(3):
        session.turn()
    session.start(session.say().id)
    talk = node.talk(session.id, last_turns=count)
    talk.until(lambda talk: any(turn == 4 for turn, _ in talk.places()))
    assert talk.places()[0] == (first, 1)


def test_e8_turns_that_were_removed_are_a_gap(node: Node, session: Conversing) -> None:
    jobs = [session.turn() for _ in range(4)]
    talk = node.talk(session.id, credit=1)
    talk.until(lambda talk: talk.places())
    left = node.bench.events(jobs[3].id)
    for job in jobs[:3]:
        assert node.bench.write(delete, NAMESPACE, job.id, "", "tester") is None
    node.logs._tail.forget()  # as if others had needed the room
    talk.say(credit=pb.ConverseCredit(events=1_000))
    talk.until(lambda talk: talk.places()[-1] == (4, len(left)))
    gaps = [(gap.job_id, gap.gap.from_sequence, gap.gap.to_sequence) for gap in talk.gaps()]
    assert gaps == [("", 1, 1), ("", 2, 3)]
    assert talk.places()[1] == (4, 1)
    later = node.talk(session.id)
    later.until(lambda talk: talk.places())
    assert [(gap.gap.from_sequence, gap.gap.to_sequence) for gap in later.gaps()] == [(1, 3)]


def test_who_wants_no_raw_frames_gets_what_was_said_and_what_happened(node: Node, session: Conversing) -> None:
    job = session.say()
    lease = session.start(job.id)
    said = frame(2)
    said.claude.assistant.message_id = "m"
    node.bench.append(lease, said, chunk(3), frame(4))
    node.bench.finish(lease, outputs=4)
    talk = node.talk(session.id, without_raw_frames=True)
    talk.until(lambda talk: any(event.HasField("succeeded") for event in talk.events()))
    outputs = [event.output for event in talk.events() if event.HasField("output")]
    assert [output.claude.assistant.message_id for output in outputs] == ["m"]


def test_deltas_of_the_active_turn_come_to_who_wants_them_and_not_to_who_has_paused(
    node: Node, session: Conversing
) -> None:
    job = session.say()
    session.start(job.id)
    wants, wants_not, paused = (
        node.talk(session.id, deltas=True),
        node.talk(session.id),
        node.talk(session.id, credit=0, deltas=True),
    )
    count = len(node.bench.events(job.id))
    for talk in (wants, wants_not):
        talk.until_events(count)

    async def speak() -> None:
        node.all.deltas.push(job.id, [event_pb2.Delta(attempt=1, message_id="m", text="so far", after_sequence=count)])
        node.feed.wake_listeners(job.id)

    node.bench.run(speak())
    wants.until(lambda talk: talk.deltas() == ["so far"])
    for talk in (wants_not, paused):
        talk.settle()
        assert talk.deltas() == []


def test_x4_an_interrupt_ends_the_active_turn(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    refused = talk.done(talk.say(interrupt=pb.ConverseInterrupt()))
    assert refused.error.reason == error_pb2.ERROR_REASON_NO_ACTIVE_TURN
    job = session.say()
    session.start(job.id)
    assert talk.done(talk.say(interrupt=pb.ConverseInterrupt(reason="enough"))).job_id == job_id_text(job.id)
    assert node.bench.job(job.id).state is JobState.CANCELLING


def test_settings_are_changed_on_the_stream_and_told(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    settings = pb.ConverseSettings(spec={"task": {"model": "opus"}})
    settings.update_mask.paths.append("task.model")
    assert not talk.done(talk.say(settings=settings)).HasField("error")
    told = talk.until(lambda talk: [m.session for m in talk.messages if m.HasField("session")])
    assert told[-1].spec.task.model == "opus"


def test_a_session_can_be_made_by_the_stream_that_drives_it(node: Node) -> None:
    opening: dict[str, Any] = {"create": session_pb2.SessionSpec(display_name="mine"), "request_id": "r"}
    first, again = node.talk(**opening), node.talk(**opening)
    sessions = [talk.until(lambda talk: talk.messages)[0].opened.session for talk in (first, again)]
    assert [one.spec.display_name for one in sessions] == ["mine", "mine"]
    assert sessions[0].id == sessions[1].id


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"message": pb.ConverseMessage(text="")}, "message.text"),
        ({"message": pb.ConverseMessage(text="x", request_id="r" * 200)}, "message.request_id"),
        ({"credit": pb.ConverseCredit(events=0)}, "credit.events"),
        ({"answer": input_pb2.InputAnswer()}, "answer.request_id"),
        ({}, "kind"),
    ],
)
def test_a_request_that_is_not_valid_is_refused_and_ends_nothing(
    node: Node, session: Conversing, request_: dict[str, Any], field: str
) -> None:
    talk = node.talk(session.id)
    done = talk.done(talk.say(**request_))
    assert done.error.reason == error_pb2.ERROR_REASON_INVALID_FIELD
    assert [violation.field for violation in done.error.violations] == [field]
    assert not talk.done(talk.say(message=pb.ConverseMessage(text="hello"))).HasField("error")


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        ({}, Reason.INVALID_FIELD),
        ({"session_id": "x"}, Reason.INVALID_FIELD),
        ({"session_id": "0199b3a0-0000-7000-8000-000000000001"}, Reason.NOT_FOUND),
        ({"session_id": "SELF", "cursor": "x"}, Reason.INVALID_TOKEN),
        ({"session_id": "SELF", "cursor": "session:1:1:9:0"}, Reason.INVALID_TOKEN),
        ({"session_id": "SELF", "cursor": "session:2:1:1:0"}, Reason.INVALID_TOKEN),
        ({"session_id": "SELF", "credit": -1}, Reason.INVALID_FIELD),
        ({"session_id": "SELF", "last_turns": -1}, Reason.INVALID_FIELD),
        ({"create": {"priority": 1_000}}, Reason.INVALID_FIELD),
    ],
)
def test_a_conversation_that_can_t_be_opened_is_refused(
    node: Node, session: Conversing, opening: dict[str, Any], reason: Reason
) -> None:
    if opening.get("session_id") == "SELF":
        opening = opening | {"session_id": job_id_text(session.id)}
    with pytest.raises(Refused) as refused:
        node.talk(**opening).end()
    assert refused.value.refusal.reason is reason


def test_a_second_opening_ends_the_stream(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    talk.say(open=pb.ConverseOpen(session_id=job_id_text(session.id)))
    with pytest.raises(Refused) as refused:
        talk.end()
    assert refused.value.refusal.reason is Reason.INVALID_FIELD


def test_a_closed_session_is_told_to_its_end_and_then_the_stream_ends(node: Node, session: Conversing) -> None:
    session.turn("one")
    talk = node.talk(session.id)
    second = session.say("two")
    session.close("done")
    assert talk.end() == watch_pb2.END_REASON_SESSION_ENDED
    assert talk.messages[-1].end.session.state == session_pb2.SESSION_STATE_CLOSED
    assert node.bench.job(second.id).state in ENDED
    assert talk.places()[-1] == (2, len(node.bench.events(second.id)))
    again = node.talk(session.id)
    assert again.end() == watch_pb2.END_REASON_SESSION_ENDED
    assert again.places() == talk.places()


def test_a_paused_reader_of_a_closed_session_is_not_told_that_all_was_sent(node: Node, session: Conversing) -> None:
    session.turn()
    talk = node.talk(session.id, credit=0)
    talk.until(lambda talk: "opened" in talk.kinds())
    session.close()
    talk.until(lambda talk: session_pb2.SESSION_STATE_CLOSED in talk.states())
    talk.settle()
    assert "end" not in talk.kinds()
    talk.say(credit=pb.ConverseCredit(events=1_000))
    assert talk.end() == watch_pb2.END_REASON_SESSION_ENDED


def test_what_is_said_to_a_closed_session_is_refused(node: Node, session: Conversing) -> None:
    session.turn()
    talk = node.talk(session.id, credit=0)
    session.close()
    done = talk.done(talk.say(message=pb.ConverseMessage(text="hello")))
    assert done.error.reason == error_pb2.ERROR_REASON_SESSION_ENDED


def test_a_drain_ends_the_stream_with_its_cursor(node: Node, session: Conversing) -> None:
    turn = session.turn()
    talk = node.talk(session.id)
    talk.until_events(len(node.bench.events(turn.id)))

    async def drain() -> None:
        node.draining.set()
        node.feed.wake_all()

    node.bench.run(drain())
    assert talk.end() == watch_pb2.END_REASON_DRAINING
    assert talk.cursor.endswith(":2:0"), "the next turn comes next"


def test_e2_heartbeats_come_while_nothing_happens(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    talk.until(lambda talk: talk.kinds().count("heartbeat") == 2)


def test_e9_closing_the_stream_ends_neither_the_turn_nor_what_was_asked(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    lease = session.start(session.say().id)
    asks(node, lease, "q")
    talk.until(lambda talk: talk.inputs())
    talk.cut()
    job = node.bench.job(lease.job_id)
    assert job.state is JobState.WAITING_INPUT
    assert node.talk(session.id).until(Talk.inputs) == [["q"]]


def test_a_client_that_says_nothing_more_may_go_on_reading(node: Node, session: Conversing) -> None:
    talk = node.talk(session.id)
    talk.hang_up()
    turn = session.turn()
    talk.until_events(len(node.bench.events(turn.id)))


def test_x3_what_is_asked_while_a_conversation_opens_is_told(
    node: Node, session: Conversing, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = session.start(session.say().id)
    asked = input_pb2.InputRequest(request_id="q", kind=input_pb2.INPUT_KIND_PERMISSION, tool_name="Bash")
    report = worker_service_pb2.AttemptReport(report_number=1, input_requested=asked)

    async def looks_then_is_asked(*arguments: Any) -> Any:
        seen = await get_session(*arguments)
        monkeypatch.setattr(conversations, "get_session", get_session)
        await node.bench.store.write(lambda ledger: hear_each(ledger, [Word(HOME, reports=[(lease, report)])]))
        return seen

    monkeypatch.setattr(conversations, "get_session", looks_then_is_asked)
    talk = node.talk(session.id)
    talk.until(lambda talk: talk.inputs() == [["q"]])
