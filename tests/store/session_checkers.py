"""What has to be true of the sessions of every store (X1). Apart from what it judges: it reads tables only."""

import json
from collections import defaultdict

from headrace.v1 import session_pb2
from headrace_server.core.job import NO_USAGE, Job, Usage
from headrace_server.core.states import ENDED, LEASED, WAITING, JobState
from headrace_server.store.engine import Connection


def check_sessions(connection: Connection, jobs: list[Job]) -> None:
    """Everything about them."""
    turns: dict[bytes, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.turn is not None:
            turns[job.turn.session_id].append(job)
    sessions = connection.rows(
        "SELECT session, id, ended, turns, ended_turns, usage, claude_session, worker, binding_epoch, spec,"
        " source_worker, namespace, forked_from FROM sessions"
    )
    movable = _with_snapshots(connection)
    assert set(turns) <= {bytes(session[1]) for session in sessions}, "a turn without its session"
    for session in sessions:
        own = sorted(turns[bytes(session[1])], key=_number)
        _check_numbers(connection, session[0], own)
        _check_line([job for job in own if job.turn is not None and not job.turn.background])
        _check_totals(own, *session[3:6])
        source = session[1] if session[6] or session[12] is None else session[12]
        _check_holder(own, session[6], session[7], session[8], session[10], bytes(source) in movable)
        if session[2]:
            assert not any(job.state in WAITING and not job.epoch for job in own), "a closed session has turns to come"
        wanted = dict(session_pb2.SessionSpec.FromString(session[9]).labels)
        found = connection.rows("SELECT label, value FROM session_labels WHERE session = ?", (session[0],))
        assert dict(found) == wanted
    stray = "SELECT count(*) FROM {} WHERE session NOT IN (SELECT session FROM sessions)"
    assert connection.rows(stray.format("session_turns")) == [(0,)]
    assert connection.rows(stray.format("session_labels")) == [(0,)]
    assert connection.rows(stray.format("session_snapshots")) == [(0,)]


def _with_snapshots(connection: Connection) -> set[bytes]:
    """Sessions that can move: each has the one artifact that is there of all that were taken."""
    found = connection.rows(
        "SELECT sessions.id, session_snapshots.job, session_snapshots.name FROM session_snapshots"
        " JOIN sessions ON sessions.session = session_snapshots.session"
    )
    for _, job, name in found:
        whole = "SELECT count(*) FROM artifacts WHERE job = ? AND name = ? AND complete = 1"
        assert connection.rows(whole, (job, name)) == [(1,)], "a snapshot without its artifact"
    return {bytes(session) for session, _, _ in found}


def _number(job: Job) -> int:
    assert job.turn is not None
    return job.turn.number


def _check_numbers(connection: Connection, session: int, own: list[Job]) -> None:
    found = connection.rows("SELECT number, job, ended, background FROM session_turns WHERE session = ?", (session,))
    assert {(number, job) for number, job, _, _ in found} == {(_number(job), job.row) for job in own}
    by_row = {job.row: job for job in own}
    for _, row, ended, background in found:
        job = by_row[row]
        assert bool(ended) == (job.state in ENDED)
        assert job.turn is not None
        assert bool(background) == job.turn.background


def _check_line(line: list[Job]) -> None:
    """X1: turns run one at a time, in order."""
    pending = [job for job in line if job.state not in ENDED]
    for job in pending[1:]:
        assert job.state is JobState.BLOCKED, "a turn went on before its turn"
        assert not job.epoch
    if pending and not (pending[0].dependent or pending[0].unique):
        assert pending[0].state is not JobState.BLOCKED, "the first turn waits for nobody"
    assert sum(job.state in LEASED for job in line) <= 1


def _check_totals(own: list[Job], turns: int, ended_turns: int, usage: str) -> None:
    ended = [job for job in own if job.state in ENDED]
    assert all(0 < _number(job) <= turns for job in own)
    if len(own) == turns:
        assert ended_turns == len(ended)
        assert Usage(*json.loads(usage)) == sum((job.usage for job in ended), NO_USAGE)
    else:
        assert ended_turns == turns - (len(own) - len(ended))


def _check_holder(
    own: list[Job], conversation: str, worker: str, binding_epoch: int, source: str, movable: bool
) -> None:
    """A turn waits for the worker that has the conversation, unless there is a snapshot of it."""
    assert bool(binding_epoch) == bool(worker)
    holder = worker if conversation else source
    for job in own:
        if job.state is JobState.QUEUED:
            # While nobody has said the conversation's id, a turn that the CLI began shows where it is.
            assert job.holder in ((holder,) if holder and not movable else ("", holder, worker))
            assert bool(job.due) == bool(job.holder)
        if job.state in LEASED and holder and not (movable and not conversation):
            assert job.worker == holder
