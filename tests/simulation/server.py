"""One life of the control plane's process: the real parts, put together as `app.py` does, without sockets and threads.

A kill loses everything in here. What was committed stays in the engine, which the next life opens.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

from headrace.v1 import event_service_pb2, job_service_pb2
from headrace_server.app import App
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.limits import RENEWAL_SECONDS_DEFAULT
from headrace_server.core.placement import Offer
from headrace_server.core.refusal import Refused
from headrace_server.rpc.event_service import EventService
from headrace_server.rpc.job_service import JobService
from headrace_server.rpc.queue_service import QueueService
from headrace_server.rpc.rights import may_see
from headrace_server.rpc.schedule_service import ScheduleService
from headrace_server.rpc.session_service import SessionService
from headrace_server.rpc.streams import feed_stream
from headrace_server.rpc.streams.control_lane import Lanes, serve_control_lane
from headrace_server.rpc.streams.data_lane import serve_data_lane
from headrace_server.rpc.streams.feed_stream import FeedFollowing
from headrace_server.rpc.streams.follow import Following
from headrace_server.runtime import feed_pages, log_pages
from headrace_server.runtime.clock import Clock, SteadyClock
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.feed_pages import FeedPages
from headrace_server.runtime.log_pages import LogPages
from headrace_server.runtime.registry import Registry
from headrace_server.runtime.retention import Keeping, Retention
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.runtime.statistics import Statistics
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.records import reads
from simulation.loop import SimulatedLoop
from simulation.network import Wire
from simulation.storage import InlineStore, MemoryEngine
from simulation.violation import Violation

T = TypeVar("T")

LANE_WINDOW_COUNT = 1000
FOLLOWER_WINDOW_COUNT = 2
HEARTBEAT_SECONDS = 15.0


@contextmanager
def pages_of(count: int) -> Iterator[None]:
    """Readers get at most so many events at once."""
    with ExitStack() as stack:
        for module in (feed_pages, feed_stream, log_pages):
            stack.enter_context(patch.object(module, "EVENT_PAGE_COUNT", count))
        yield


class Server(App):
    """What `App` does after a commit, at a start and on a cancel is inherited; its sockets are never made."""

    @staticmethod
    def clock_of_leases(clock: Clock) -> Clock:
        """So that a mutant can have another."""
        return clock

    def __init__(self, engine: MemoryEngine, clock: Clock, entropy: Random, lease_seconds: float) -> None:
        self.loop = SimulatedLoop(clock.monotonic)  # type: ignore[abstract]  # it has what tasks and futures need
        with engine.reading() as connection:
            clock = SteadyClock(self.clock_of_leases(clock), reads.latest_time(connection))
        self._clock = clock
        self._entropy = entropy
        self._ids = count(1)
        self._ids_prefix = f"{entropy.getrandbits(32):08x}"
        self._feed = Feed()
        self._deltas = Deltas()
        self._registry = Registry(lease_seconds)
        self.inline = InlineStore(engine, clock.now, entropy, self._committed, self.loop)
        self.writer = self.inline.writer
        self._store = self.inline
        self._scheduler = Scheduler(self._store, self._registry, clock)
        draining = asyncio.Event()
        self._lanes = Lanes(
            store=self._store,
            registry=self._registry,
            scheduler=self._scheduler,
            clock=clock,
            draining=draining,
            renewal_seconds=RENEWAL_SECONDS_DEFAULT,
            server_version="simulated",
            new_id=self._new_id,
        )
        following = Following(
            store=self._store,
            feed=self._feed,
            deltas=self._deltas,
            registry=self._registry,
            clock=clock,
            draining=draining,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            logs=LogPages(self._store, self._feed, clock),
        )
        self._statistics = Statistics(self._store, clock)
        self._feed_pages = FeedPages(self._store, self._feed)
        self._observers = [self._statistics.committed, self._feed_pages.committed]
        self.queues = QueueService(self._store, self._statistics)
        self.schedules = ScheduleService(self._store)
        self.jobs = JobService(self._store, self._scheduler, self._registry, following)
        self.sessions = SessionService(self._store, self._scheduler, self._registry, following)
        self.events = EventService(FeedFollowing(following, self._feed_pages, may_see))
        self.loop.create_task(self._serve())

    @property
    def registry(self) -> Registry:
        """Who is connected."""
        return self._registry

    def seconds_until(self, time: Micros) -> float:
        """Until its clock, which goes at half the speed while it is ahead of the world's, has come to a time."""
        return max(0.0, (time - self._clock.now()) / SECOND * 2)

    def retention(self, kept_seconds: float, output_seconds: float) -> Retention:
        """That which removes jobs so long after their end, and their output."""
        keeping = Keeping(jobs_days=kept_seconds / 86_400, audit_days=365, output_days=output_seconds / 86_400)
        return Retention(self._store, self._clock, keeping, pause_seconds=0)

    @property
    def sleeps(self) -> bool:
        """Whether nothing is under way in it, and its scheduler waits for a time that has not come."""
        scheduler, due = self._scheduler, self._scheduler._next_due
        asked = not scheduler._idle or scheduler._wake.is_set() or bool(scheduler._unsent)
        busy = self.loop.has_ready or self.inline.has_late or self.writer.waiting_count > 0
        return not (asked or busy or (due is not None and due <= self.now()))

    def offers(self) -> list[Offer]:
        """What its scheduler would give jobs to now."""
        ended = self._registry.watch.ended(self._clock.monotonic())
        return self._scheduler._offers([Holder(worker, incarnation) for worker, incarnation in ended])

    def now(self) -> Micros:
        """By its clock."""
        return self._clock.now()

    @property
    def generation(self) -> int:
        """Of the store."""
        return self._store.generation

    def run(self) -> None:
        """Lets the process do what it can without another commit."""
        late = self.inline.has_late
        while True:
            self.loop.pump()
            if self.loop.failures:
                error = self.loop.failures[0]
                if isinstance(error, Violation):
                    raise error
                raise Violation("no task fails", f"{type(error).__name__}: {error}") from error
            answered = late and self.inline.answer_late()
            late = False
            if not (answered or self.inline.answer_reads()):
                return

    def kill(self) -> None:
        """The process is gone. Its streams have to be cut before."""
        self.writer.close()
        self.loop.abandon()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T | Refused]":
        """A unary call arrives."""
        return self.loop.create_task(_unary(coroutine))

    def open_control_lane(self) -> Wire:
        """A worker connects."""
        return Wire(
            self.loop, lambda requests, call: serve_control_lane(self._lanes, requests, call), LANE_WINDOW_COUNT
        )

    def open_data_lane(self) -> Wire:
        """A worker opens its lane for output."""
        return Wire(
            self.loop,
            lambda requests, call: serve_data_lane(self._lanes, self._deltas, self._feed, requests, call),
            LANE_WINDOW_COUNT,
        )

    def open_follower(self, request: job_service_pb2.WatchJobRequest) -> Wire:
        """A client follows a job."""
        return Wire(self.loop, lambda _, call: self.jobs.watch_job(request, call), FOLLOWER_WINDOW_COUNT)

    def open_feed(self, request: event_service_pb2.WatchEventsRequest) -> Wire:
        """A client reads the feed."""
        return Wire(self.loop, lambda _, call: self.events.watch_events(request, call), FOLLOWER_WINDOW_COUNT)

    async def _serve(self) -> None:
        await self._watch_leases()
        await self._scheduler.run()


async def _unary(coroutine: Coroutine[Any, Any, T]) -> T | Refused:
    try:
        return await coroutine
    except Refused as refused:
        return refused
