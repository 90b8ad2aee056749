"""The plan of one cycle: which jobs start now, in which order, and where (Q1 to Q5, Q7).

Queues, keys and jobs are read only as far as their turn comes, so what is held by a limit costs nothing. Nothing is
granted in here; what the plan learns about keys, buckets and shares is written at its end.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heappop, heapreplace
from typing import Protocol

from headrace_server.core.fairness import FairLine, FairnessScope
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.limits import GRANTS_COUNT_MAX
from headrace_server.core.merge import UNKNOWN_ROW, Merge, Place, Source
from headrace_server.core.placement import Needs, Offer, Room
from headrace_server.core.resources import ONE_SLOT
from headrace_server.store.capacity.budget_room import BudgetRoom
from headrace_server.store.capacity.domains import DomainRoom
from headrace_server.store.capacity.reservations import park_keys
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing import queue_stops, ready
from headrace_server.store.queueing.folders import FolderRoom
from headrace_server.store.queueing.queue_limits import Hold, QueueLimits
from headrace_server.store.queueing.queue_policy import QueuePolicy, policy_of
from headrace_server.store.queueing.ready import KEPT_COUNT_MAX, Kept, OpenGroup, ReadyGroup, ReadyKey
from headrace_server.store.queueing.shares import current_standings

RESERVE_AFTER_SECONDS = 30.0
"""A job that has waited longer, and fits a worker only once others have ended, has room kept for it (I4)."""
KEYS_PAGE_COUNT = 16
WINDOW_COUNT_FIRST = 4
"""Jobs that are read of a key that competes with others; four times as many with each further look."""
BEFORE_ALL: Place = (-(1 << 62), UNKNOWN_ROW)

Waiting = tuple[Job, Needs]
_Part = tuple[Place, Waiting | Source[Waiting]]
_KeyName = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Placement:
    """A job that starts, and where."""

    job: Job
    needs: Needs
    offer: Offer
    rule: str
    reserved: int | None = None
    """Millionths of a US dollar of a budget; None when no budget covers it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What starts now."""

    placements: tuple[Placement, ...]
    wake: Micros | None
    """When a limit lets a job go that this plan has left; None when no time does."""
    reserved: tuple[tuple[str, JobId], ...]
    """Workers that keep room, and the jobs that they keep it for."""


NO_PLAN = Plan((), None, ())


class _Line(Protocol):
    """The jobs of one queue in the order in which they are to start."""

    def bound(self) -> Place | None: ...

    def peek(self) -> Place | None: ...

    def pop(self) -> Waiting | None: ...


class _Queue:
    """One queue while a plan is made."""

    def __init__(self, name: tuple[str, str], policy: QueuePolicy, limits: QueueLimits) -> None:
        self.name = name
        self.policy = policy
        self.limits = limits
        self.line: _Line = Merge()

    @property
    def is_fair(self) -> bool:
        return self.policy.fairness is not FairnessScope.NONE

    def share_of(self, job: Job) -> str:
        """The name of the share that a job counts for."""
        return job.owner if self.policy.fairness is FairnessScope.OWNER else job.concurrency_key


def make_plan(ledger: Ledger, offers: Sequence[Offer], *, with_held: bool) -> Plan:
    """Plans for these workers. `with_held` looks for jobs, too, that wait for the worker that holds their session."""
    planner = _Planner(ledger, offers)
    if planner.room.free_slots > 0:
        planner.run(with_held)
    return Plan(tuple(planner.placements), planner.wake, tuple(planner.reserved))


class _Planner:
    """Makes one plan."""

    def __init__(self, ledger: Ledger, offers: Sequence[Offer]) -> None:
        self.room = Room(offers)
        self.placements: list[Placement] = []
        self.wake: Micros | None = None
        self.reserved: list[tuple[str, JobId]] = []
        self._domains = DomainRoom(ledger)
        self._budgets = BudgetRoom(ledger)
        self._folders = FolderRoom(ledger)
        self._ledger = ledger
        self._workers = [offer.worker for offer in offers if offer.free_slots > 0]
        self._full: set[Needs] = set()
        """Needs that no worker has room for any more."""
        self._held: dict[_KeyName, Micros | None] = {}
        """Concurrency keys that a limit holds, and until when."""
        self._parked: dict[tuple[str, str], int] = {}
        """Owners whose own budget is spent, by namespace and name, and until when."""
        self._heads: dict[int, Place] = {}
        """Where the first job is of keys that were looked at, and of which none was taken."""
        self._one_queue = False
        """No other queue competes."""

    def run(self, with_held: bool) -> None:
        """Takes the first job of all queues, again and again, as long as there is room."""
        queues = self._queues(with_held)
        heads = [(place, number) for number, queue in enumerate(queues) if (place := queue.line.bound()) is not None]
        heapify(heads)
        while heads and len(self.placements) < GRANTS_COUNT_MAX and self.room.free_slots > 0:
            self._one_queue = len(heads) == 1
            known, number = heads[0]
            queue = queues[number]
            if not self._one_queue:
                place = queue.line.peek()
                if place is not None and place != known:
                    heapreplace(heads, (place, number))
                    continue
            first = queue.line.pop()
            if first is None or not self._consider(queue, *first):
                heappop(heads)
        self._write(queues)

    def _consider(self, queue: _Queue, job: Job, needs: Needs) -> bool:
        """Starts a job if it can start; false says that nothing more of its queue can."""
        hold = queue.limits.hold()
        if hold is not None:
            self._wake_at(hold)
            return False
        if (self._full and needs in self._full and not job.holder) or self._is_held(queue, job.concurrency_key):
            return True
        if needs.domain and (self._is_shut(needs.domain) or self._is_spent(job.namespace, job.owner)):
            return True
        folder = self._folder_of(job.key, needs)
        if self._folders.is_taken(folder):
            return True
        taken = self.room.take(needs, job.holder)
        if taken is None:
            self._keep_room(job, needs)
            return True
        reserved = None
        if needs.domain:
            self._domains.take(needs.domain)
            reserved = self._budgets.take(job)
        self.placements.append(Placement(job, needs, *taken, reserved))
        self._heads.pop(job.key, None)
        self._folders.take(folder)
        queue.limits.take(job.concurrency_key)
        if isinstance(queue.line, FairLine):
            queue.line.charge(queue.share_of(job), job.slots)
        return True

    def _keep_room(self, job: Job, needs: Needs) -> None:
        if not job.holder:
            self._full.add(needs)
        if needs.resources != ONE_SLOT and self._ledger.now - job.queued > RESERVE_AFTER_SECONDS * SECOND:
            kept = self.room.reserve(needs, job.holder)
            if kept is not None:
                self.reserved.append((kept.worker, job.id))

    def _is_held(self, queue: _Queue, concurrency_key: str) -> bool:
        """Whether a limit holds a key; then it is parked."""
        if not concurrency_key:
            return False
        name = (*queue.name, concurrency_key)
        if name in self._held:
            return True
        hold = queue.limits.key_hold(concurrency_key)
        if hold is None:
            return False
        self._held[name] = hold.until
        self._wake_at(hold)
        return True

    def _folder_of(self, key: int, needs: Needs) -> str:
        """The folder that jobs of a key want to have to themselves; only Claude jobs do."""
        return self._ledger.place_of(key).folder if needs.domain else ""

    def _is_shut(self, domain: str) -> bool:
        """Whether nothing more of a capacity domain may start."""
        hold = self._domains.hold(domain)
        if hold is not None:
            self._wake_at(hold)
        return hold is not None

    def _is_spent(self, namespace: str, owner: str) -> bool:
        """Whether a budget holds the Claude jobs of an owner; if it is one of its own, its keys are parked."""
        if not self._budgets.is_spent(namespace, owner):
            return False
        until = self._budgets.parked_until(namespace, owner)
        if until is not None:
            self._parked[namespace, owner] = until
        return True

    def _wake_at(self, hold: Hold) -> None:
        if hold.until is not None:
            self.wake = min(hold.until, self.wake or hold.until)

    def _write(self, queues: Iterable[_Queue]) -> None:
        ready.park(self._ledger, self._held.items())
        for (namespace, owner), until in self._parked.items():
            park_keys(self._ledger, namespace, owner, until)
        self._folders.park()
        ready.raise_heads(self._ledger, self._heads.items())
        for queue in queues:
            queue.limits.store()

    def _queues(self, with_held: bool) -> list[_Queue]:
        """The queues that jobs can start of, with their jobs in order."""
        groups: dict[tuple[str, str], list[OpenGroup]] = {}
        for one in ready.open_groups(self._ledger):
            groups.setdefault((one.group.namespace, one.group.queue), []).append(one)
        stopped = queue_stops.stops(self._ledger)
        held = self._held_jobs(tuple(stopped)) if with_held else {}
        queues = []
        for name in {**groups, **held}:
            own = groups.get(name, [])
            with_room = [one for one in own if self._has_room(one.group)]
            queue = self._queue(name) if name not in stopped and (with_room or name in held) else None
            if queue is None:
                continue
            if queue.is_fair:
                self._line_up_fair(queue, own, with_room, held.get(name, []))
            else:
                self._line_up(queue, with_room, held.get(name, []))
            queues.append(queue)
        return queues

    def _held_jobs(self, stopped: tuple[tuple[str, str], ...]) -> dict[tuple[str, str], list[Waiting]]:
        """The first jobs by queue that wait for one of the workers. Where there are more, those of a queue of which
        nothing can start are passed over, and further ones of a folder of which one alone can start."""
        domains, owners = self._domains.shut(), self._budgets.spent_owners()
        held: dict[int, Waiting] = {}
        crowded: set[str] = set()
        while True:
            kept = Kept(domains, owners, stopped, sorted(crowded))
            found = ready.held_window(self._ledger, self._workers, GRANTS_COUNT_MAX, kept)
            held.update((job.row, (job, needs)) for job, needs in found)
            if len(found) < GRANTS_COUNT_MAX or len(stopped) + len(crowded) >= KEPT_COUNT_MAX:
                return _by_queue(held.values())
            shut = tuple(name for name in _by_queue(found) if self._queue(name) is None)
            more = self._crowded(found)
            if not shut and not more:
                return _by_queue(held.values())
            stopped += shut
            crowded |= more

    def _crowded(self, found: Iterable[Waiting]) -> set[str]:
        """The folders that several of these jobs want to have to themselves."""
        folders = Counter(self._folder_of(job.key, needs) for job, needs in found)
        return {folder for folder, count in folders.items() if folder and count > 1}

    def _queue(self, name: tuple[str, str]) -> _Queue | None:
        """A queue, unless a limit holds all of it."""
        policy = policy_of(self._ledger, *name)
        if policy is None:
            return None
        queue = _Queue(name, policy, QueueLimits(self._ledger, *name, policy))
        hold = queue.limits.hold()
        if hold is not None:
            self._wake_at(hold)
            return None
        return queue

    def _has_room(self, group: ReadyGroup) -> bool:
        """Whether a look at the jobs of a group is worth it: they can start, or may have room kept for them."""
        needs = group.needs
        if needs.domain and (self._is_shut(needs.domain) or self._budgets.is_namespace_spent(group.namespace)):
            return False
        return self.room.free_for(needs) > 0 or (needs.resources != ONE_SLOT and self.room.could_fit(needs))

    def _line_up(self, queue: _Queue, groups: Iterable[OpenGroup], held: Iterable[Waiting]) -> None:
        line: Merge[Waiting] = Merge()
        for one in groups:
            line.add(*self._key_part(queue, one.first))
            if one.next_head is not None:
                rest = Source(partial(self._open_keys, queue, one.group, one.first))
                line.add(one.next_head, rest)
        for job, needs in held:
            line.add((job.rank, job.row), (job, needs))
        queue.line = line

    def _line_up_fair(
        self, queue: _Queue, groups: Sequence[OpenGroup], with_room: Sequence[OpenGroup], held: Sequence[Waiting]
    ) -> None:
        scope, able = queue.policy.fairness, [one.group for one in with_room]
        heads = ready.open_shares(self._ledger, able, scope)
        # A share that only waits for workers that are full keeps its standing meanwhile.
        others = [one.group for one in groups if one not in with_room]
        waiting = {*heads, *ready.open_shares(self._ledger, others, scope), *(queue.share_of(job) for job, _ in held)}
        line: FairLine[Waiting] = FairLine(current_standings(self._ledger, *queue.name, queue.policy, waiting))
        for name, head in heads.items():
            line.share(name).add((head, UNKNOWN_ROW), Source(partial(self._open_share, queue, able, name)))
        for job, needs in held:
            line.share(queue.share_of(job)).add((job.rank, job.row), (job, needs))
        line.begin()
        queue.line = line

    def _key_part(self, queue: _Queue, key: ReadyKey) -> _Part:
        return key.head, Source(partial(self._open_jobs, queue, key, BEFORE_ALL, WINDOW_COUNT_FIRST))

    def _open_keys(
        self, queue: _Queue, group: ReadyGroup, last: ReadyKey, alone: bool, share: str | None = None
    ) -> Iterable[_Part]:
        """The next keys of a group, or of a share of it, and what is left of them."""
        if group.needs in self._full or (group.needs.domain and self._is_shut(group.needs.domain)):
            return
        of_share = None if share is None else (queue.policy.fairness, share)
        keys = ready.keys_after(self._ledger, group, last, KEYS_PAGE_COUNT, of_share, self._folders.waited_for)
        for key in keys:
            yield self._key_part(queue, key)
        if len(keys) == KEYS_PAGE_COUNT:
            yield keys[-1].head, Source(partial(self._open_keys, queue, group, keys[-1], share=share))

    def _open_share(self, queue: _Queue, groups: Sequence[ReadyGroup], name: str, alone: bool) -> Iterable[_Part]:
        """The keys of a share."""
        for group in groups:
            yield from self._open_keys(queue, group, ReadyKey(0, group, "", BEFORE_ALL), alone, share=name)

    def _open_jobs(self, queue: _Queue, key: ReadyKey, after: Place, count: int, alone: bool) -> Iterable[_Part]:
        """The next jobs of a key, and what is left of it."""
        needs = key.group.needs
        if needs in self._full or self._is_held(queue, key.concurrency_key):
            return
        if needs.domain and (self._is_shut(needs.domain) or self._is_spent(key.group.namespace, key.owner)):
            return
        if self._folders.is_taken(key.folder):
            return
        wanted = 1 if key.folder else GRANTS_COUNT_MAX - len(self.placements)
        alone = alone and self._one_queue
        wanted = max(1, min(wanted, queue.limits.room(key.concurrency_key)))
        count = min(wanted, max(1, self.room.free_for(needs)) if alone else count)
        jobs = ready.window(self._ledger, key, after, count)
        if after == BEFORE_ALL and jobs and (jobs[0].rank, jobs[0].row) > key.head:
            self._heads[key.key] = (jobs[0].rank, jobs[0].row)
        for job in jobs:
            yield (job.rank, job.row), (job, needs)
        if len(jobs) == count:
            last = (jobs[-1].rank, jobs[-1].row)
            yield last, Source(partial(self._open_jobs, queue, key, last, 4 * count))


def _by_queue(jobs: Iterable[Waiting]) -> dict[tuple[str, str], list[Waiting]]:
    found: dict[tuple[str, str], list[Waiting]] = {}
    for job, needs in jobs:
        found.setdefault((job.namespace, job.queue), []).append((job, needs))
    return found
