"""One transaction of the store as the verbs see it: jobs read once, facts folded in memory, everything written in few
statements.

`record` is the only way in which a job changes: it folds the fact, makes the event and counts, so row, log and
counters can't disagree. What a query has to see is flushed before it.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, TypeVar

from headrace_server.core import facts, lifecycle
from headrace_server.core.deadlines import next_look
from headrace_server.core.facts import Fact
from headrace_server.core.ids import JobId, Micros, new_job_id, random_bits_needed
from headrace_server.core.job import Job, Usage, copy_of
from headrace_server.core.placement import Needs
from headrace_server.core.states import ENDED, JobState
from headrace_server.store import codec, rows
from headrace_server.store.counters import Counters, KeyPlace
from headrace_server.store.effects import Effects, Measure, measure
from headrace_server.store.engine import Connection, Row
from headrace_server.store.memory import Memory

T = TypeVar("T")

_IN_COUNT_MAX = 500
_UNKNOWN: Any = object()
_STOPS = frozenset({facts.CancelRequested, facts.TimedOut})
"""After these an attempt has to end."""
_COUNTED = ("live", "ready", "leased", "leased_slots", "leased_since", "head", "head_job", "parked")
"""Columns of a ready key that begin at zero."""


@dataclass(slots=True)
class _NewJob:
    job: Job
    spec: bytes
    traceparent: str
    request_id: str
    labels: tuple[tuple[str, str], ...]


class AttemptWord(NamedTuple):
    """A fact by which an attempt has used something, has failed, or has ended. A tuple: each attempt makes one."""

    job: Job
    fact: Fact
    assigned: Micros
    """When the attempt was granted."""
    before: Usage
    """Of the attempts of the job that had ended before."""
    after: Usage
    """The same, with this one's if it has ended."""
    so_far: Usage
    """Of the attempt, while it runs."""
    is_over: bool
    """Its lease has ended."""


class Ledger:
    """One write transaction. Used by one thread, then dropped, whether it was committed or not.

    The jobs that verbs return are those of the ledger, as they are at the commit; nothing changes them afterwards.
    """

    def __init__(
        self,
        connection: Connection,
        now: Micros,
        entropy: Random,
        memory: Memory | None = None,
        disk_is_low: bool = False,
    ) -> None:
        """`memory` is what earlier transactions learned, for an engine that nobody else writes to."""
        self.now = now
        """The time of everything in this transaction."""
        self.entropy = entropy
        self.disk_is_low = disk_is_low
        """What is left of the disk is kept for jobs that are there already."""
        self.effects = Effects()
        self._connection = connection
        self._memory = memory or Memory()
        self._sequences: dict[str, int] = dict(
            self._memory.sequences or connection.rows("SELECT name, value FROM sequences")
        )
        self._sequences_stored = dict(self._sequences)
        self._values: dict[Hashable, Any] = {}
        self._forgotten: set[Hashable] = set()
        self._jobs: dict[JobId, Job] = {}
        self._removed: dict[JobId, Job] = {}
        self._new: dict[JobId, _NewJob] = {}
        self._changed: dict[JobId, Job] = {}
        self._events: list[tuple[int, int, int, bytes]] = []
        self._outputs: list[tuple[int, int, bytes, int, int]] = []
        self.counters = Counters()
        self.ended: list[Job] = []
        """Jobs that have ended in this transaction and that nobody has drawn the consequences of yet."""
        self.stopped: list[Job] = []
        """Jobs whose attempts this transaction has stopped."""
        self.attempt_words: list[AttemptWord] = []
        """What was recorded of attempts that capacity and budgets are about, and that nobody has looked at yet."""
        self.silenced: list[tuple[int, int]] = []
        """Attempts that have ended, of those that may have asked or been told something: row of the job and epoch."""

    @property
    def generation(self) -> int:
        """Of the store; a restore bumps it."""
        return int(self._sequences["generation"])

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows as they are with everything that was recorded so far."""
        self._write_recorded()
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
        if self._removed:
            missing = [job_id for job_id in missing if job_id not in self._removed]
        for start in range(0, len(missing), _IN_COUNT_MAX):
            chunk = missing[start : start + _IN_COUNT_MAX]
            marks = ",".join("?" * len(chunk))
            self.adopt(self._connection.rows(f"{rows.SELECT} WHERE id IN ({marks})", chunk))
        return {job_id: self._jobs[job_id] for job_id in wanted if job_id in self._jobs}

    def job(self, job_id: JobId) -> Job | None:
        """One job, or None."""
        return self._jobs.get(job_id) or self.jobs((job_id,)).get(job_id)

    def adopt(self, read: Iterable[Row]) -> list[Job]:
        """Jobs of rows read by `rows.SELECT`; one that is known already is the known one."""
        adopted = []
        for row in read:
            job_id = JobId(bytes(row[1]))
            if job_id not in self._jobs and not self._take_leased(job_id):
                self._jobs[job_id] = rows.job_of(row)
            adopted.append(self._jobs[job_id])
        return adopted

    def value(self, name: Hashable, load: Callable[[], T]) -> T:
        """A value that no recorded fact changes, e.g. a queue's policy: loaded once, then remembered until it is
        forgotten."""
        value: T = self._values.get(name, _UNKNOWN)
        if value is _UNKNOWN:
            value = self._values[name] = load() if name in self._forgotten else self._memory.value(name, load)
        return value

    def forget(self, name: Hashable) -> None:
        """Takes note that a value has changed."""
        self._values.pop(name, None)
        self._forgotten.add(name)

    def remember(self) -> None:
        """Hands what was learned to the memory. Only after the commit."""
        for queue, change in self.counters.waiting.items():
            name = ("waiting", *queue)
            known = self._values.get(name, self._memory.value(name, lambda: None))
            if known is not None:
                self._values[name] = known + change
        jobs = [*self._jobs.values(), *self._removed.values()] if self._removed else self._jobs.values()
        self._memory.remember(jobs, self._sequences, self._values, self._forgotten - self._values.keys())

    def _take_leased(self, job_id: JobId) -> bool:
        job = self._memory.leased.get(job_id)
        if job is None or job_id in self._removed:
            return False
        self._jobs[job_id] = copy_of(job)
        return True

    def next_job(self) -> tuple[int, JobId]:
        """Row and id of a new job."""
        self._sequences["job"] += 1
        return self._sequences["job"], new_job_id(self.now, self.entropy.getrandbits(random_bits_needed()))

    def next_number(self, sequence: str) -> int:
        """The next number of a sequence of the store, e.g. `audit`."""
        self._sequences[sequence] += 1
        return self._sequences[sequence]

    def create(
        self,
        job: Job,
        fact: facts.Submitted,
        *,
        spec: bytes,
        traceparent: str,
        request_id: str,
        labels: tuple[tuple[str, str], ...],
    ) -> None:
        """Records the first fact of a new job."""
        self._jobs[job.id] = job
        self._new[job.id] = _NewJob(job, spec, traceparent, request_id, labels)
        lifecycle.apply(job, fact, self.now)
        self.counters.enter(job)
        self.effects.measured.append((Measure.SUBMITTED, job.namespace, job.queue, 0))
        self._append(job, fact, of_attempt=False)

    def record(self, job: Job, fact: Fact) -> None:
        """Folds a fact into a job and appends its event; raises IllegalTransition when the state does not allow it."""
        state, holder, assigned, worker = job.state, job.holder, job.assigned, job.worker
        rank, started = job.rank, job.started
        usage, attempt_usage = job.usage, job.attempt_usage
        lifecycle.apply(job, fact, self.now)
        if job.state is not state or job.holder != holder or job.assigned != assigned or job.rank != rank:
            release = fact if isinstance(fact, facts.Released) else None
            self.counters.change(job, state, holder, assigned, self.now, release)
        if job.id not in self._new:
            self._changed[job.id] = job
        if job.state in ENDED:
            self.ended.append(job)
        if type(fact) in _STOPS:
            self.stopped.append(job)
        if worker and not job.worker and (job.asks or job.turn is not None):
            self.silenced.append((job.row, job.epoch))
        measure(self.effects, job, fact, started, worker, self.now)
        used = job.usage is not usage or job.attempt_usage is not attempt_usage
        if used:
            more = (job.usage + job.attempt_usage).since(usage + attempt_usage)
            self.effects.used.append((job.namespace, job.queue, more))
        if worker and (used or not job.worker or type(fact) is facts.AttemptFailed):
            word = AttemptWord(job, fact, assigned, usage, job.usage, job.attempt_usage, not job.worker)
            self.attempt_words.append(word)
        self._append(job, fact, of_attempt=worker != "" or type(fact) is facts.Assigned)

    def drop_output(self, job: Job, producer_sequence: int) -> None:
        """Takes note of output past the job's cap: acknowledged, not kept (E6). It is a sign of life all the same."""
        job.producer_sequence = producer_sequence
        job.updated = self.now
        self._changed[job.id] = job

    def skip_report(self, job: Job, report_number: int) -> None:
        """Takes note of a report that says nothing new: acknowledged, not kept."""
        job.report_number = report_number
        self._changed[job.id] = job

    def note_life(self, job: Job) -> None:
        """Takes note of a sign of life that is not in the log."""
        job.updated = self.now
        job.wake = next_look(job)
        self._changed[job.id] = job

    def look_again(self, job: Job) -> None:
        """Puts right when a job has to be looked at again, after a look that came too early."""
        job.wake = next_look(job)
        self._changed[job.id] = job

    def remove(self, jobs: Iterable[Job]) -> None:
        """Takes jobs that have ended out of the table of jobs, and of what is counted."""
        self._write_recorded()
        for job in jobs:
            assert job.state in ENDED, "only what has ended is removed"
            self._connection.run("DELETE FROM jobs WHERE job = ?", (job.row,))
            self.counters.leave(job)
            self._removed[job.id] = self._jobs.pop(job.id)
            self.effects.changed.add(job.id)
            self.effects.removed = True

    def key_of(
        self, namespace: str, queue: str, needs: Needs, owner: str, concurrency_key: str, folder: str = ""
    ) -> int:
        """The ready key of such jobs; made when there is none."""
        name = (namespace, queue, needs, owner, concurrency_key, folder)
        return self.value(("key", *name), lambda: self._find_key(*name))

    def place_of(self, key: int) -> KeyPlace:
        """What a ready key stands for."""
        return self.value(("place", key), lambda: self._read_place(key))

    def _find_key(self, namespace: str, queue: str, needs: Needs, owner: str, concurrency_key: str, folder: str) -> int:
        group = self.value(("group", namespace, queue, needs), lambda: self._find_group(namespace, queue, needs))
        found = self.look_up(
            "SELECT key FROM ready_keys WHERE ready_group = ? AND owner = ? AND concurrency_key = ? AND folder = ?",
            (group, owner, concurrency_key, folder),
        )
        if found:
            return int(found[0][0])
        self._sequences["key"] += 1
        key = self._sequences["key"]
        columns = ("key", "ready_group", "namespace", "queue", "owner", "concurrency_key", "folder", *_COUNTED)
        values = (key, group, namespace, queue, owner, concurrency_key, folder, *(0 for _ in _COUNTED))
        self.insert("ready_keys", columns, [values])
        return key

    def _find_group(self, namespace: str, queue: str, needs: Needs) -> int:
        name = (namespace, queue, needs.encode())
        found = self.look_up(
            "SELECT ready_group FROM ready_groups WHERE namespace = ? AND queue = ? AND needs = ?", name
        )
        if found:
            return int(found[0][0])
        self._sequences["group"] += 1
        group = self._sequences["group"]
        columns = ("ready_group", "namespace", "queue", "needs", "ready", "domain")
        self.insert("ready_groups", columns, [(group, *name, 0, needs.domain)])
        return group

    def _read_place(self, key: int) -> KeyPlace:
        found = self.look_up(
            "SELECT ready_group, namespace, queue, owner, concurrency_key, folder FROM ready_keys WHERE key = ?", (key,)
        )
        return KeyPlace(*found[0])

    def waiting_count(self, namespace: str, queue: str) -> int:
        """Jobs of a queue that have not started, with what this transaction has recorded (S5)."""
        before = self.value(("waiting", namespace, queue), lambda: self._count_waiting(namespace, queue))
        return before + self.counters.waiting[namespace, queue]

    def _count_waiting(self, namespace: str, queue: str) -> int:
        """As it was before this transaction."""
        stored = self.query(
            "SELECT coalesce(sum(jobs), 0) FROM state_counts WHERE namespace = ? AND queue = ? AND state IN (1, 2, 3)",
            (namespace, queue),
        )[0][0]
        return int(stored) - self.counters.waiting[namespace, queue]

    def flush(self) -> None:
        """Writes what was recorded. Once, before the commit."""
        self._write_recorded()
        self._flush_sequences()

    def _write_recorded(self) -> None:
        """Called before every query, too."""
        self._flush_new()
        if self._changed:
            changed = [(job.row, *rows.changing_of(job)) for job in self._changed.values()]
            self._connection.update_many("jobs", "job", rows.CHANGING, changed)
            self._changed.clear()
        if self._events:
            self._connection.insert_many("events", ("position", "job", "sequence", "body"), self._events)
            self._events.clear()
        if self._outputs:
            self._connection.insert_many("outputs", ("job", "sequence", "body", "attempt", "kind"), self._outputs)
            self._outputs.clear()
        self.counters.flush(self._connection, {key: self.place_of(key) for key in self.counters.changed_keys()})

    def _flush_new(self) -> None:
        if not self._new:
            return
        new = list(self._new.values())
        self._connection.insert_many("jobs", rows.COLUMNS, [rows.values_of(one.job) for one in new])
        self._connection.insert_many(
            "job_specs",
            ("job", "spec", "traceparent", "request_id"),
            [(one.job.row, one.spec, one.traceparent, one.request_id) for one in new],
        )
        labels = [(one.job.namespace, key, value, one.job.row) for one in new for key, value in one.labels]
        self.insert("job_labels", ("namespace", "label", "value", "job"), labels)
        self._new.clear()

    def _flush_sequences(self) -> None:
        changed = [(value, name) for name, value in self._sequences.items() if value != self._sequences_stored[name]]
        if changed:
            self._connection.run_many("UPDATE sequences SET value = ? WHERE name = ?", changed)
            self._sequences_stored = dict(self._sequences)

    def _append(self, job: Job, fact: Fact, *, of_attempt: bool) -> None:
        self.effects.changed.add(job.id)
        if job.state is JobState.QUEUED:
            self.effects.ready.add(job.id)
        else:
            self.effects.ready.discard(job.id)
        if job.wake:
            self.effects.next_due = min(job.wake, self.effects.next_due or job.wake)
        if type(fact) is facts.Produced:
            body = codec.encode(job, fact, 0, self.now, of_attempt)
            self._outputs.append((job.row, job.sequence, body, job.attempt, fact.kind))
            return
        if job.turn is not None:
            self.effects.sessions.add(job.turn.session_id)
        self._sequences["position"] += 1
        position = self.effects.position = self._sequences["position"]
        self._events.append((position, job.row, job.sequence, codec.encode(job, fact, position, self.now, of_attempt)))
