"""Deltas that came before the output which they follow was committed."""

from headrace.v1 import event_pb2
from headrace_server.core.limits import DELTA_ATTEMPT_BYTES_MAX, DELTA_BYTES_MAX
from headrace_server.runtime.early_deltas import EarlyDeltas, whole_messages


def delta(text: str, parent: str = "") -> event_pb2.Delta:
    return event_pb2.Delta(text=text, parent_tool_use_id=parent)


def frame(sequence: int, **claude: object) -> event_pb2.Output:
    return event_pb2.Output(producer_sequence=sequence, claude=claude)


def texts(deltas: list[event_pb2.Delta]) -> list[str]:
    return [f"dropped {one.dropped}" if one.WhichOneof("kind") == "dropped" else one.text for one in deltas]


def test_deltas_wait_until_what_they_follow_is_committed() -> None:
    early = EarlyDeltas()
    early.offer(3, [delta("a")])
    early.offer(4, [delta("b")])
    assert early.ready(2, 1, 10) == []
    (one,) = early.ready(3, 1, 11)
    assert (one.text, one.attempt, one.after_sequence) == ("a", 1, 11)
    assert texts(early.ready(9, 1, 17)) == ["b"]


def test_deltas_of_a_message_that_came_in_whole_are_left_out() -> None:
    early = EarlyDeltas()
    early.offer(3, [delta("mine"), delta("other", "tool")])
    early.said({"": 4})
    early.offer(3, [delta("late")])
    early.offer(4, [delta("next")])
    assert texts(early.ready(9, 1, 1)) == ["other", "next"]
    early.said({None: 9})
    early.offer(8, [delta("x", "tool"), delta("y")])
    assert early.ready(9, 1, 1) == []


def test_whole_messages_are_told_for_each_conversation() -> None:
    outputs = [
        frame(1, assistant={}),
        frame(2, assistant={"parent_tool_use_id": "tool"}),
        frame(3, assistant={}),
        frame(4, user={}),
    ]
    assert whole_messages(outputs) == {"": 3, "tool": 2}
    assert whole_messages([frame(5, turn_result={})]) == {None: 5}


def test_e4_what_waits_is_bounded_and_a_loss_is_marked_in_its_place() -> None:
    early = EarlyDeltas()
    count = 3 * DELTA_ATTEMPT_BYTES_MAX // DELTA_BYTES_MAX
    for number in range(count):
        early.offer(1, [delta(f"{number:04}" + "x" * (DELTA_BYTES_MAX // 2))])
    found = texts(early.ready(1, 1, 1))
    dropped = count - len(found) + 1
    assert 0 < dropped < count
    assert found[0] == f"dropped {dropped}"
    assert found[1][:4] == f"{dropped:04}"
    assert early.ready(1, 1, 1) == []


def test_many_conversations_are_remembered_up_to_a_bound() -> None:
    early = EarlyDeltas()
    for number in range(1000):
        early.said({str(number): number})
    early.offer(500, [delta("old", "0")])
    early.offer(999, [delta("new", "0")])
    assert texts(early.ready(9999, 1, 1)) == ["new"]
