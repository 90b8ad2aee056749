"""What has to be true of every store at every moment. Apart from what it judges: it reads tables only.

I2, I3, I6, I8, I12, I13: rows are the fold of their logs, sequences are dense, positions grow, counters count.
"""

from collections import Counter, defaultdict
from dataclasses import fields

from headrace.v1 import event_pb2, outcome_pb2
from headrace_server.core import lifecycle
from headrace_server.core.job import Job
from headrace_server.core.limits import LOSSES_COUNT_MAX
from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.store import codec, rows
from headrace_server.store.decoding import decode
from headrace_server.store.engine import Connection
from store.capacity_checkers import check_capacity
from store.session_checkers import check_sessions

TERMINAL_KINDS = frozenset({"succeeded", "failed", "cancelled", "expired", "skipped"})
LEASE_ENDS = TERMINAL_KINDS | frozenset(
    {"attempt_released", "attempt_failed", "attempt_lost", "attempt_handed_back", "attempt_snoozed"}
)
OF_THE_SUBMIT = frozenset(
    {"row", "id", "namespace", "queue", "owner", "key", "rank", "priority", "created", "output_bytes_max"}
    | {"slots", "concurrency_key", "unique", "dependent", "timeouts"}
)
OF_QUIET_OUTPUT = frozenset({"producer_sequence", "updated", "wake"})
"""What output past the cap, and parts of artifacts, change without an event."""
OF_LIFE = frozenset({"updated", "wake"})
"""What a worker changes that comes back, of an attempt that may not be silent for long."""


def check_store(connection: Connection) -> None:
    """Everything."""
    jobs = [rows.job_of(row) for row in connection.rows(rows.SELECT)]
    logs = {}
    for job in jobs:
        log = read_log(connection, job)
        if connection.rows("SELECT 1 FROM dropped_outputs WHERE job = ?", (job.row,)):
            check_dropped_output(job, log)
            continue
        has_parts = bool(connection.rows("SELECT 1 FROM artifacts WHERE job = ?", (job.row,)))
        check_row_is_fold_of_log(job, log, quiet_output=job.truncated or has_parts)
        check_log(job, log)
        logs[job.row] = (job, log)
    check_positions(connection)
    check_counters(connection, jobs)
    check_unique_keys(connection, jobs)
    check_dependencies(connection, jobs)
    check_sessions(connection, jobs)
    check_inputs(connection, jobs)
    check_capacity(connection, logs)
    check_nothing_is_left(connection, jobs)


def read_log(connection: Connection, job: Job) -> list[event_pb2.Event]:
    """The log of a job, read from the tables without the code that pages it."""
    found = connection.rows("SELECT sequence, body FROM events WHERE job = ?", (job.row,))
    found += connection.rows("SELECT sequence, body FROM outputs WHERE job = ?", (job.row,))
    found.sort()
    log = [event_pb2.Event.FromString(body) for _, body in found]
    assert [event.sequence for event in log] == [sequence for sequence, _ in found]
    return log


def check_dropped_output(job: Job, log: list[event_pb2.Event]) -> None:
    """E8, I14: of a job whose output was removed, all else is left, and it has ended."""
    assert job.state in ENDED
    assert log[0].HasField("submitted")
    assert log[-1].WhichOneof("kind") in TERMINAL_KINDS
    assert log[-1].sequence == job.sequence


def check_row_is_fold_of_log(job: Job, log: list[event_pb2.Event], *, quiet_output: bool) -> None:
    """I8: the row is what its events make of a blank job. `quiet_output`: some of its output had no event."""
    folded = Job(**{name: getattr(job, name) for name in OF_THE_SUBMIT})
    for event in log:
        lifecycle.apply(folded, decode(event), codec.time_of(event.time))
        assert folded.sequence == event.sequence, "sequences are dense"
    if any(event.HasField("updated") for event in log):
        # What an update makes of the rank is not part of its event.
        folded.rank = job.rank
    for name in (field.name for field in fields(Job)):
        if name in OF_QUIET_OUTPUT and quiet_output:
            assert name == "wake" or getattr(folded, name) <= getattr(job, name)
        elif name == "report_number":
            # A report that says nothing new is acknowledged without an event.
            assert folded.report_number <= job.report_number
        elif name in OF_LIFE and job.silence:
            assert getattr(folded, name) <= getattr(job, name)
        elif name == "failure" and job.failure is not None and folded.failure is not None:
            assert folded.failure.failure_class is job.failure.failure_class
            assert _failure(folded) == _failure(job)
        else:
            assert getattr(folded, name) == getattr(job, name), name


def _failure(job: Job) -> outcome_pb2.Failure:
    assert job.failure is not None
    return outcome_pb2.Failure.FromString(job.failure.body)


def check_log(job: Job, log: list[event_pb2.Event]) -> None:
    """I2, I3, I6, I13 and E3, E5 as far as one log shows them."""
    kinds = [event.WhichOneof("kind") for event in log]
    assert kinds[0] == "submitted"
    assert kinds.count("submitted") == 1
    assert kinds.count("output_truncated") <= 1
    ends = [place for place, kind in enumerate(kinds) if kind in TERMINAL_KINDS]
    assert ends == ([len(log) - 1] if job.state in ENDED else [])
    assert (job.ended != 0) == (job.state in ENDED)
    assert (job.worker != "") == (job.state in LEASED)
    assert job.losses <= LOSSES_COUNT_MAX + 1
    assert not (job.state is JobState.WAITING_INPUT and not job.open_inputs)
    _check_leases(job, log)
    _check_outputs(log)


def _check_leases(job: Job, log: list[event_pb2.Event]) -> None:
    epoch, live = 0, False
    for event in log:
        kind = event.WhichOneof("kind")
        if kind == "attempt_assigned":
            assert not live, "I2: a second lease while one lives"
            assert event.epoch == epoch + 1, "epochs only grow"
            epoch, live = event.epoch, True
        elif kind in {"output", "attempt_started", "input_requested", "input_resolved", "cancel_stepped"}:
            assert live, "I3: a word of a fenced attempt"
        elif kind in LEASE_ENDS:
            live = False
        if event.epoch:
            assert event.epoch == epoch
    assert job.epoch == epoch
    assert live == (job.state in LEASED)


def _check_outputs(log: list[event_pb2.Event]) -> None:
    last: dict[int, int] = {}
    for event in log:
        if event.WhichOneof("kind") == "output":
            assert event.position == 0
            assert event.attempt > 0
            assert event.epoch > 0
            assert event.output.producer_sequence > last.get(event.epoch, 0)
            last[event.epoch] = event.output.producer_sequence


def check_positions(connection: Connection) -> None:
    """E1: positions grow in the order of commits, each is said by its own event, and none is missing but those of jobs
    that were deleted."""
    found = connection.rows("SELECT position, job, sequence, body FROM events ORDER BY position")
    stored: dict[str, int] = dict(connection.rows("SELECT name, value FROM sequences"))
    positions = [row[0] for row in found]
    if connection.rows("SELECT count(*) FROM jobs")[0][0] == stored["job"]:
        assert positions == list(range(1, stored["position"] + 1))
    assert positions == sorted(set(positions))
    assert max(positions, default=0) <= stored["position"]
    last_time, last_sequence = 0, Counter[int]()
    for position, job, sequence, body in found:
        event = event_pb2.Event.FromString(body)
        assert event.position == position
        assert codec.time_of(event.time) >= last_time
        assert sequence > last_sequence[job]
        last_time, last_sequence[job] = codec.time_of(event.time), sequence


def check_counters(connection: Connection, jobs: list[Job]) -> None:
    """S5, I12: what is counted with every transition is what counting finds."""
    states = Counter((job.namespace, job.queue, int(job.state)) for job in jobs)
    counted = connection.rows("SELECT namespace, queue, state, jobs FROM state_counts WHERE jobs <> 0")
    assert {tuple(row[:3]): row[3] for row in counted} == dict(states)
    check_ready(connection, jobs)
    stored = connection.rows(
        "SELECT count(*) FROM requests WHERE deleted = 0"
        " AND id NOT IN (SELECT id FROM jobs UNION ALL SELECT id FROM sessions)"
    )
    assert stored == [(0,)]


def check_ready(connection: Connection, jobs: list[Job]) -> None:
    """What is kept for each ready key and group is what counting finds; `head` is never after the first job."""
    keys: dict[int, list[int]] = defaultdict(lambda: [0] * 5)
    heads: dict[int, tuple[int, int]] = {}
    for job in jobs:
        counted = keys[job.key]
        counted[0] += job.state not in ENDED
        if job.state in LEASED:
            counted[2] += 1
            counted[3] += job.slots
            counted[4] += job.slots * (job.assigned // 1000)
        elif job.state is JobState.QUEUED and not job.holder:
            counted[1] += 1
            place = (job.rank, job.row)
            heads[job.key] = min(heads.get(job.key, place), place)
    stored = connection.rows(
        "SELECT key, ready_group, head, head_job, live, ready, leased, leased_slots, leased_since FROM ready_keys"
    )
    groups = Counter[int]()
    for key, group, head, head_job, *counts in stored:
        assert counts == keys.pop(key, [0] * 5)
        assert key not in heads or (head, head_job) <= heads[key]
        groups[group] += counts[1]
    assert not any(any(counts) for counts in keys.values()), "a job whose key is not there"
    found: dict[int, int] = dict(connection.rows("SELECT ready_group, ready FROM ready_groups WHERE ready <> 0"))
    assert found == {group: ready for group, ready in groups.items() if ready}


def check_unique_keys(connection: Connection, jobs: list[Job]) -> None:
    """S3: a job has a place with its key exactly while it has not ended; of each key one is first, and one is next."""
    found = connection.rows("SELECT namespace, queue, unique_key, place, job FROM unique_keys")
    by_row = {job.row: job for job in jobs}
    assert {row[4] for row in found} == {job.row for job in jobs if job.unique}
    firsts = {row[:3] for row in found if row[3] == 1}
    for *name, place, row in found:
        job = by_row[row]
        assert (job.state in ENDED) == (place == 0)
        if place == 2:
            assert tuple(name) in firsts, "it waits for nobody"
            assert job.state is JobState.BLOCKED


def check_dependencies(connection: Connection, jobs: list[Job]) -> None:
    """Q6: a child knows the ends of its parents, or is going to be told."""
    by_row = {job.row: job for job in jobs}
    pending = {row[0] for row in connection.rows("SELECT parent FROM ended_parents")}
    found = connection.rows("SELECT child, parent, state FROM dependencies")
    assert {row[0] for row in found} == {job.row for job in jobs if job.dependent}
    for child, parent, state in found:
        assert by_row[child].dependent
        ended = parent not in by_row or by_row[parent].state in ENDED
        if not ended:
            assert state == 0
        elif parent not in pending:
            assert JobState(state) in ENDED
            assert parent not in by_row or by_row[parent].state == state


def check_inputs(connection: Connection, jobs: list[Job]) -> None:
    """X3: what is open stands on the job and in the table alike, and only attempts that live are told anything."""
    open_rows = connection.rows("SELECT job, epoch, request_id FROM inputs WHERE resolved = 0")
    on_jobs = {(job.row, job.epoch, one.request_id) for job in jobs for one in job.open_inputs}
    assert {tuple(row) for row in open_rows} == on_jobs
    leased = {(job.row, job.epoch) for job in jobs if job.state in LEASED}
    assert {tuple(row) for row in connection.rows("SELECT DISTINCT job, epoch FROM commands")} <= leased


def check_nothing_is_left(connection: Connection, jobs: list[Job]) -> None:
    """E8: of a job that was deleted nothing is left, but its log where that is still being removed."""
    there = {job.row for job in jobs} | {row[0] for row in connection.rows("SELECT job FROM removals")}
    for table in ("job_specs", "job_labels", "checkpoints", "late_results", "inputs", "commands", "events", "outputs"):
        left = {row[0] for row in connection.rows(f"SELECT DISTINCT job FROM {table}")} - there
        assert not left, f"{table} has rows of deleted jobs"
