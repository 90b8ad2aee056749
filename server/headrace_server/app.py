"""The composition root: the only place that knows the concrete classes, and the order in which they start and stop."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any

import grpc

from headrace.v1 import (
    admin_service_pb2,
    event_service_pb2,
    job_service_pb2,
    queue_service_pb2,
    schedule_service_pb2,
    session_service_pb2,
    worker_service_pb2,
)
from headrace_server.core.alerts import Timing
from headrace_server.core.health import Thresholds
from headrace_server.core.scaling import ScalingPolicy
from headrace_server.core.wanted import Wanted
from headrace_server.data_folder import LOCAL_WORKER_ID, let_others_pass, local_worker_command, socket_path
from headrace_server.rpc.admin_service import AdminService
from headrace_server.rpc.admission import Admission, CallClass
from headrace_server.rpc.checks.validation import CHECKS
from headrace_server.rpc.event_service import EventService
from headrace_server.rpc.health import Health
from headrace_server.rpc.job_service import JobService
from headrace_server.rpc.messages.worker_message import wanted_message
from headrace_server.rpc.pipeline import Pipeline
from headrace_server.rpc.queue_service import QueueService
from headrace_server.rpc.rights import may_see
from headrace_server.rpc.schedule_service import ScheduleService
from headrace_server.rpc.server import Service, build_server, listen_tcp, listen_unix
from headrace_server.rpc.session_service import SessionService
from headrace_server.rpc.streams.control_lane import Lanes
from headrace_server.rpc.streams.feed_stream import FeedFollowing
from headrace_server.rpc.streams.follow import Following
from headrace_server.rpc.streams.health_stream import HealthWatching
from headrace_server.rpc.worker_service import WorkerService
from headrace_server.runtime.clock import Clock, SteadyClock, SystemClock
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.disk import DiskReserve
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.feed_pages import FeedPages
from headrace_server.runtime.health import HealthMonitor
from headrace_server.runtime.local_worker import LocalWorker
from headrace_server.runtime.log_pages import LogPages
from headrace_server.runtime.metrics import Metrics
from headrace_server.runtime.pool import Pool
from headrace_server.runtime.registry import Registry
from headrace_server.runtime.response_caches import ResponseCaches
from headrace_server.runtime.retention import Keeping, Retention
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.runtime.statistics import Statistics
from headrace_server.runtime.store_watch import StoreWatch
from headrace_server.runtime.tracing import Tracing
from headrace_server.settings import Settings
from headrace_server.store.attempts.due import has_silence_limits, listen_anew
from headrace_server.store.attempts.worker_drains import WorkerDrain, read_drain
from headrace_server.store.attempts.workers import lease_holders
from headrace_server.store.effects import Effects
from headrace_server.store.errors import StoreUnavailable
from headrace_server.store.records import reads
from headrace_server.store.sqlite import SqliteEngine
from headrace_server.store.store import Store

if TYPE_CHECKING:
    from headrace_server.rpc.telemetry_export import Exporting

log = logging.getLogger(__name__)

HEALTH_DRAIN_SECONDS = 1.0
STREAMS_DRAIN_SECONDS = 3.0
STOP_GRACE_SECONDS = 2.0
LOCAL_WORKER_END_SECONDS = 10.0
"""For the local worker to end and hand back what still runs after its drain, before it is told to end at once."""

_SERVICES = {
    "JobService": job_service_pb2.DESCRIPTOR.services_by_name["JobService"],
    "QueueService": queue_service_pb2.DESCRIPTOR.services_by_name["QueueService"],
    "ScheduleService": schedule_service_pb2.DESCRIPTOR.services_by_name["ScheduleService"],
    "SessionService": session_service_pb2.DESCRIPTOR.services_by_name["SessionService"],
    "EventService": event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
    "WorkerService": worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
    "AdminService": admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a control plane listens."""

    host: str
    port: int
    socket: Path
    metrics_port: int = 0
    """Where Prometheus finds the metrics; zero when it does not."""


class App:
    """A control plane: start it, wait, stop it."""

    _pool: Pool | None = None
    """Set when the local worker's slots follow the load."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock: Clock = clock or SystemClock()
        self._entropy = Random(SystemRandom().getrandbits(256))
        self._ids = count(1)
        self._ids_prefix = f"{self._entropy.getrandbits(64):016x}"
        self._feed = Feed()
        self._deltas = Deltas()
        self._registry = Registry(settings.lease_seconds)
        self._admission = Admission(principal_streams_max=settings.streams_per_principal)
        self._disk = DiskReserve(settings.data, settings.disk_reserve_bytes)
        self._health = Health([service.full_name for service in _SERVICES.values()])
        self._local_worker: LocalWorker | None = None
        self._exporting: Exporting | None = None
        self._tracing: Tracing | None = None
        self._observers: list[Callable[[Effects], None]] = []
        """Told of every commit; what they do with it is on no job's way."""
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def start(self) -> Address:
        """Opens the store, listens, and serves. Raises DataInUse, ForeignData or OSError; then nothing is left open."""
        settings = self._settings
        self._store = self._open_store()
        try:
            self._statistics = Statistics(self._store, self._clock)
            self._observers.append(self._statistics.committed)
            self._monitor = self._make_monitor()
            self._observers.append(self._monitor.committed)
            self._feed_pages = FeedPages(self._store, self._feed)
            self._observers += [self._feed_pages.committed, self._deltas.committed]
            self._scheduler = Scheduler(self._store, self._registry, self._clock)
            await self._watch_leases()
            await self._make_pool(socket_path(settings.data))
            self._start_exporting()
            await self._monitor.look()
            self._server = self._build_server()
            host, _, _ = settings.listen.rpartition(":")
            port = listen_tcp(self._server, settings.listen)
            socket = socket_path(settings.data)
            listen_unix(self._server, socket)
            await self._server.start()
            if settings.run_as:
                let_others_pass(settings.data)
        except BaseException:
            self._store.close()
            if self._exporting is not None:
                self._exporting.close()
            raise
        self._start_tasks()
        return Address(host, port, socket, self._exporting.metrics_port if self._exporting is not None else 0)

    def _start_tasks(self) -> None:
        settings = self._settings
        self._run("scheduler", self._scheduler.run())
        self._run("statistics", self._statistics.run())
        keeping = Keeping(settings.keep_jobs_days, settings.keep_audit_days, settings.keep_output_days)
        self._run("retention", Retention(self._store, self._clock, keeping).run())
        self._run("store-watch", StoreWatch(self._store, self._store_said).run())
        self._run("health", self._monitor.run())
        self._health.set_all(True)
        if self._local_worker is not None:
            self._run("local-worker", self._local_worker.run())
        if self._pool is not None:
            self._run("pool", self._pool.run())

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Runs a part until the stop; one that ends before has failed."""
        self._tasks.append(asyncio.create_task(work, name=name))

    def _open_store(self) -> Store:
        engine = SqliteEngine(self._settings.data)
        try:
            with engine.reading() as connection:
                self._clock = SteadyClock(self._clock, reads.latest_time(connection))
            return Store(engine, self._clock.now, self._entropy, self._committed, self._disk.is_low)
        except BaseException:
            engine.close()
            raise

    async def wait_failed(self) -> None:
        """Returns when a part that has to run has ended; never in a sound control plane."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s has failed", task.get_name(), exc_info=error)

    async def stop(self) -> None:
        """Drains and stops, in order. May be called twice."""
        if self._stopped:
            return
        self._stopped = True
        await self._health.drain(HEALTH_DRAIN_SECONDS)
        self._scheduler.draining = True
        await self._stop_local_worker()
        await self._end_streams()
        await self._server.stop(STOP_GRACE_SECONDS)
        await self._end_tasks()
        await self._statistics.write()
        if self._tracing is not None:
            await self._tracing.write()
        await asyncio.get_running_loop().run_in_executor(None, self._store.close)
        if self._exporting is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._exporting.close)

    def abandon(self) -> None:
        """Ends the local worker without waiting, before the process ends at once. What was acknowledged is durable
        already."""
        if self._local_worker is not None:
            self._local_worker.end_at_once()

    async def _stop_local_worker(self) -> None:
        if self._local_worker is not None:
            await self._local_worker.stop(self._settings.drain_seconds + LOCAL_WORKER_END_SECONDS)

    async def _end_streams(self) -> None:
        """Refuses new calls; follow streams end with their cursor, workers are told to come back later."""
        self._admission.drain()
        self._feed.wake_all()
        self._monitor.wake_all()
        if not await self._admission.wait_idle(STREAMS_DRAIN_SECONDS):
            log.warning("%d calls had not ended and are cut off", self._admission.in_flight())

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch_leases(self) -> None:
        """After a restart every worker that holds leases is watched for a whole lease anew (L4), and their attempts may
        be silent for as long again (L5)."""
        for holder, counter in await self._store.read(lease_holders):
            self._registry.watch.observe(holder.worker, holder.incarnation, counter, self._clock.monotonic())
        if await self._store.read(has_silence_limits):
            try:
                await self._store.write(listen_anew, bounded=False)
            except StoreUnavailable as error:
                log.warning("silence counts over the restart: %s", error)

    async def _make_pool(self, socket: Path) -> None:
        """The local worker, and what scales its slots when they are to follow the load."""
        settings = self._settings
        if not settings.workers:
            return
        self._local_worker = LocalWorker(local_worker_command(settings, socket), self._registry.note_local_fault)
        self._drained(LOCAL_WORKER_ID, await self._store.read(read_drain, LOCAL_WORKER_ID))
        slots_min = settings.workers_min or settings.workers
        if slots_min < settings.workers:
            policy = ScalingPolicy(
                slots_min,
                settings.workers,
                settings.scale_up_seconds,
                settings.scale_down_seconds,
                settings.slot_memory_bytes,
            )
            self._pool = Pool(self._store, self._registry, self._scheduler, self._clock, LOCAL_WORKER_ID, policy)

    def _drained(self, worker: str, drain: WorkerDrain | None) -> None:
        if worker == LOCAL_WORKER_ID and self._local_worker is not None:
            self._local_worker.want(drain is None or not drain.exits)

    def _make_monitor(self) -> HealthMonitor:
        settings = self._settings
        thresholds = Thresholds(
            settings.alert_queue_saturation,
            settings.alert_commit_seconds,
            settings.alert_lag_seconds,
            settings.disk_reserve_bytes,
        )
        timing = Timing(settings.alert_after_seconds, settings.alert_clear_seconds, settings.alert_cool_down_seconds)
        return HealthMonitor(
            self._store, self._registry, self._feed, self._clock, self._disk.free_bytes, thresholds, timing
        )

    def _store_said(self, commits: bool) -> None:
        self._health.set_all(commits)
        self._monitor.store_said(commits)

    def _start_exporting(self) -> None:
        """Metrics and traces, when somebody wants them. Raises OSError."""
        settings = self._settings
        if not (settings.otlp_endpoint or settings.metrics_listen):
            return
        from headrace_server.rpc.telemetry_export import start_exporting

        exporting = self._exporting = start_exporting(
            settings.otlp_endpoint, settings.metrics_listen, version("headrace"), self._new_id(), self._clock.now
        )
        metrics = Metrics(exporting.meter)
        exporting.show(metrics.histograms)
        self._observers.append(metrics.committed)
        self._monitor.on_look(metrics.looked)
        caches = ResponseCaches(self._registry, exporting.meter)
        self._monitor.on_look(lambda sample, counted, alerts: caches.look())
        if exporting.tracer is not None:
            self._tracing = Tracing(exporting.tracer, self._store)
            self._observers.append(self._tracing.committed)
            self._run("tracing", self._tracing.run())

    def _build_server(self) -> grpc.aio.Server:
        settings = self._settings
        telemetry = self._exporting.telemetry if self._exporting is not None else None
        pipeline = Pipeline(self._admission, CHECKS, self._new_id, telemetry)
        lanes = Lanes(
            store=self._store,
            registry=self._registry,
            scheduler=self._scheduler,
            clock=self._clock,
            draining=self._admission.draining,
            renewal_seconds=settings.renewal_seconds,
            server_version=version("headrace"),
            new_id=self._new_id,
        )
        following = Following(
            store=self._store,
            feed=self._feed,
            deltas=self._deltas,
            registry=self._registry,
            clock=self._clock,
            draining=self._admission.draining,
            heartbeat_seconds=settings.heartbeat_seconds,
            logs=LogPages(self._store, self._feed, self._clock),
        )
        watching = HealthWatching(self._monitor, self._admission.draining, lambda: self._health.serving)
        rate = self._statistics.start_rate
        jobs = JobService(self._store, self._scheduler, self._registry, following, rate)
        sessions = SessionService(self._store, self._scheduler, self._registry, following)
        services = [
            Service(_SERVICES["JobService"], jobs),
            Service(_SERVICES["QueueService"], QueueService(self._store, self._statistics)),
            Service(_SERVICES["ScheduleService"], ScheduleService(self._store)),
            Service(_SERVICES["SessionService"], sessions),
            Service(_SERVICES["EventService"], EventService(FeedFollowing(following, self._feed_pages, may_see))),
            Service(_SERVICES["AdminService"], AdminService(self._store, watching, self._registry)),
            Service(
                _SERVICES["WorkerService"],
                WorkerService(lanes, self._deltas, self._feed, self._drained),
                streams=CallClass.WORKER_LANE,
            ),
        ]
        return build_server(pipeline, services, self._health, with_channelz=True)

    def _committed(self, effects: Effects) -> None:
        self._feed.wake((*effects.changed, *effects.keyed, *effects.sessions))
        for wanted in effects.stopped:
            self._tell_stopped(wanted)
        for command in effects.commands:
            self._registry.tell(command, self._store.generation)
        self._scheduler.committed(effects)
        for told in self._observers:
            told(effects)
        if effects.queued and self._pool is not None:
            self._pool.wake()

    def _tell_stopped(self, wanted: Wanted) -> None:
        """Tells the worker at once; it would learn so with its next renewal anyway."""
        found = self._registry.lane_of_job(wanted.job.worker, wanted.job.id, wanted.job.epoch)
        if found is not None:
            lane, _ = found
            lane.want(wanted_message(wanted, self._store.generation))

    def _new_id(self) -> str:
        return f"{self._ids_prefix}-{next(self._ids):x}"
