"""Token deltas: bounded, in order, dropped with a marker."""

from headrace.v1 import event_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.limits import DELTA_JOBS_COUNT_MAX, DELTA_RING_COUNT
from headrace_server.runtime.deltas import Deltas

JOB = JobId(b"j" * 16)


def delta(text: str, after: int = 1) -> event_pb2.Delta:
    return event_pb2.Delta(text=text, after_sequence=after)


def texts(deltas: list[event_pb2.Delta]) -> list[str]:
    return [f"dropped {one.dropped}" if one.WhichOneof("kind") == "dropped" else one.text for one in deltas]


def job(number: int) -> JobId:
    return JobId(number.to_bytes(16, "big"))


def test_a_reader_gets_each_delta_once_in_order() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a"), delta("b")])
    taken, number = deltas.after(JOB, 0, 9)
    assert texts(taken) == ["a", "b"]
    deltas.push(JOB, [delta("c")])
    assert texts(deltas.after(JOB, number, 9)[0]) == ["c"]


def test_a_late_reader_gets_the_message_so_far() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a")])
    deltas.push(JOB, [delta("b")])
    assert texts(deltas.after(JOB, 0, 9)[0]) == ["a", "b"]


def test_a_delta_waits_for_a_reader_that_has_not_seen_what_it_follows() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a", 4), delta("b", 5)])
    taken, number = deltas.after(JOB, 0, 4)
    assert texts(taken) == ["a"]
    assert texts(deltas.after(JOB, number, 5)[0]) == ["b"]


def test_what_stands_in_the_log_is_left_out() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a"), delta("b")])
    deltas.settle(JOB)
    deltas.push(JOB, [delta("c", 2)])
    assert texts(deltas.after(JOB, 0, 9)[0]) == ["c"]
    assert texts(deltas.after(JOB, 1, 9)[0]) == ["c"], "without a marker: the message itself has come"


def test_what_fell_out_of_the_ring_is_marked_with_its_number() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("seen")])
    _, number = deltas.after(JOB, 0, 9)
    deltas.push(JOB, [delta(str(n)) for n in range(DELTA_RING_COUNT + 10)])
    taken, number = deltas.after(JOB, number, 9)
    assert texts(taken)[:2] == ["dropped 10", "10"]
    assert len(taken) == DELTA_RING_COUNT + 1
    assert deltas.after(JOB, number, 9) == ([], number)


def test_a_job_without_deltas_has_none() -> None:
    deltas = Deltas()
    assert deltas.after(JOB, 5, 9) == ([], 5)
    deltas.settle(JOB)
    deltas.forget(JOB)


def test_a_reader_goes_on_after_a_ring_was_dropped_and_is_told() -> None:
    deltas = Deltas()
    deltas.push(JOB, [delta("a"), delta("b"), delta("c")])
    _, number = deltas.after(JOB, 0, 9)
    deltas.push(JOB, [delta("missed")])
    deltas.forget(JOB)
    deltas.push(JOB, [delta("d")])
    taken, number = deltas.after(JOB, number, 9)
    assert texts(taken) == ["dropped 0", "d"]
    assert deltas.after(JOB, number, 9) == ([], number)


def test_a_new_reader_of_a_new_ring_is_told_of_no_loss() -> None:
    deltas = Deltas()
    deltas.push(job(1), [delta("old")])
    deltas.forget(job(1))
    deltas.push(job(2), [delta("new")])
    assert texts(deltas.after(job(2), 0, 9)[0]) == ["new"]


def test_rings_are_bounded_and_the_one_that_is_silent_longest_goes() -> None:
    deltas = Deltas()
    for number in range(DELTA_JOBS_COUNT_MAX):
        deltas.push(job(number), [delta("a")])
    deltas.push(job(0), [delta("b")])
    deltas.push(job(DELTA_JOBS_COUNT_MAX), [delta("a")])
    assert texts(deltas.after(job(0), 0, 9)[0]) == ["a", "b"]
    assert deltas.after(job(1), 0, 9) == ([], 0)
