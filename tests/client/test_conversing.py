"""What a client knows of a conversation, without a wire: order, holes, credit, and what is said again (E1, E4)."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from client.conversing import batch, deltas, ended, gone, inputs, job_of, opened, turns_gone
from headrace import converse, errors, follow
from headrace.v1 import error_pb2, event_pb2, session_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb

CUT = follow.cut("here")


def conversing(window: int = 8, **opening: Any) -> converse.Conversing:
    made = converse.Conversing(pb.ConverseOpen(session_id="s", **opening), lambda: 1.0, 60.0, window)
    made.begin()
    return made


def opened_once(one: converse.Conversing) -> list[pb.ConverseRequest]:
    """The server opens the stream; everything that was sent on it by then."""
    requests = sent(one)
    one.accept(opened())
    return requests + sent(one)


def taken(one: converse.Conversing) -> list[Any]:
    items = []
    while (item := one.take()) is not None:
        items.append(item)
    return items


def sent(one: converse.Conversing) -> list[pb.ConverseRequest]:
    requests = []
    while (request := one.next_request()) is not None:
        requests.append(request)
    return requests


def places(items: list[Any]) -> list[tuple[str, int]]:
    return [(item.job_id, item.sequence) for item in items if isinstance(item, event_pb2.Event)]


def test_e1_events_of_all_turns_come_once_and_in_order_across_streams() -> None:
    one = conversing()
    for message in (opened(), batch(1, 1, 2), batch(1, 3), batch(2, 1)):
        one.accept(message)
    one.broken(CUT, 0.0)
    one.begin()
    (opening,) = [request for request in sent(one) if request.WhichOneof("kind") == "open"]
    assert opening.open.cursor == "2:1"
    for message in (opened(), batch(1, 3), batch(2, 1, 2)):
        one.accept(message)
    assert places(taken(one)) == [(job_of(1), n) for n in (1, 2, 3)] + [(job_of(2), n) for n in (1, 2)]
    assert (one.cursor, one.job_id) == ("2:2", job_of(2))


def test_the_cursor_is_that_of_what_was_handed_on_and_not_of_what_was_received() -> None:
    one = conversing()
    one.accept(batch(1, 1, 2))
    assert one.cursor == ""
    one.take()
    assert one.cursor == ""
    one.take()
    assert one.cursor == "1:2"


@pytest.mark.parametrize("later", [batch(1, 4), batch(3, 1)])
def test_e1_a_hole_that_no_gap_explains_is_an_error(later: pb.ConverseResponse) -> None:
    one = conversing()
    one.accept(batch(1, 1, 2))
    with pytest.raises(errors.StreamBroken):
        one.accept(later)


@pytest.mark.parametrize(("gap", "later"), [(gone(1, 3, 5), batch(1, 6)), (turns_gone(2, 4), batch(5, 1))])
def test_e1_a_gap_explains_a_hole(gap: pb.ConverseResponse, later: pb.ConverseResponse) -> None:
    one = conversing()
    for message in (batch(1, 1, 2), gap, later):
        one.accept(message)
    kinds = [type(item) for item in taken(one)]
    assert kinds == [event_pb2.Event, event_pb2.Event, pb.ConverseGap, event_pb2.Event]


def test_a_reader_that_wants_no_raw_frames_or_begins_later_sees_no_holes() -> None:
    filtered = conversing(without_raw_frames=True)
    filtered.accept(batch(1, 1, 7))
    later = conversing(last_turns=1)
    later.accept(batch(6, 4))
    later.accept(batch(6, 5))
    assert (len(taken(filtered)), len(taken(later))) == (2, 2)
    with pytest.raises(errors.StreamBroken):
        later.accept(batch(6, 7))


def test_e4_no_more_than_the_window_is_granted_ahead_of_what_was_read() -> None:
    one = conversing(window=8)
    assert opened_once(one)[0].open.credit == 8
    taken(one)
    one.accept(batch(1, *range(1, 9)))
    assert sent(one) == []
    one.take()
    assert sent(one) == [], "a quarter of the window is read before more is granted"
    one.take()
    assert [request.credit.events for request in sent(one)] == [2]
    one.broken(CUT, 0.0)
    one.begin()
    assert sent(one)[0].open.credit == 2, "what was not read yet takes its part of the window"


def test_x3_who_has_paused_gets_what_is_asked_and_nothing_else_until_it_resumes() -> None:
    one = conversing(window=4)
    sent(one)
    one.pause()
    for message in (opened(), batch(1, 1, 2), inputs("q")):
        one.accept(message)
    paused = taken(one)
    assert [type(item) for item in paused] == [pb.ConverseInputs]
    assert [asked.request.request_id for asked in one.inputs] == ["q"]
    assert (sent(one), one.takes_more, one.cursor) == ([], True, "")
    one.resume()
    assert [type(item) for item in taken(one)] == [pb.ConverseOpened, event_pb2.Event, event_pb2.Event]
    assert sum(request.credit.events for request in sent(one)) == 2


def test_a_stream_that_is_opened_while_the_reader_has_paused_grants_nothing() -> None:
    one = conversing()
    one.pause()
    one.begin()
    assert opened_once(one)[0].open.credit == 0
    one.resume()
    assert [request.credit.events for request in sent(one)] == [8]


def test_s1_what_was_not_answered_is_said_again_with_its_request_id_and_in_order() -> None:
    one = conversing()
    first = one.ask(message=pb.ConverseMessage(text="a", request_id="ra"))
    second = one.ask(message=pb.ConverseMessage(text="b", request_id="rb"))
    assert [request.WhichOneof("kind") for request in sent(one)] == ["open"], "nothing else before it is open"
    assert [request.number for request in opened_once(one)] == [first, second]
    one.accept(pb.ConverseResponse(done=pb.ConverseDone(number=first, job_id="j")))
    one.broken(CUT, 0.0)
    one.begin()
    assert [request.message.request_id for request in opened_once(one)[1:]] == ["rb"]
    answered = one.answered(first)
    assert getattr(answered, "job_id", None) == "j"
    assert one.answered(second) is None


def test_an_interrupt_whose_answer_was_cut_off_is_not_said_again() -> None:
    one = conversing()
    number = one.ask(interrupt=pb.ConverseInterrupt())
    opened_once(one)
    one.broken(CUT, 0.0)
    one.begin()
    assert [request.WhichOneof("kind") for request in opened_once(one)] == ["open"]
    with pytest.raises(errors.ConnectionFailed):
        one.answered(number)


def test_an_interrupt_that_was_never_sent_is_sent_on_the_next_stream() -> None:
    one = conversing()
    one.ask(interrupt=pb.ConverseInterrupt())
    one.broken(CUT, 0.0)
    one.begin()
    assert [request.WhichOneof("kind") for request in opened_once(one)] == ["open", "interrupt"]


def test_a_refusal_is_the_exception_of_the_unary_call() -> None:
    one = conversing()
    number = one.ask(message=pb.ConverseMessage(text="a"))
    reason = error_pb2.ERROR_REASON_SESSION_ENDED
    error = error_pb2.ItemError(code=grpc.StatusCode.FAILED_PRECONDITION.value[0], reason=reason)
    one.accept(pb.ConverseResponse(done=pb.ConverseDone(number=number, error=error)))
    with pytest.raises(errors.SessionEnded):
        one.answered(number)


def test_deltas_that_nobody_reads_are_dropped_with_a_marker() -> None:
    one = conversing()
    for _ in range(converse.UNREAD_DELTAS_COUNT_MAX):
        one.accept(deltas(1, "x", "y"))
    items = taken(one)
    assert len(items) == converse.UNREAD_DELTAS_COUNT_MAX + 1
    assert items[-1].dropped == converse.UNREAD_DELTAS_COUNT_MAX
    one.accept(deltas(1, "z"))
    assert [item.text for item in taken(one)] == ["z"]


def test_nothing_more_is_taken_while_much_is_unread_unless_an_answer_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = conversing()
    one.accept(batch(1, 1, 2))
    monkeypatch.setattr(converse, "UNREAD_BYTES_MAX", 10)
    seen = [one.takes_more]
    number = one.ask(message=pb.ConverseMessage(text="a"))
    seen.append(one.takes_more)
    one.forget(number)
    seen.append(one.takes_more)
    taken(one)
    assert [*seen, one.takes_more] == [False, True, False, True]


def test_the_end_of_the_session_ends_the_conversation_and_a_drain_does_not() -> None:
    one = conversing()
    one.accept(opened())
    one.accept(ended(watch_pb2.END_REASON_DRAINING))
    assert (one.draining, one.ended) == (True, False)
    one.begin()
    number = one.ask(message=pb.ConverseMessage(text="a"))
    one.accept(ended())
    assert one.ended
    assert getattr(one.session, "state", None) == session_pb2.SESSION_STATE_CLOSED
    with pytest.raises(errors.HeadraceError):
        one.answered(number)
    with pytest.raises(errors.HeadraceError):
        one.ask(message=pb.ConverseMessage(text="b"))


def test_a_stream_that_the_server_refuses_is_not_opened_again() -> None:
    one = conversing()
    refused = errors.NotFound(errors.Refused(grpc.StatusCode.NOT_FOUND, "no such session", "NOT_FOUND"))
    with pytest.raises(errors.NotFound):
        one.broken(refused, 0.0)


def test_a_window_that_lets_nothing_through_is_refused() -> None:
    with pytest.raises(ValueError, match="window"):
        conversing(window=0)
