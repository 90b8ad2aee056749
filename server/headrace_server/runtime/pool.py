"""The pool: moves the slots of one worker with what waits for it (Q9).

The server alone decides how many jobs a worker gets, so its slots are a cap on its lane, and it need not know of it.
How far and how fast is `core.scaling`; here is only the loop around it.
"""

import asyncio
import logging

from headrace_server.core.placement import Needs, misfit
from headrace_server.core.refusal import Refused
from headrace_server.core.resources import Resources
from headrace_server.core.scaling import Load, Scale, ScalingPolicy, decide, first_scale
from headrace_server.runtime.clock import Clock
from headrace_server.runtime.registry import ControlLane, Registry, SlotBounds
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.store.attempts.demand import queued_slots
from headrace_server.store.store import Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""The longest time between two looks."""
LOOK_SECONDS_MIN = 0.1
"""The shortest, however many jobs come."""


class Pool:
    """Scales the slots of one worker."""

    def __init__(
        self, store: Store, registry: Registry, scheduler: Scheduler, clock: Clock, worker: str, policy: ScalingPolicy
    ) -> None:
        self._store = store
        self._registry = registry
        self._scheduler = scheduler
        self._clock = clock
        self._worker = worker
        self._policy = policy
        self._scale: Scale = first_scale(policy, clock.monotonic())
        self._idle_available_bytes: int | None = None
        """Memory that was free when the worker last held nothing."""
        self._wake = asyncio.Event()
        self._set()

    def wake(self) -> None:
        """A job came to wait: look soon when the worker has no room for it."""
        lane = self._registry.lane(self._worker)
        full = lane is not None and not lane.is_drained and not lane.free_slots
        if full and self._scale.slots < self._policy.slots_max:
            self._wake.set()

    async def run_once(self) -> None:
        """Looks at the load, and moves the slots when it is time to. Raises Refused when the store can't be read."""
        lane = self._registry.lane(self._worker)
        if lane is None or lane.is_drained:
            return
        load = await self._load(lane)
        decision = decide(self._policy, self._scale, load, self._clock.monotonic())
        more = decision.scale.slots > self._scale.slots
        self._scale = decision.scale
        if decision.reason:
            log.info("worker %s: %s", self._worker, decision.reason)
            self._set()
        if more:
            self._scheduler.wake()

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.run_once()
            except Refused as error:
                log.debug("the pool can't look at what waits: %s", error)
            await asyncio.sleep(LOOK_SECONDS_MIN)
            try:
                async with asyncio.timeout(LOOK_SECONDS - LOOK_SECONDS_MIN):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _load(self, lane: ControlLane) -> Load:
        used, host = lane.used, lane.host
        able, slots_max = lane.capabilities, self._policy.slots_max
        whole = Resources(slots_max, host.memory_bytes or 1 << 62, host.cpu_millis or 1 << 62)

        def fits(needs: Needs) -> bool:
            return misfit(needs, able) is None and needs.resources.fits_in(whole)

        queued = 0
        if used.slots < slots_max:
            queued = await self._store.read(queued_slots, self._worker, fits, slots_max)
        if not host.memory_bytes:
            return Load(queued, used.slots)
        available = host.memory_available_bytes
        if not used.slots or self._idle_available_bytes is None:
            self._idle_available_bytes = available
        held = max(used.memory_bytes, self._idle_available_bytes - available)
        return Load(queued, used.slots, available, held)

    def _set(self) -> None:
        policy = self._policy
        self._registry.scale(self._worker, SlotBounds(self._scale.slots, policy.slots_min, policy.slots_max))
