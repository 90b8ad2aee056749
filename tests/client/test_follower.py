"""The follower's decisions about broken streams: when to try again, for how long, and when not at all."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from headrace import errors, follow
from headrace.v1 import event_pb2, job_service_pb2, watch_pb2

LOST = errors.ConnectionFailed("here:1", "connection refused")
OPENED = job_service_pb2.WatchJobResponse(cursor="c", opened=watch_pb2.WatchOpened())
HEARTBEAT = job_service_pb2.WatchJobResponse(cursor="c", heartbeat=watch_pb2.WatchHeartbeat())


def follower(chance: float = 1.0, patience: float = 60.0) -> follow.Follower:
    return follow.Follower(job_service_pb2.WatchJobRequest(job_id="j"), lambda: chance, patience)


def refused(reason: str, status: grpc.StatusCode, retry_after: float | None = None) -> errors.CallFailed:
    kind = errors.BY_REASON.get(reason, errors.CallFailed)
    return kind(errors.Refused(status, "no", reason, retry_after=retry_after))


def test_delays_double_to_a_cap_and_are_jittered() -> None:
    full, half = follower(chance=1.0), follower(chance=0.0)
    for one in (full, half):
        one.accept(OPENED)
    assert [full.broken(LOST, 0.0).delay for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [half.broken(LOST, 0.0).delay for _ in range(3)] == [0.05, 0.1, 0.2]


def test_progress_makes_the_next_delay_short_again_but_a_mere_opening_does_not() -> None:
    one = follower()
    one.accept(OPENED)
    one.broken(LOST, 0.0)
    one.accept(OPENED)
    assert one.broken(LOST, 1.0).delay == 0.2
    one.accept(HEARTBEAT)
    assert one.broken(LOST, 2.0).delay == 0.1


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    one = follower()
    assert one.broken(refused("DRAINING", grpc.StatusCode.UNAVAILABLE, 2.5), 0.0).delay == 2.5


def test_a_server_that_never_answered_is_given_up_soon() -> None:
    one = follower(patience=60.0)
    one.broken(LOST, 100.0)
    one.broken(LOST, 102.9)
    with pytest.raises(errors.ConnectionFailed):
        one.broken(LOST, 103.0)


def test_a_server_that_went_away_is_waited_for_with_patience() -> None:
    one = follower(patience=60.0)
    one.accept(OPENED)
    one.broken(LOST, 100.0)
    one.broken(LOST, 159.0)
    with pytest.raises(errors.ConnectionFailed):
        one.broken(LOST, 160.0)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (LOST, True),
        (refused("DRAINING", grpc.StatusCode.UNAVAILABLE), True),
        (refused("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE), True),
        (refused("TOO_MANY_CALLS", grpc.StatusCode.RESOURCE_EXHAUSTED), True),
        (refused("", grpc.StatusCode.INTERNAL), True),
        (refused("INTERNAL", grpc.StatusCode.INTERNAL), False),
        (refused("NOT_FOUND", grpc.StatusCode.NOT_FOUND), False),
        (refused("INVALID_TOKEN", grpc.StatusCode.INVALID_ARGUMENT), False),
        (refused("PERMISSION_DENIED", grpc.StatusCode.PERMISSION_DENIED), False),
        (refused("", grpc.StatusCode.RESOURCE_EXHAUSTED), False),
        (errors.StreamBroken("hole"), False),
    ],
)
def test_only_what_another_try_can_mend_is_tried_again(cause: errors.HeadraceError, expected: bool) -> None:
    assert follow.resumable(cause) is expected


def test_e1_a_stream_that_began_at_the_end_goes_on_at_its_cursor_and_nowhere_else() -> None:
    one = follow.Follower(job_service_pb2.WatchJobRequest(job_id="j", last=3, attempt=2), lambda: 1.0)
    assert (one.request().last, one.request().cursor) == (3, "")
    one.accept(OPENED)
    again = one.request()
    assert (again.last, again.HasField("start_time"), again.cursor, again.attempt) == (0, False, "c", 2)


@pytest.mark.parametrize("part", [{"attempt": 1}, {"outputs": [2]}, {"without_output": True}])
def test_a_reader_of_a_part_sees_no_hole_in_what_it_left_out(part: dict[str, Any]) -> None:
    one = follow.Follower(job_service_pb2.WatchJobRequest(job_id="j", **part), lambda: 1.0)
    events = [event_pb2.Event(sequence=sequence) for sequence in (1, 4, 9)]
    batch = job_service_pb2.WatchJobResponse(cursor="c", batch=watch_pb2.EventBatch(events=events))
    assert [placed.item for placed in one.accept(batch)] == events


def test_e1_a_reader_that_began_at_the_end_still_sees_holes_after_its_first_event() -> None:
    one = follow.Follower(job_service_pb2.WatchJobRequest(job_id="j", last=3), lambda: 1.0)
    events = [event_pb2.Event(sequence=sequence) for sequence in (7, 8, 10)]
    batch = job_service_pb2.WatchJobResponse(cursor="c", batch=watch_pb2.EventBatch(events=events))
    with pytest.raises(errors.StreamBroken):
        one.accept(batch)
