"""Token deltas: in order, put together, bounded, dropped with a marker (E1, E4)."""

from random import Random

import pytest

from headrace.v1 import event_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.limits import (
    DELTA_ATTEMPT_BYTES_MAX,
    DELTA_MESSAGE_BYTES,
    DELTA_RINGS_BYTES_MAX,
    DELTA_RUN_BYTES_MAX,
)
from headrace_server.runtime import deltas as rings
from headrace_server.runtime.deltas import Deltas
from headrace_server.store.effects import Effects, Ran

JOB = JobId(b"j" * 16)
ALL = 1 << 30


def delta(text: str, after: int = 1, block: int = 0, parent: str = "", attempt: int = 1) -> event_pb2.Delta:
    return event_pb2.Delta(
        text=text,
        attempt=attempt,
        after_sequence=after,
        block_index=block,
        message_id=f"m{parent}",
        parent_tool_use_id=parent,
    )


def marker(count: int) -> event_pb2.Delta:
    return event_pb2.Delta(dropped=count, attempt=1, after_sequence=1)


def texts(deltas: list[event_pb2.Delta]) -> list[str]:
    return [f"dropped {one.dropped}" if one.WhichOneof("kind") == "dropped" else one.text for one in deltas]


def told(deltas: Deltas, number: int = 0, sequence: int = 9, job_id: JobId = JOB) -> list[str]:
    """What a reader gets that asks until there is nothing more."""
    found: list[str] = []
    while True:
        taken, following = deltas.after(job_id, number, sequence)
        assert following > number or not taken
        if not taken:
            return found
        found += texts(taken)
        number = following


def job(number: int) -> JobId:
    return JobId(number.to_bytes(16, "big"))


def test_e1_a_reader_gets_each_piece_once_in_order() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a"), delta("b")])
    taken, number = deltas.after(JOB, 0, 9)
    assert texts(taken) == ["ab"]
    deltas.push(JOB, [delta("ä"), delta("c")])
    taken, number = deltas.after(JOB, number, 9)
    assert texts(taken) == ["äc"]
    assert deltas.after(JOB, number, 9) == ([], number)


def test_a_late_reader_gets_the_message_so_far_as_one_delta_for_each_block() -> None:
    deltas = Deltas()
    spoken = [delta(word, block=0) for word in ("so ", "far ", "so good")]
    spoken.append(event_pb2.Delta(attempt=1, after_sequence=1, message_id="m", block_index=1, tool_name="Bash"))
    parts = ('{"command":', '"ls"}')
    spoken += [
        event_pb2.Delta(attempt=1, after_sequence=1, message_id="m", block_index=1, tool_input_json=part)
        for part in parts
    ]
    for one in spoken:
        deltas.push(JOB, [one])
    taken, _ = deltas.after(JOB, 0, 9)
    assert [(one.block_index, one.WhichOneof("kind")) for one in taken] == [
        (0, "text"),
        (1, "tool_name"),
        (1, "tool_input_json"),
    ]
    assert (taken[0].text, taken[1].tool_name, taken[2].tool_input_json) == (
        "so far so good",
        "Bash",
        '{"command":"ls"}',
    )
    assert {(one.attempt, one.message_id, one.after_sequence) for one in taken} == {(1, "m", 1)}


def test_pieces_of_conversations_that_take_turns_are_put_together_for_each() -> None:
    deltas = Deltas()
    for n in range(4):
        deltas.push(JOB, [delta(f"a{n}", parent="a"), delta(f"b{n}", parent="b")])
    taken, number = deltas.after(JOB, 0, 9)
    assert [(one.parent_tool_use_id, one.text) for one in taken] == [("a", "a0a1a2a3"), ("b", "b0b1b2b3")]
    assert number == 8


def test_a_delta_waits_for_a_reader_that_has_not_seen_what_it_follows() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a", 4), delta("b", 5)])
    taken, number = deltas.after(JOB, 0, 4)
    assert texts(taken) == ["a"]
    taken, _ = deltas.after(JOB, number, 5)
    assert [(one.text, one.after_sequence) for one in taken] == [("b", 5)]
    both, _ = deltas.after(JOB, 0, 5)
    assert [(one.text, one.after_sequence) for one in both] == [("ab", 5)]


def test_what_stands_in_the_log_is_left_out() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a"), delta("b")])
    deltas.settle(JOB)
    deltas.push(JOB, [delta("c", 2)])
    assert told(deltas) == ["c"]
    assert told(deltas, 1) == ["c"], "without a marker: the message itself has come"


def test_a_whole_message_of_one_conversation_leaves_the_others_as_they_are() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a1", parent="a"), delta("b1", parent="b"), delta("a2", parent="a")])
    deltas.settle(JOB, {"a"})
    deltas.push(JOB, [delta("b2", parent="b")])
    assert told(deltas) == ["b1b2"]
    assert told(deltas, 2) == ["b2"]
    deltas.settle(JOB, {"b"})
    assert told(deltas) == []
    assert deltas.bytes_count == 0


def test_a_reader_that_is_slow_is_told_how_much_it_missed() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("seen")])
    _, number = deltas.after(JOB, 0, 9)
    piece = "x" * 1024
    count = 2 * DELTA_ATTEMPT_BYTES_MAX // len(piece)
    deltas.push(JOB, [delta(piece) for _ in range(count)])
    found = told(deltas, number)
    kept = sum(map(len, found[1:])) // len(piece)
    assert found[0] == f"dropped {count - kept}"
    assert len(piece) * kept >= DELTA_ATTEMPT_BYTES_MAX - 2 * DELTA_RUN_BYTES_MAX
    assert told(deltas)[0] == f"dropped {count - kept + 1}", "a late reader is told, too"


def test_a_message_that_has_come_in_whole_needs_no_marker() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("x" * 1024) for _ in range(2 * DELTA_ATTEMPT_BYTES_MAX // 1024)])
    deltas.push(JOB, [marker(3)])
    deltas.settle(JOB, {""})
    deltas.push(JOB, [delta("new", 2)])
    assert told(deltas) == ["new"]


def test_a_marker_of_the_worker_stands_in_its_place() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a"), marker(7), delta("b")])
    assert told(deltas) == ["a", "dropped 7", "b"]


def test_one_message_holds_a_bounded_piece_and_the_next_goes_on() -> None:
    deltas = Deltas()
    words = [f"{n:07}." for n in range(12_000)]
    deltas.push(JOB, [delta(word) for word in words])
    found, number, sizes = "", 0, []
    while True:
        taken, number = deltas.after(JOB, number, 9)
        if not taken:
            break
        (one,) = taken
        found += one.text
        sizes.append(len(one.text))
    assert found == "".join(words)
    assert max(sizes) <= DELTA_MESSAGE_BYTES
    assert len(sizes) < len(words) / 500


def test_e4_an_attempt_keeps_a_bounded_number_of_bytes() -> None:
    deltas = Deltas()
    for n in range(3000):
        deltas.push(JOB, [delta("y" * 100, parent=str(n % 3))])
        assert deltas.bytes_count <= DELTA_ATTEMPT_BYTES_MAX
    deltas.push(JOB, [delta("z" * 100_000) for _ in range(3)])
    assert deltas.bytes_count <= DELTA_ATTEMPT_BYTES_MAX + 200_000, "a piece is never cut; the lane bounds its size"


def test_e4_all_attempts_together_keep_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DELTA_RINGS_BYTES_MAX >= 100 * DELTA_ATTEMPT_BYTES_MAX
    monkeypatch.setattr(rings, "DELTA_RINGS_BYTES_MAX", 12_000)
    deltas = Deltas()
    for number in range(1, 5):
        deltas.push(job(number), [delta("x" * 2000)])
    deltas.push(job(1), [delta("again")])
    deltas.push(job(5), [delta("x" * 2000)])
    assert deltas.bytes_count <= 12_000
    assert told(deltas, job_id=job(1)) == ["x" * 2000 + "again"], "it was not silent"
    assert told(deltas, job_id=job(2)) == ["dropped 1"]
    deltas.push(job(2), [delta("more")])
    assert told(deltas, job_id=job(2)) == ["dropped 1", "more"]


def test_a_new_attempt_begins_anew_and_the_old_one_says_nothing_more() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("old")])
    _, number = deltas.after(JOB, 0, 9)
    deltas.push(JOB, [delta("unseen"), delta("new", attempt=2), delta("late", attempt=1)])
    assert told(deltas) == ["new"]
    assert told(deltas, number) == ["new"]


def test_an_attempt_that_has_ended_leaves_nothing_behind() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a"), delta("b"), delta("c")])
    _, number = deltas.after(JOB, 0, 9)
    ran = Ran(1, JOB, "default", "default", Micros(0), Micros(1), "w", 1, "failed", FailureClass.CRASH)
    deltas.committed(Effects(spans=[ran]))
    assert deltas.bytes_count == 0
    assert told(deltas) == []
    deltas.push(JOB, [delta("d", attempt=2)])
    assert told(deltas, number) == ["d"]
    assert told(deltas) == ["d"]


def test_a_job_without_deltas_has_none() -> None:
    deltas = Deltas()
    assert deltas.after(JOB, 5, 9) == ([], 5)
    deltas.settle(JOB)
    deltas.forget(JOB)


@pytest.mark.parametrize("seed", range(40))
def test_readers_of_any_speed_get_the_same_words_or_a_marker(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a conversation said since its last whole message, to a reader that was never told of a loss."""
    random = Random(seed)
    monkeypatch.setattr(rings, "DELTA_ATTEMPT_BYTES_MAX", random.choice([3000, 20_000, 1 << 20]))
    monkeypatch.setattr(rings, "DELTA_RUN_BYTES_MAX", random.choice([10, 1000]))
    deltas = Deltas()
    said: dict[str, str] = {"": "", "a": "", "b": ""}
    heard: list[dict[str, str] | None] = [dict(said) for _ in range(3)]
    numbers = [0, 0, 0]
    parent = ""
    for step in range(400):
        parent = random.choice([*said, parent, parent, parent])
        if random.random() < 0.03:
            deltas.settle(JOB, {parent})
            said[parent] = ""
            for one in heard:
                if one is not None:
                    one[parent] = ""
        else:
            word = f"{step} " + "x" * random.choice([0, 0, 300])
            deltas.push(JOB, [delta(word, parent=parent)])
            said[parent] += word
        reader = random.randrange(3)
        if random.random() < 0.2:
            taken, numbers[reader] = deltas.after(JOB, numbers[reader], 9, random.choice([1, 500, ALL]))
            heard[reader] = _hear(heard[reader], taken)
        if random.random() < 0.01:
            numbers[reader], heard[reader] = 0, {"": "", "a": "", "b": ""}
    for reader, one in enumerate(heard):
        taken, _ = deltas.after(JOB, numbers[reader], 9, ALL)
        whole = _hear(one, taken)
        assert whole is None or whole == said


def _hear(heard: dict[str, str] | None, taken: list[event_pb2.Delta]) -> dict[str, str] | None:
    """None from a marker on."""
    for one in taken:
        if heard is None or one.WhichOneof("kind") == "dropped":
            return None
        heard[one.parent_tool_use_id] += one.text
    return heard
