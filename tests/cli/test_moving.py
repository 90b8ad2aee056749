"""What people are told of sessions that move, and of their snapshots."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from headrace import session_specs
from headrace.cli import narration
from headrace.cli.describe import session_text
from headrace.cli.parts import Line
from headrace.cli.transcript import Transcript, Wanted
from headrace.v1 import event_pb2, session_pb2

NOW = datetime(2026, 11, 22, 12, 3, tzinfo=UTC)
WHOLE = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE


def test_a_move_is_told_before_its_attempt() -> None:
    event = event_pb2.Event(attempt=1)
    event.attempt_assigned.worker_id = "w2"
    event.attempt_assigned.session_move.from_worker_id, event.attempt_assigned.session_move.snapshot_turn = "w1", 7
    assert [line.text for line in narration.lines(event)] == [
        "the session moves from w1 to w2, from the snapshot of turn 7",
        "attempt 1 assigned to w2",
    ]


def test_a_turn_that_waits_for_nobody_any_more_says_so() -> None:
    event = event_pb2.Event(queued=event_pb2.JobQueued(cause=event_pb2.QUEUED_CAUSE_HOLDER_LOST))
    (line,) = narration.lines(event)
    assert line.text == "queued: the worker that held its session is lost, any other will do"


@pytest.mark.parametrize(
    ("action", "message", "told"),
    [
        (event_pb2.SNAPSHOT_ACTION_TAKEN, "", []),
        (event_pb2.SNAPSHOT_ACTION_TAKEN, "2 files are not in it", ["snapshot: 2 files are not in it"]),
        (event_pb2.SNAPSHOT_ACTION_RESTORED, "", ["the session goes on from the snapshot of turn 7"]),
        (
            event_pb2.SNAPSHOT_ACTION_FAILED,
            "it is too large",
            ["no snapshot, so the session stays on this worker: it is too large"],
        ),
    ],
)
def test_of_snapshots_only_news_is_told(action: event_pb2.SnapshotAction, message: str, told: list[str]) -> None:
    note = event_pb2.SnapshotNote(action=action, message=message, snapshot=session_pb2.SessionSnapshot(turn=7))
    event = event_pb2.Event(sequence=1, output=event_pb2.Output(snapshot=note))
    parts = Transcript(Wanted()).feed(event)
    assert [part.text for part in parts if isinstance(part, Line)] == told


def test_a_session_says_what_it_can_go_on_from() -> None:
    snapshot = session_pb2.SessionSnapshot(turn=7, size_bytes=2048, worker_id="w1", contents=WHOLE)
    snapshot.time.FromDatetime(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
    session = session_pb2.Session(latest_snapshot=snapshot, binding=session_pb2.SessionBinding(worker_id="w1", epoch=1))
    (line,) = [line for line in session_text.session_lines(session, NOW) if line.startswith("snapshot")]
    assert "turn 7, 2.0 KiB with its folder, 3m ago" in line


def test_policies_have_words() -> None:
    assert session_specs.session(snapshots="workspace").snapshots == WHOLE
    assert session_specs.session().snapshots == session_pb2.SNAPSHOT_POLICY_UNSPECIFIED
    with pytest.raises(ValueError, match="none, transcript, workspace"):
        session_specs.session(snapshots="everything")
