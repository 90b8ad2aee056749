"""Workers as the store knows them, and what is settled when one connects, renews or is lost (L1–L6)."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.v1 import worker_service_pb2
from headrace_server.core import facts
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.resources import NOTHING, Resources, total
from headrace_server.core.wanted import Wanted
from headrace_server.store import rows
from headrace_server.store.attempts.commands import acknowledge, pending_commands
from headrace_server.store.attempts.demand import key_resources
from headrace_server.store.attempts.leases import Disposition, Finish, Holder, Lease, finish, held, lose, release, start
from headrace_server.store.attempts.outputs import report
from headrace_server.store.attempts.wanted import wanted_of
from headrace_server.store.attempts.worker_drains import WorkerDrain, drain_of
from headrace_server.store.effects import Command
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.response_cache import Invalidation, recent_invalidations
from headrace_server.store.sessions.background import BackgroundTurn, begin_each, drop_orphans
from headrace_server.store.sessions.bindings import ended_sessions, free_turns, kept_in_vain


@dataclass(frozen=True, slots=True)
class StoredWorker:
    """A worker's row."""

    worker: str
    incarnation: str
    counter: int
    hello: worker_service_pb2.WorkerHello
    connected: Micros
    renewed: Micros
    lost: bool


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a worker says when it connects."""

    holder: Holder
    reattach: bool
    hello: bytes
    counter: int
    held: Sequence[Lease]
    """Of one job there may be two: an attempt whose end was not acknowledged, and a newer one."""
    living: frozenset[str] = frozenset()
    """Other incarnations of the worker that may still run what they hold."""


@dataclass(frozen=True, slots=True)
class Welcomed:
    """What the store knows of the attempts that a worker says it holds."""

    current: bool = True
    """False for an incarnation that was ended."""
    newest: bool = True
    """False for a stream that the worker has given up: it was welcomed on a later one."""
    first: bool = False
    """It took the place of whatever incarnation was the current one."""
    jobs: tuple[Job, ...] = ()
    stale: tuple[Lease, ...] = ()
    taken: tuple[Resources, ...] = ()
    """What each of the jobs takes."""
    inherited: Resources = NOTHING
    """What incarnations before it still hold."""
    drain: WorkerDrain | None = None
    """Set while somebody has the worker drained."""
    wanted: tuple[Wanted, ...] = ()
    """Those of the jobs whose attempts it is to end."""
    commands: tuple[Command, ...] = ()
    """What its attempts are to be told."""
    invalidations: tuple[Invalidation, ...] = ()
    """Answers that it may keep and that count no more."""


@dataclass(frozen=True, slots=True)
class Release:
    """A worker's word that it hands an assignment back unstarted."""

    lease: Lease
    cause: facts.ReleaseCause
    message: str


@dataclass(frozen=True, slots=True)
class Word:
    """Everything that a worker said in one message of its control lane."""

    holder: Holder
    starts: Sequence[Lease] = ()
    releases: Sequence[Release] = ()
    reports: Sequence[tuple[Lease, worker_service_pb2.AttemptReport]] = ()
    finishes: Sequence[Finish] = ()
    command_acks: Sequence[tuple[Lease, int, str]] = ()
    """Commands that were carried out, or why one can't be."""
    counter: int = 0
    """Of a renewal; zero when the message has none."""
    absent: Sequence[Lease] = ()
    """Leases of which the worker knows nothing, though their assignment had reached it."""
    sessions: tuple[tuple[JobId, int], ...] = ()
    """Of a renewal: the sessions of which it has a process, with the binding of each."""
    kept_sessions: tuple[JobId, ...] = ()
    """Of a renewal: some of the sessions of which it keeps the conversation without a process."""
    background: Sequence[BackgroundTurn] = ()
    """Turns that CLIs began by themselves."""

    @property
    def says_something(self) -> bool:
        """Whether there is more in it than a renewal."""
        parts = (self.starts, self.releases, self.reports, self.finishes, self.command_acks, self.background)
        return any(parts)


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a word."""

    reported: tuple[tuple[Lease, int], ...]
    finished: tuple[tuple[Lease, Disposition, int], ...]
    wanted: tuple[Wanted, ...] = ()
    """When it renewed: the attempts that it is to end."""
    drain: WorkerDrain | None = None
    """When it renewed: set while somebody has the worker drained."""
    commands: tuple[Command, ...] = ()
    """When it renewed: what its attempts are to be told, said before or not."""
    ended_sessions: tuple[JobId, ...] = ()
    """When it renewed: sessions whose process has to end."""
    background: tuple[tuple[BackgroundTurn, JobId | None], ...] = ()
    """The job of each turn that a CLI began by itself; None when it is to be dropped."""


def welcome(ledger: Ledger, greeting: Greeting) -> Welcomed:
    """Makes an incarnation the current one, ends the attempts of those before, and says what it may go on with.

    One before it that is still living has been told to end what it runs: its leases end as those of a silent worker,
    so that no job runs twice (L7).
    """
    holder = greeting.holder
    known = ledger.look_up("SELECT incarnation, connected, counter FROM workers WHERE worker = ?", (holder.worker,))
    if greeting.reattach and known and known[0][0] != holder.incarnation:
        return Welcomed(current=False)
    again = bool(known) and known[0][0] == holder.incarnation
    if again and _is_overtaken(greeting, known[0][2]):
        return Welcomed(newest=False)
    connected = known[0][1] if again else ledger.now
    ledger.insert(
        "workers",
        ("worker", "incarnation", "counter", "hello", "connected", "renewed", "lost"),
        [(holder.worker, holder.incarnation, greeting.counter, greeting.hello, connected, ledger.now, 0)],
        "ON CONFLICT (worker) DO UPDATE SET incarnation = excluded.incarnation, counter = excluded.counter,"
        " hello = excluded.hello, connected = excluded.connected, renewed = excluded.renewed, lost = 0",
    )
    left = _lose_what_is_gone(ledger, greeting, again=again)
    if not again:
        drop_orphans(ledger, holder.worker, holder.incarnation)
    jobs, stale = _go_on_with(ledger, greeting)
    taken = key_resources(ledger, [*left, *(job.key for job in jobs)])
    return Welcomed(
        first=not again,
        jobs=tuple(jobs),
        stale=tuple(stale),
        taken=tuple(taken[job.key] for job in jobs),
        inherited=total(taken[key] for key in left),
        drain=drain_of(ledger, holder.worker),
        wanted=wanted_of(ledger, holder),
        commands=pending_commands(ledger, holder),
        invalidations=recent_invalidations(ledger),
    )


def _lose_what_is_gone(ledger: Ledger, greeting: Greeting, *, again: bool) -> list[int]:
    """Ends the attempts that nobody runs any more; returns the ready keys of those that an older start may run."""
    left = []
    for job in leased_by(ledger, greeting.holder.worker):
        if job.incarnation != greeting.holder.incarnation:
            if again or job.incarnation in greeting.living:
                left.append(job.key)
            else:
                lose(ledger, job, "a newer incarnation of the worker connected")
        elif Lease(job.id, job.epoch, ledger.generation) not in greeting.held:
            lose(ledger, job, "the worker came back without it")
    return left


def _go_on_with(ledger: Ledger, greeting: Greeting) -> tuple[list[Job], list[Lease]]:
    """The jobs that the worker may go on with, and the leases that have ended of what it says it holds."""
    jobs, stale = [], []
    for lease in greeting.held:
        found = held(ledger, greeting.holder, lease)
        if found is None:
            stale.append(lease)
            continue
        jobs.append(found)
        if found.silence:
            # What it has said meanwhile comes only now: while it was away it could not be heard (L5).
            ledger.note_life(found)
    return jobs, stale


def _is_overtaken(greeting: Greeting, heard: int) -> bool:
    """Whether the worker has said more, on a later stream: what it was given there is not in this hello, and would be
    taken for lost."""
    return greeting.counter < heard


def hear_each(ledger: Ledger, words: Sequence[Word]) -> list[Heard]:
    """Acts on what workers said, in the order of the contract's field numbers."""
    ledger.jobs(lease.job_id for word in words for lease in _leases(word))
    return [_hear(ledger, word) for word in words]


def lose_worker(ledger: Ledger, holder: Holder, reason: str) -> int:
    """Ends every lease of an incarnation; returns how many there were."""
    # What becomes of its jobs hangs on whether it is lost, not only an incarnation of it.
    ledger.run(
        "UPDATE workers SET lost = ? WHERE worker = ? AND incarnation = ? AND lost = 0",
        (ledger.now, holder.worker, holder.incarnation),
    )
    lost = [job for job in leased_by(ledger, holder.worker) if job.incarnation == holder.incarnation]
    for job in lost:
        lose(ledger, job, reason)
    known = ledger.look_up("SELECT incarnation FROM workers WHERE worker = ? AND lost = 0", (holder.worker,))
    drop_orphans(ledger, holder.worker, known[0][0] if known else "")
    if not known:
        free_turns(ledger, holder.worker)
    return len(lost)


def leased_by(ledger: Ledger, worker: str) -> list[Job]:
    """The jobs on which a worker, in any incarnation, holds a lease."""
    return ledger.adopt(ledger.query(f"{rows.SELECT} WHERE worker = ? AND state IN (4, 5, 6, 7)", (worker,)))


def lease_holders(connection: Connection) -> list[tuple[Holder, int]]:
    """Every incarnation that holds a lease or is not known to be lost, with the counter of its last renewal: what a
    restarted node has to watch."""
    found = connection.rows(
        "SELECT jobs.worker, jobs.incarnation, coalesce(max(workers.counter), 0) FROM jobs"
        " LEFT JOIN workers ON workers.worker = jobs.worker AND workers.incarnation = jobs.incarnation"
        " WHERE jobs.state IN (4, 5, 6, 7) GROUP BY jobs.worker, jobs.incarnation"
        " UNION SELECT worker, incarnation, counter FROM workers WHERE lost = 0"
    )
    return [(Holder(worker, incarnation), counter) for worker, incarnation, counter in found]


def list_workers(connection: Connection, after: str, count: int) -> list[StoredWorker]:
    """Workers by id, from right after an id."""
    found = connection.rows(
        "SELECT worker, incarnation, counter, hello, connected, renewed, lost FROM workers WHERE worker > ?"
        " ORDER BY worker LIMIT ?",
        (after, count),
    )
    return [_stored(row) for row in found]


def get_worker(connection: Connection, worker: str) -> StoredWorker | None:
    """A worker, or None."""
    found = connection.rows(
        "SELECT worker, incarnation, counter, hello, connected, renewed, lost FROM workers WHERE worker = ?", (worker,)
    )
    return _stored(found[0]) if found else None


def _stored(row: tuple[object, ...]) -> StoredWorker:
    worker, incarnation, counter, hello, connected, renewed, lost = row
    assert isinstance(hello, bytes)
    return StoredWorker(
        str(worker),
        str(incarnation),
        int(str(counter)),
        worker_service_pb2.WorkerHello.FromString(hello),
        Micros(int(str(connected))),
        Micros(int(str(renewed))),
        bool(lost),
    )


def _leases(word: Word) -> list[Lease]:
    return [
        *word.starts,
        *(one.lease for one in word.releases),
        *(lease for lease, _ in word.reports),
        *(one.lease for one in word.finishes),
        *(lease for lease, _, _ in word.command_acks),
        *word.absent,
    ]


def _hear(ledger: Ledger, word: Word) -> Heard:
    for lease in word.starts:
        job = held(ledger, word.holder, lease)
        if job is not None:
            start(ledger, job)
    for one in word.releases:
        job = held(ledger, word.holder, one.lease)
        if job is not None:
            release(ledger, job, one.cause, one.message)
    reported: dict[Lease, int] = {}
    for lease, message in word.reports:
        committed = report(ledger, word.holder, lease, message)
        reported[lease] = message.report_number if committed is None else committed
    finished = [(one.lease, *finish(ledger, word.holder, one)) for one in word.finishes]
    for lease, command_number, error in word.command_acks:
        job = held(ledger, word.holder, lease)
        if job is not None:
            acknowledge(ledger, job, command_number, error)
    for lease in word.absent:
        job = held(ledger, word.holder, lease)
        if job is not None:
            lose(ledger, job, "the worker does not hold it")
    background = tuple(begin_each(ledger, word.holder.worker, word.holder.incarnation, word.background))
    if word.counter:
        ledger.run(
            "UPDATE workers SET counter = ?, renewed = ? WHERE worker = ? AND incarnation = ?",
            (word.counter, ledger.now, word.holder.worker, word.holder.incarnation),
        )
    if not word.counter:
        return Heard(tuple(reported.items()), tuple(finished), background=background)
    wanted, drain = wanted_of(ledger, word.holder), drain_of(ledger, word.holder.worker)
    commands = pending_commands(ledger, word.holder)
    ended = ended_sessions(ledger, word.holder.worker, word.holder.incarnation, word.sessions)
    ended += kept_in_vain(ledger, word.holder.worker, word.kept_sessions)
    return Heard(tuple(reported.items()), tuple(finished), wanted, drain, commands, ended, background)
