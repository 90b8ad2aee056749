"""One transaction of the store as the verbs see it: jobs read once, facts folded in memory, everything written in few statements.

`record` is the only way in which a job changes: it folds the fact, makes the event and counts, so row, log and counters can't
disagree. What a query has to see is flushed before it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from headrace_server.core import facts, lifecycle
from headrace_server.core.facts import Fact
from headrace_server.core.ids import JobId, Micros, new_job_id, random_bits_needed
from headrace_server.core.job import Job, copy_of
from headrace_server.core.placement import Needs
from headrace_server.core.states import JobState
from headrace_server.store import codec, rows
from headrace_server.store.engine import Connection, Row

_IN_COUNT_MAX = 500


@dataclass(slots=True)
class Effects:
    """What a transaction changed: what is told to the rest of the process once it is committed."""

    changed: set[JobId] = field(default_factory=set)
    """Jobs whose log has grown."""
    queued: bool = False
    """A job became QUEUED."""
    next_due: Micros | None = None
    """The earliest time that a cycle has to keep: a SCHEDULED job becomes due, or one has waited long enough for its holder."""


@dataclass(slots=True)
class _NewJob:
    job: Job
    spec: bytes
    traceparent: str
    labels: tuple[tuple[str, str], ...]


class Ledger:
    """One write transaction. Used by one thread, then dropped, whether it was committed or not.

    The jobs that verbs return are those of the ledger, as they are at the commit; nothing changes them afterwards.
    """

    def __init__(
        self,
        connection: Connection,
        now: Micros,
        entropy: Random,
        leased: Mapping[JobId, Job] | None = None,
        disk_is_low: bool = False,
    ) -> None:
        """`leased` are jobs as they are in the store, for an engine that nobody else writes to: they need not be read again."""
        self.now = now
        """The time of everything in this transaction."""
        self.entropy = entropy
        self.disk_is_low = disk_is_low
        """What is left of the disk is kept for jobs that are there already."""
        self.effects = Effects()
        self._connection = connection
        self._sequences = {name: value for name, value in connection.rows("SELECT name, value FROM sequences")}
        self._sequences_stored = dict(self._sequences)
        self._jobs: dict[JobId, Job] = {}
        self._leased = leased or {}
        self._new: dict[JobId, _NewJob] = {}
        self._changed: dict[JobId, Job] = {}
        self._events: list[tuple[int, int, int, bytes]] = []
        self._outputs: list[tuple[int, int, bytes]] = []
        self._state_counts: dict[tuple[str, str, int], int] = defaultdict(int)
        self._ready_counts: dict[int, int] = defaultdict(int)
        self._keys: dict[tuple[str, str, Needs], int] = {}

    @property
    def generation(self) -> int:
        """Of the store; a restore bumps it."""
        return int(self._sequences["generation"])

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows as they are with everything that was recorded so far."""
        self.flush()
        return self._connection.rows(sql, parameters)

    def look_up(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows of a table that no recorded fact changes; nothing is flushed before."""
        return self._connection.rows(sql, parameters)

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Runs a statement on a table that is not kept by `record`."""
        self._connection.run(sql, parameters)

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]], suffix: str = "") -> None:
        """Inserts into a table that is not kept by `record`."""
        if values:
            self._connection.insert_many(table, columns, values, suffix)

    def jobs(self, ids: Iterable[JobId]) -> dict[JobId, Job]:
        """The jobs that exist, by id; changed only through `record`."""
        wanted = list(dict.fromkeys(ids))
        missing = [job_id for job_id in wanted if job_id not in self._jobs and not self._take_leased(job_id)]
        for start in range(0, len(missing), _IN_COUNT_MAX):
            chunk = missing[start : start + _IN_COUNT_MAX]
            marks = ",".join("?" * len(chunk))
            self.adopt(self._connection.rows(f"{rows.SELECT} WHERE id IN ({marks})", chunk))
        return {job_id: self._jobs[job_id] for job_id in wanted if job_id in self._jobs}

    def job(self, job_id: JobId) -> Job | None:
        """One job, or None."""
        return self.jobs((job_id,)).get(job_id)

    def adopt(self, read: Iterable[Row]) -> list[Job]:
        """Jobs of rows read by `rows.SELECT`; one that is known already is the known one."""
        adopted = []
        for row in read:
            job_id = JobId(bytes(row[1]))
            if job_id not in self._jobs and not self._take_leased(job_id):
                self._jobs[job_id] = rows.job_of(row)
            adopted.append(self._jobs[job_id])
        return adopted

    def touched(self) -> Iterable[Job]:
        """Every job that this transaction has read or changed."""
        return self._jobs.values()

    def _take_leased(self, job_id: JobId) -> bool:
        job = self._leased.get(job_id)
        if job is None:
            return False
        self._jobs[job_id] = copy_of(job)
        return True

    def next_job(self) -> tuple[int, JobId]:
        """Row and id of a new job."""
        self._sequences["job"] += 1
        return self._sequences["job"], new_job_id(self.now, self.entropy.getrandbits(random_bits_needed()))

    def create(
        self,
        job: Job,
        fact: facts.Submitted,
        *,
        spec: bytes,
        traceparent: str,
        labels: tuple[tuple[str, str], ...],
    ) -> None:
        """Records the first fact of a new job."""
        self._jobs[job.id] = job
        self._new[job.id] = _NewJob(job, spec, traceparent, labels)
        lifecycle.apply(job, fact, self.now)
        self._count(job, 1)
        self._append(job, fact, of_attempt=False)

    def record(self, job: Job, fact: Fact) -> None:
        """Folds a fact into a job and appends its event; raises IllegalTransition when the state does not allow it."""
        state, key, holder, leased = job.state, job.key, job.holder, job.worker != ""
        lifecycle.apply(job, fact, self.now)
        if job.state is not state or job.holder != holder:
            self._count_state(job, state, -1)
            self._count_ready(key, state, holder, -1)
            self._count(job, 1)
        if job.id not in self._new:
            self._changed[job.id] = job
        self._append(job, fact, of_attempt=leased or type(fact) is facts.Assigned)

    def drop_output(self, job: Job, producer_sequence: int) -> None:
        """Takes note of output past the job's cap: acknowledged, not kept (E6)."""
        job.producer_sequence = producer_sequence
        self._changed[job.id] = job

    def key_of(self, namespace: str, queue: str, needs: Needs) -> int:
        """The ready key of jobs of a queue with these needs; made when there is none."""
        known = (namespace, queue, needs)
        key = self._keys.get(known)
        if key is not None:
            return key
        name = (namespace, queue, needs.encode())
        found = self.look_up("SELECT key FROM ready_keys WHERE namespace = ? AND queue = ? AND needs = ?", name)
        if found:
            key = int(found[0][0])
        else:
            self._sequences["key"] += 1
            key = self._sequences["key"]
            self.run(
                "INSERT INTO ready_keys (key, namespace, queue, needs, ready) VALUES (?, ?, ?, ?, 0)", (key, *name)
            )
        self._keys[known] = key
        return key

    def waiting_count(self, namespace: str, queue: str) -> int:
        """Jobs of a queue that have not started, with what this transaction has recorded (S5)."""
        stored = self.look_up(
            "SELECT coalesce(sum(jobs), 0) FROM state_counts WHERE namespace = ? AND queue = ? AND state IN (1, 2, 3)",
            (namespace, queue),
        )[0][0]
        pending = sum(self._state_counts.get((namespace, queue, state), 0) for state in (1, 2, 3))
        return int(stored) + pending

    def flush(self) -> None:
        """Writes what was recorded. Called before every query, and once more before the commit."""
        self._flush_new()
        if self._changed:
            changed = [(job.row, *rows.changing_of(job)) for job in self._changed.values()]
            self._connection.update_many("jobs", "job", rows.CHANGING, changed)
            self._changed.clear()
        if self._events:
            self._connection.insert_many("events", ("position", "job", "sequence", "body"), self._events)
            self._events.clear()
        if self._outputs:
            self._connection.insert_many("outputs", ("job", "sequence", "body"), self._outputs)
            self._outputs.clear()
        self._flush_counts()
        self._flush_sequences()

    def _flush_new(self) -> None:
        if not self._new:
            return
        new = list(self._new.values())
        self._connection.insert_many("jobs", rows.COLUMNS, [rows.values_of(one.job) for one in new])
        self._connection.insert_many(
            "job_specs", ("job", "spec", "traceparent"), [(one.job.row, one.spec, one.traceparent) for one in new]
        )
        labels = [(one.job.namespace, key, value, one.job.row) for one in new for key, value in one.labels]
        self.insert("job_labels", ("namespace", "label", "value", "job"), labels)
        self._new.clear()

    def _flush_counts(self) -> None:
        counts = [(*name, count) for name, count in self._state_counts.items() if count]
        if counts:
            self._connection.insert_many(
                "state_counts",
                ("namespace", "queue", "state", "jobs"),
                counts,
                "ON CONFLICT (namespace, queue, state) DO UPDATE SET jobs = state_counts.jobs + excluded.jobs",
            )
        ready = [(count, key) for key, count in self._ready_counts.items() if count]
        if ready:
            self._connection.run_many("UPDATE ready_keys SET ready = ready + ? WHERE key = ?", ready)
        self._state_counts.clear()
        self._ready_counts.clear()

    def _flush_sequences(self) -> None:
        changed = [(value, name) for name, value in self._sequences.items() if value != self._sequences_stored[name]]
        if changed:
            self._connection.run_many("UPDATE sequences SET value = ? WHERE name = ?", changed)
            self._sequences_stored = dict(self._sequences)

    def _append(self, job: Job, fact: Fact, *, of_attempt: bool) -> None:
        self.effects.changed.add(job.id)
        if job.state is JobState.QUEUED:
            self.effects.queued = True
        if job.due:
            self.effects.next_due = min(job.due, self.effects.next_due or job.due)
        if type(fact) is facts.Produced:
            self._outputs.append((job.row, job.sequence, codec.encode(job, fact, 0, self.now, of_attempt)))
            return
        self._sequences["position"] += 1
        position = self._sequences["position"]
        self._events.append((position, job.row, job.sequence, codec.encode(job, fact, position, self.now, of_attempt)))

    def _count(self, job: Job, change: int) -> None:
        self._count_state(job, job.state, change)
        self._count_ready(job.key, job.state, job.holder, change)

    def _count_state(self, job: Job, state: JobState, change: int) -> None:
        self._state_counts[job.namespace, job.queue, int(state)] += change

    def _count_ready(self, key: int, state: JobState, holder: str, change: int) -> None:
        if state is JobState.QUEUED and not holder:
            self._ready_counts[key] += change
