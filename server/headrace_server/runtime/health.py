"""How this node does: one look each second, whoever watches. What lasts from look to look is kept here: how late the
event loop ran, how long commits took, which alerts stand.

Nobody who works waits for a look, and a look waits for nobody for long: of a store that does not answer, the last
counts stay.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from headrace_server.core.alerts import Alert, Alerts, Change, Timing
from headrace_server.core.health import Sample, Thresholds, Unplaced, WorkerCounts, find
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.placement import Misfit, misfit
from headrace_server.core.quantiles import bucket_of, quantiles
from headrace_server.core.refusal import Refused
from headrace_server.core.states import JobState
from headrace_server.runtime.clock import Clock
from headrace_server.runtime.explain import lacking
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.effects import Effects
from headrace_server.store.records.health import Counted, QueueBounds, count_all
from headrace_server.store.store import Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
LAG_SECONDS = 0.2
READ_SECONDS = 2.0
"""How long a look waits for the store; then it goes on with what it knew."""
WINDOWS_COUNT_MAX = 120
"""Looks of which is kept what happened before them; the longest interval of a watcher is half of it."""
LOST_SECONDS = 600.0
"""How long a lost worker is news, unless it comes back."""


@dataclass(slots=True)
class Window:
    """What happened from one look to the next."""

    number: int
    lag_seconds: float = 0.0
    commits: Counter[int] = field(default_factory=Counter)
    """How many took how long, by bucket."""
    longest_commit_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """What happened in some windows."""

    lag_seconds: float
    commit_p50_seconds: float | None
    commit_max_seconds: float | None


@dataclass(slots=True)
class LostWorkers:
    """Which lost workers are news: those that were lost while this node watched, a short while ago."""

    _known: dict[str, float] = field(default_factory=dict)
    """When each was first seen to be lost; those that are no news since ever."""
    _has_looked: bool = False

    def look(self, lost: Sequence[str], left: Callable[[str], bool], seconds: float) -> list[str]:
        """Those of the lost that are news; `left` says of a worker that it left in order."""
        first = seconds if self._has_looked else float("-inf")
        self._known = {worker: float("-inf") if left(worker) else self._known.get(worker, first) for worker in lost}
        self._has_looked = True
        return sorted(worker for worker, since in self._known.items() if seconds - since < LOST_SECONDS)


class HealthMonitor:
    """Looks at one control plane process, for the event loop that it was made on."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        feed: Feed,
        clock: Clock,
        free_bytes: Callable[[], int | None],
        thresholds: Thresholds,
        timing: Timing,
    ) -> None:
        """`free_bytes` of the disk that the store is on."""
        self._store = store
        self._registry = registry
        self._feed = feed
        self._clock = clock
        self._free_bytes = free_bytes
        self._thresholds = thresholds
        self._process = psutil.Process()
        self._bounds = QueueBounds()
        self._lost = LostWorkers()
        self._reading: asyncio.Future[Counted] | None = None
        self._window = Window(1)
        self._windows: deque[Window] = deque(maxlen=WINDOWS_COUNT_MAX)
        self._stuck_since: float | None = None
        self._commits = True
        self._wanted = asyncio.Event()
        self._tell: list[Callable[[Sample, Counted, Sequence[Alert]], None]] = []
        self.alerts = Alerts(timing)
        self.counted = Counted()
        """What the store held when it was last counted."""
        self.sample = Sample()
        """The latest look."""
        self.looked = asyncio.Event()
        """Set at the next look; each look has one of its own."""

    @property
    def window(self) -> int:
        """Number of the window before the latest look."""
        return self._window.number - 1

    def span(self, after: int) -> Span:
        """What happened after the window with this number, as far back as windows are kept."""
        return _span([window for window in self._windows if window.number > after])

    def committed(self, effects: Effects) -> None:
        """Takes note of a commit."""
        window, seconds = self._window, effects.commit_seconds
        window.commits[bucket_of(int(seconds * SECOND))] += 1
        window.longest_commit_seconds = max(window.longest_commit_seconds, seconds)

    def store_said(self, commits: bool) -> None:
        """Takes note of whether the store commits, and has it looked at now."""
        self._commits = commits
        self._wanted.set()

    def on_look(self, tell: Callable[[Sample, Counted, Sequence[Alert]], None]) -> None:
        """Has it told what each look saw: the sample, what the store holds, and the alerts that stand."""
        self._tell.append(tell)

    def wake_all(self) -> None:
        """Wakes everybody who waits for a look."""
        self.looked.set()
        self.looked = asyncio.Event()

    async def run(self) -> None:
        """Looks until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            end = loop.time() + LOOK_SECONDS
            while not self._wanted.is_set() and (begun := loop.time()) < end:
                await asyncio.sleep(LAG_SECONDS)
                self._window.lag_seconds = max(self._window.lag_seconds, loop.time() - begun - LAG_SECONDS)
            self._wanted.clear()
            await self.look()

    async def look(self) -> None:
        """Looks once."""
        await self._count()
        window, self._window = self._window, Window(self._window.number + 1)
        self._windows.append(window)
        self.sample = self._sampled(window)
        changes = self.alerts.observe(find(self.sample, self._thresholds), self._clock.monotonic(), self.sample.time)
        for change, alert in changes:
            if change is not Change.CHANGED:
                level = logging.INFO if change is Change.CLEARED else logging.WARNING
                log.log(level, "alert %s %s: %s", alert.name.value, change.value, alert.message)
        for tell in self._tell:
            tell(self.sample, self.counted, self.alerts.standing())
        self.wake_all()

    async def _count(self) -> None:
        """Counts anew, one reading at a time: one that takes too long is waited for by the next look."""
        if self._reading is None:
            now = self._clock.now()
            since = Micros(int(now - 2 * LOST_SECONDS * SECOND))
            self._reading = asyncio.ensure_future(self._store.read(count_all, self._bounds, now, since))
        await asyncio.wait((self._reading,), timeout=READ_SECONDS)
        if self._reading.done():
            reading, self._reading = self._reading, None
            try:
                self.counted = reading.result()
            except Refused as error:
                log.debug("the store could not be counted: %s", error)

    def _sampled(self, window: Window) -> Sample:
        lanes, counted = self._registry.lanes(), self.counted
        drained = sum(lane.is_drained for lane in lanes)
        span, seconds = _span([window]), self._clock.monotonic()
        jobs: Counter[JobState] = Counter()
        for _, _, state, count in counted.jobs:
            jobs[state] += count
        return Sample(
            time=self._clock.now(),
            jobs={state: count for state, count in sorted(jobs.items()) if count},
            fullest=counted.fullest,
            ready_jobs=counted.ready_jobs,
            unplaced=self._unplaced(lanes),
            workers=WorkerCounts(len(lanes) - drained, drained, max(0, counted.workers - len(lanes)), counted.lost),
            newly_lost=self._lost.look(counted.lately_lost, self._registry.has_left, seconds),
            slots=sum(lane.slots_offered for lane in lanes),
            slots_used=sum(lane.used.slots for lane in lanes),
            attempts=sum(len(lane.leases) for lane in lanes),
            followers=self._feed.followers_count,
            waiting_writes=self._store.waiting_count,
            lag_seconds=span.lag_seconds,
            commit_p50_seconds=span.commit_p50_seconds,
            stuck_seconds=self._stuck(window, seconds),
            commits=self._commits,
            disk_free_bytes=self._free_bytes(),
            memory_bytes=self._memory_bytes(),
            session_processes=sum(len(lane.sessions) for lane in lanes),
            session_memory_bytes=sum(one.memory_bytes for lane in lanes for one in lane.sessions.values()),
            local_fault=self._registry.local_fault,
            closed=counted.closed,
            low_budgets=counted.low_budgets,
        )

    def _memory_bytes(self) -> int:
        try:
            return int(self._process.memory_info().rss)
        except OSError:
            # Asking takes a descriptor, and there may be none.
            return self.sample.memory_bytes

    def _unplaced(self, lanes: Sequence[ControlLane]) -> list[Unplaced]:
        able = [lane.capabilities for lane in lanes if not lane.is_drained]
        found = []
        for group in self.counted.ready if able else ():
            lacks: set[Misfit | None] = set()
            for capabilities in able:
                lack = misfit(group.needs, capabilities)
                lacks.add(lack)
                if lack is None:
                    break
            else:
                found.append(Unplaced(group.queue, group.jobs, lacking(group.needs, lacks, len(able))))
        return found

    def _stuck(self, window: Window, seconds: float) -> float:
        """How long writes have waited while nothing was committed."""
        if window.commits or not self._store.waiting_count:
            self._stuck_since = None
            return 0.0
        self._stuck_since = seconds if self._stuck_since is None else self._stuck_since
        return seconds - self._stuck_since


def _span(windows: Sequence[Window]) -> Span:
    commits: Counter[int] = Counter()
    for window in windows:
        commits.update(window.commits)
    found = quantiles(commits)
    return Span(
        lag_seconds=max((window.lag_seconds for window in windows), default=0.0),
        commit_p50_seconds=None if found is None else found.p50 / SECOND,
        commit_max_seconds=None if found is None else max(window.longest_commit_seconds for window in windows),
    )
