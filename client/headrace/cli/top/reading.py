"""What `top` shows, read in few calls: four for each refresh, and a few more for the statistics that are oldest.

Nothing of the past is kept but the latest statistics of each queue that is still there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from headrace import calls, client, errors, follow
from headrace.v1 import admin_service_pb2, job_pb2, queue_pb2, worker_pb2

RUNNING = "state = (ASSIGNED OR RUNNING OR WAITING_INPUT OR CANCELLING)"
PAGE_SIZE = 200
STATISTICS_AT_ONCE = 4
STATISTICS_AGE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How things were at one time. Of each list the first 200 at most."""

    time: datetime
    queues: tuple[queue_pb2.Queue, ...] = ()
    statistics: Mapping[str, queue_pb2.QueueStatistics] = field(default_factory=dict)
    jobs: tuple[job_pb2.Job, ...] = ()
    counts: tuple[job_pb2.StateCount, ...] = ()
    workers: tuple[worker_pb2.Worker, ...] = ()
    alerts: tuple[admin_service_pb2.Alert, ...] = ()
    """Those that stand."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Statistics of a queue, and when they were read."""

    statistics: queue_pb2.QueueStatistics
    time: datetime


class Reader:
    """Reads snapshots of one server."""

    def __init__(self, server: client.AsyncClient, clock: Callable[[], datetime]) -> None:
        self._server = server
        self._clock = clock
        self._measured: dict[str, Measured] = {}
        self._has_statistics = True
        self._has_health = True

    async def read(self, *, statistics_max: int = STATISTICS_AT_ONCE) -> Snapshot:
        """How things are now. Raises what the client raises."""
        jobs = await self._server.list_page(RUNNING, page_size=PAGE_SIZE)
        queues = await self._server.run(calls.queues.page(self._server.namespace, PAGE_SIZE, ""))
        workers = await self._server.run(calls.workers.page(PAGE_SIZE, ""))
        await self._measure([queue.name for queue in queues.items], statistics_max)
        return Snapshot(
            time=self._clock(),
            queues=tuple(queues.items),
            statistics={name: one.statistics for name, one in self._measured.items()},
            jobs=tuple(jobs.jobs),
            counts=tuple(jobs.state_counts),
            workers=tuple(workers.items),
            alerts=await self._alerts(),
        )

    async def _alerts(self) -> tuple[admin_service_pb2.Alert, ...]:
        if not self._has_health:
            return ()
        async with aclosing(self._server.watch_health()) as stream:
            try:
                item = await anext(stream)
            except errors.NotSupported:
                self._has_health = False
                return ()
        if isinstance(item, follow.Reconnecting):
            raise item.cause
        return tuple(item.alerts)

    async def _measure(self, names: list[str], most: int) -> None:
        self._measured = {name: self._measured[name] for name in names if name in self._measured}
        now = self._clock()
        stale = [name for name in names if self._is_stale(name, now)]
        stale.sort(key=lambda name: (name in self._measured, self._read_at(name)))
        for name in stale[:most] if self._has_statistics else ():
            try:
                found = await self._server.queues.statistics(name)
            except errors.NotSupported:
                self._has_statistics = False
                return
            except errors.NotFound:
                continue
            self._measured[name] = Measured(found, now)

    def _is_stale(self, name: str, now: datetime) -> bool:
        return name not in self._measured or now - self._measured[name].time >= STATISTICS_AGE

    def _read_at(self, name: str) -> float:
        return self._measured[name].time.timestamp() if name in self._measured else 0.0
