"""What is counted with every transition, so that nobody ever has to count jobs: by queue and state, by ready key and
group.

A transaction gathers the changes in memory and writes each counter once. `tests/store/checkers.py` counts anew and
compares.
"""

from collections import defaultdict
from dataclasses import dataclass

from headrace_server.core import facts
from headrace_server.core.ids import Micros
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED, LEASED, WAITING, JobState
from headrace_server.store.engine import Connection

_CHANGE_COUNTS = (
    "UPDATE ready_keys SET live = live + ?, ready = ready + ?, leased = leased + ?,"
    " leased_slots = leased_slots + ?, leased_since = leased_since + ?"
)
UNTIL_FREED = (1 << 63) - 1
"""`parked` of a key that waits for one of its jobs to end."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """What a ready key stands for."""

    group: int
    namespace: str
    queue: str
    owner: str
    concurrency_key: str
    folder: str
    """That its jobs want to have to themselves; empty for most."""


@dataclass(slots=True)
class Charge:
    """What leases that ended have used."""

    slot_micros: int = 0
    slots: int = 0
    """How many slots they had together."""


@dataclass(slots=True)
class _KeyChange:
    live: int = 0
    ready: int = 0
    leased: int = 0
    leased_slots: int = 0
    leased_since: int = 0
    """Milliseconds: the sum over leased jobs of slots times the time of their grant."""
    head: tuple[int, int] | None = None
    """Rank and row of the first job that came to be ready."""
    freed: bool = False
    """A lease of its jobs has ended."""


class Counters:
    """The changes of one transaction that are not written yet."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, str], int] = defaultdict(int)
        """How the number of jobs that wait in a queue has changed in this transaction, written or not."""
        self.charges: dict[tuple[str, str, str, str], Charge] = defaultdict(Charge)
        """Of leases that ended, by namespace, queue, owner and concurrency key. Whoever draws the consequences takes
        them out."""
        self.released: dict[tuple[str, str, str], int] = defaultdict(int)
        """Grants that are known never to have started, by namespace, queue and concurrency key. The same."""
        self.left: set[tuple[str, str, str, int]] = set()
        """Where leases have ended, however they did: namespace, queue, concurrency key, ready key. The same."""
        self._states: dict[tuple[str, str, int], int] = defaultdict(int)
        self._keys: dict[int, _KeyChange] = {}
        self._freed: set[tuple[str, str, str]] = set()

    def enter(self, job: Job) -> None:
        """Counts a job as it is."""
        self._count(job, 1, job.state, job.holder, job.assigned)
        if job.state is JobState.QUEUED and not job.holder:
            change = self._keys[job.key]
            place = (job.rank, job.row)
            change.head = place if change.head is None else min(change.head, place)

    def change(
        self,
        job: Job,
        state: JobState,
        holder: str,
        assigned: Micros,
        now: Micros,
        release: facts.Released | None = None,
    ) -> None:
        """Counts a job that was in another state, or had another holder or grant, before; `release` when its grant was
        taken back."""
        self._count(job, -1, state, holder, assigned)
        self.enter(job)
        if release is not None:
            # One that was only lost may have started all the same.
            if release.cause is not facts.ReleaseCause.NOT_CONFIRMED:
                self.released[job.namespace, job.queue, job.concurrency_key] += 1
        elif assigned and not job.assigned:
            charge = self.charges[job.namespace, job.queue, job.owner, job.concurrency_key]
            charge.slot_micros += job.slots * max(0, now - assigned)
            charge.slots += job.slots
        if state in LEASED and job.state not in LEASED:
            self._keys[job.key].freed = True
            self.left.add((job.namespace, job.queue, job.concurrency_key, job.key))
            if job.concurrency_key:
                self._freed.add((job.namespace, job.queue, job.concurrency_key))

    def leave(self, job: Job) -> None:
        """Takes an ended job out of what is counted."""
        self._states[job.namespace, job.queue, int(job.state)] -= 1

    def flush(self, connection: Connection, places: dict[int, KeyPlace]) -> None:
        """Writes what has changed. `places` has what every key stands for that was counted."""
        states = [(*name, count) for name, count in self._states.items() if count]
        if states:
            connection.insert_many(
                "state_counts",
                ("namespace", "queue", "state", "jobs"),
                states,
                "ON CONFLICT (namespace, queue, state) DO UPDATE SET jobs = state_counts.jobs + excluded.jobs",
            )
        self._flush_keys(connection, places)
        self._open_folders(connection, places)
        for freed in self._freed:
            connection.run(
                "UPDATE ready_keys SET parked = 0"
                " WHERE namespace = ? AND queue = ? AND concurrency_key = ? AND concurrency_key <> '' AND parked > 0",
                freed,
            )
        self._states.clear()
        self._keys.clear()
        self._freed.clear()

    def changed_keys(self) -> list[int]:
        """The keys whose counts have changed."""
        return list(self._keys)

    def _open_folders(self, connection: Connection, places: dict[int, KeyPlace]) -> None:
        """Has what waits for a folder looked at again that is free now."""
        open_keys = "UPDATE ready_keys SET parked = 0 WHERE folder = ? AND folder <> '' AND parked > 0"
        for folder in sorted({places[key].folder for key, one in self._keys.items() if one.freed} - {""}):
            connection.run(open_keys, (folder,))

    def _flush_keys(self, connection: Connection, places: dict[int, KeyPlace]) -> None:
        changes: list[tuple[int, ...]] = []
        heads: list[tuple[int, ...]] = []
        ready = defaultdict[int, int](int)
        for key, one in self._keys.items():
            counts = (one.live, one.ready, one.leased, one.leased_slots, one.leased_since)
            if one.head is None and not any(counts):
                continue
            ready[places[key].group] += one.ready
            if one.head is None:
                changes.append((*counts, key))
            else:
                rank, row = one.head
                heads.append((*counts, rank, row, rank, rank, row, row, key))
        if changes:
            connection.run_many(f"{_CHANGE_COUNTS} WHERE key = ?", changes)
        if heads:
            connection.run_many(
                f"{_CHANGE_COUNTS},"
                " head = CASE WHEN ready = 0 OR (?, ?) < (head, head_job) THEN ? ELSE head END,"
                " head_job = CASE WHEN ready = 0 OR (?, ?) < (head, head_job) THEN ? ELSE head_job END WHERE key = ?",
                heads,
            )
        moved = [(count, group) for group, count in ready.items() if count]
        if moved:
            connection.run_many("UPDATE ready_groups SET ready = ready + ? WHERE ready_group = ?", moved)

    def _count(self, job: Job, change: int, state: JobState, holder: str, assigned: Micros) -> None:
        self._states[job.namespace, job.queue, int(state)] += change
        if state in WAITING:
            self.waiting[job.namespace, job.queue] += change
        if state in ENDED:
            return
        key = self._keys.get(job.key)
        if key is None:
            key = self._keys[job.key] = _KeyChange()
        key.live += change
        if state in LEASED:
            key.leased += change
            key.leased_slots += change * job.slots
            key.leased_since += change * job.slots * (assigned // 1000)
        elif state is JobState.QUEUED and not holder:
            key.ready += change
