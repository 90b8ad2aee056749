"""The scheduler's loop: waits for a wake-up or the next due time, runs a cycle, and hands what it granted to the
workers."""

import asyncio
import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.limits import GRANTS_COUNT_MAX
from headrace_server.core.placement import Offer
from headrace_server.core.refusal import Refused
from headrace_server.core.resources import NOTHING, Resources
from headrace_server.runtime.clock import Clock
from headrace_server.runtime.cycle import Cycle, Granted, run_cycle, take_back
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.effects import Effects
from headrace_server.store.store import Store

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""The longest sleep: leases are watched at least this often."""
STALLED_SECONDS = 3.0
"""Between two looks at the leases: past it this process was stopped or starved, and has watched nothing."""
FAILED_SECONDS = 0.5
"""The pause after a cycle that could not be committed."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A cycle that the store was asked for, and what it was asked for with."""

    cycle: "asyncio.Future[Cycle]"
    lost: Sequence[Holder]
    lanes: dict[str, ControlLane]
    offers: Sequence[Offer]
    failures: int


class Scheduler:
    """Plans for the workers that are connected to this node."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._wake = asyncio.Event()
        self._queued = True
        """Jobs may be ready that no cycle has looked at with room to spare."""
        self._next_due: Micros | None = Micros(0)
        """When the next SCHEDULED job becomes due; zero before the first cycle has looked."""
        self._room: dict[Holder, Resources] = {}
        """What the last cycle left free."""
        self._unsent: list[Granted] = []
        """Grants that have to be taken back."""
        self.draining = False
        """Set while the server drains: nothing is granted any more."""
        self._looked = clock.monotonic()
        """When the leases were last looked at."""
        self._idle = False
        """It waits to be woken."""
        self._begun: _Begun | None = None
        """A cycle that was begun when it was woken."""
        self._asked_again = False
        """Somebody asked since that was begun, and is not in it."""

    def wake(self) -> None:
        """Asks for a cycle: a worker has room, or came, or went. It commits together with what was written before."""
        self._queued = True
        self._ask()

    def queued(self) -> None:
        """Asks for a cycle when somebody has room: a job was queued, or is about to be. Where nobody has, a crowd of
        submits costs nothing here."""
        self._queued = True
        if self._registry.has_room():
            self._ask()

    def committed(self, effects: Effects) -> None:
        """Takes note of what a transaction changed."""
        if effects.next_due is not None and (self._next_due is None or effects.next_due < self._next_due):
            self._next_due = effects.next_due
            self._wake.set()
        if effects.queued or not effects.changed.isdisjoint(self._registry.reserved.values()):
            # Room that was kept for a job that waits no longer is for others.
            self.queued()

    def _ask(self) -> None:
        """Begins a cycle at once, where none runs: when the loop has its turn, the writer may have begun without it."""
        if self._begun is not None:
            self._asked_again = True
        elif self._idle and not self._wake.is_set() and not self._unsent:
            self._notice_stall()
            try:
                self._begun = self._begin()
            except Refused as error:
                log.debug("a scheduling cycle could not be begun: %s", error)
        self._wake.set()

    async def run_once(self) -> Cycle | None:
        """Runs one cycle now, unless there is nothing that one could do.

        Raises Refused when the store can't commit it; then nothing was granted.
        """
        begun, self._begun = self._begun, None
        if begun is None:
            await self._take_back()
            begun = self._begin()
        return None if begun is None else await self._complete(begun)

    def _begin(self) -> _Begun | None:
        ended = self._registry.watch.ended(self._clock.monotonic())
        lost = [Holder(worker, incarnation) for worker, incarnation in ended]
        offers = self._offers(lost)
        due = self._next_due is not None and self._next_due <= self._clock.now()
        with_room = [offer for offer in offers if offer.free_slots > 0]
        if not (lost or due or (with_room and (self._queued or self._has_more_room(with_room)))):
            return None
        timed = self._next_due is not None or bool(lost)
        # The offers count on words that wait before this cycle. Where these could not be committed, nothing is granted.
        failures = self._store.failures_count()
        cycle = self._store.write(
            lambda ledger: run_cycle(
                ledger, offers if self._store.failures_count() == failures else (), lost, timed=timed
            ),
            bounded=False,
        )
        # What commits before this cycle is answered may not be in it: only what was known before is forgotten.
        self._queued, self._next_due = False, None
        return _Begun(cycle, lost, {lane.holder.worker: lane for lane in self._registry.lanes()}, offers, failures)

    async def _complete(self, begun: _Begun) -> Cycle:
        try:
            cycle = await begun.cycle
        except BaseException:
            self._queued, self._next_due = True, Micros(0)
            raise
        self._next_due = _earliest(self._next_due, cycle.next_due)
        for holder in begun.lost:
            log.warning("the lease of worker %s (%s) has ended", holder.worker, holder.incarnation)
            self._registry.end(holder)
        refused = self._store.failures_count() != begun.failures
        if refused or begun.lost or len(cycle.granted) == GRANTS_COUNT_MAX:
            # Beside words that could not be committed nothing was granted; and what a lost incarnation held is free for
            # the one after it only now.
            self.wake()
        self._deliver(cycle, begun)
        await self._take_back()
        return cycle

    def _offers(self, lost: Sequence[Holder]) -> list[Offer]:
        if self.draining:
            return []
        return [offer for offer in self._registry.offers() if _holder(offer) not in lost]

    def _has_more_room(self, offers: Sequence[Offer]) -> bool:
        """Whether something is free that the last cycle did not leave free: a missed wake-up costs a second, not for
        ever."""
        return any(_exceeds(offer.free, self._room.get(_holder(offer), NOTHING)) for offer in offers)

    def _deliver(self, cycle: Cycle, begun: _Begun) -> None:
        for granted in cycle.granted:
            lane = begun.lanes[granted.worker]
            if self._registry.lane(granted.worker) is lane:
                lane.assign(granted.lease, granted.assignment)
            else:
                self._unsent.append(granted)
        self._room = self._left(begun.offers, {granted.worker for granted in cycle.granted})
        self._registry.reserved = dict(cycle.reserved)

    def _left(self, offers: Sequence[Offer], granted: Set[str]) -> dict[Holder, Resources]:
        """What a cycle had and left free; who came or got room while it was under way is for the next one."""
        had = {_holder(offer): offer.free for offer in offers}
        left = {}
        for offer in self._registry.offers():
            holder = _holder(offer)
            if holder in had:
                left[holder] = offer.free if offer.worker in granted else _least(offer.free, had[holder])
        return left

    async def _take_back(self) -> None:
        """Takes back what could not be handed over; what can't be committed now is tried again with the next cycle."""
        if self._unsent:
            unsent = tuple(self._unsent)
            await self._store.write(lambda ledger: take_back(ledger, unsent), bounded=False)
            del self._unsent[: len(unsent)]

    async def run(self) -> None:
        """Runs cycles until it is cancelled."""
        self._looked = self._clock.monotonic()
        while True:
            self._wake.clear()
            if self._asked_again:
                self._asked_again = False
                self._wake.set()
            self._notice_stall()
            try:
                await self.run_once()
            except Refused as error:
                log.debug("a scheduling cycle could not be committed: %s", error)
                await asyncio.sleep(FAILED_SECONDS)
            self._idle = True
            try:
                async with asyncio.timeout(self._sleep_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                continue
            finally:
                self._idle = False

    def _notice_stall(self) -> None:
        now = self._clock.monotonic()
        stalled, self._looked = now - self._looked, now
        if stalled > STALLED_SECONDS:
            log.warning("the event loop stood still for %.1f s, which counts against no lease", stalled)
            self._registry.watch.was_not_watching(stalled, now)

    def _sleep_seconds(self) -> float:
        if self._next_due is None:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, max(0.0, (self._next_due - self._clock.now()) / SECOND))


def _earliest(one: Micros | None, two: Micros | None) -> Micros | None:
    times = [time for time in (one, two) if time is not None]
    return min(times) if times else None


def _holder(offer: Offer) -> Holder:
    return Holder(offer.worker, offer.incarnation)


def _exceeds(now: Resources, before: Resources) -> bool:
    """Whether more of anything is there."""
    return now.slots > before.slots or now.memory_bytes > before.memory_bytes or now.cpu_millis > before.cpu_millis


def _least(one: Resources, two: Resources) -> Resources:
    return Resources(
        min(one.slots, two.slots), min(one.memory_bytes, two.memory_bytes), min(one.cpu_millis, two.cpu_millis)
    )
