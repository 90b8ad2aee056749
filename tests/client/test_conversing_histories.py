"""Random histories of a conversation at a client: whatever is cut, paused or read slowly, each event is handed on once
and in order, and no more is ever unread than the window (I9, E4)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from client.conversing import batch, job_of, opened
from headrace import converse, follow
from headrace.v1 import event_pb2
from headrace.v1 import session_service_pb2 as pb

LOG = [(turn, sequence) for turn, count in enumerate((3, 1, 7, 2, 12), start=1) for sequence in range(1, count + 1)]
CUT = follow.cut("here")


class Server:
    """Sends what a client has granted, from the cursor that it opened its stream with."""

    def __init__(self, client: converse.Conversing) -> None:
        self._client = client
        self._place = self._credit = 0

    def open(self) -> None:
        self._client.begin()
        first = self._client.next_request()
        assert first is not None
        turn, _, sequence = first.open.cursor.partition(":")
        self._place = LOG.index((int(turn), int(sequence))) + 1 if turn else 0
        self._credit = first.open.credit
        self._client.accept(opened())

    def send(self, count: int) -> None:
        """Up to so many events of one turn."""
        while (request := self._client.next_request()) is not None:
            self._credit += request.credit.events
        rest = LOG[self._place : self._place + min(count, self._credit)]
        if rest:
            turn = rest[0][0]
            sequences = [sequence for number, sequence in rest if number == turn]
            self._client.accept(batch(turn, *sequences))
            self._place += len(sequences)
            self._credit -= len(sequences)


Step = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 9)),
    st.tuples(st.just("send"), st.integers(1, 9)),
    st.tuples(st.just("take"), st.integers(1, 9)),
    st.tuples(st.just("pause"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("cut"), st.just(0)),
)


@given(st.lists(Step, max_size=60), st.integers(1, 12))
def test_i9_each_event_is_handed_on_once_and_no_more_is_unread_than_the_window(
    steps: list[tuple[str, int]], window: int
) -> None:
    client = converse.Conversing(pb.ConverseOpen(session_id="s"), lambda: 1.0, 60.0, window)
    server, taken, received = Server(client), [], 0
    server.open()
    for step, count in [*steps, ("resume", 0), *[("send", 9), ("take", 9)] * 2 * len(LOG)]:
        match step:
            case "send":
                server.send(count)
            case "take":
                taken += events_of(client, count)
            case "pause":
                client.pause()
            case "resume":
                client.resume()
            case _:
                client.broken(CUT, 0.0)
                server.open()
        received = max(received, server._place)
        assert received - len(taken) <= window, "more is unread than the window"
    assert taken == [(job_of(turn), sequence) for turn, sequence in LOG]
    assert client.cursor == "{}:{}".format(*LOG[-1])


def events_of(client: converse.Conversing, count: int) -> list[tuple[str, int]]:
    """Takes up to so many items; the places of the events among them."""
    items: list[Any] = [client.take() for _ in range(count)]
    return [(item.job_id, item.sequence) for item in items if isinstance(item, event_pb2.Event)]
