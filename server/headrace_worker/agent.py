"""The agent as a whole: its parts put together, its life, and the order in which it ends.

It owns every task. It ends when it was drained, when it was told to end at once, when the server dismisses it, or, for
a worker that serves one control plane only, when its lease has ended.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random
from time import time_ns

import grpc.aio

from headrace.v1 import worker_pb2, worker_service_pb2
from headrace_worker.attempts import AttemptLinks
from headrace_worker.channel import open_channel, read_address
from headrace_worker.connection import Connection, Dismissed, Identity, KeptAnswers, Words
from headrace_worker.control_lane import ControlLane
from headrace_worker.held_sessions import HeldSessions, NoSessions
from headrace_worker.host import boot_seconds
from headrace_worker.host_meter import HostMeter
from headrace_worker.lease import WorkerLease
from headrace_worker.limits import (
    ABORT_SECONDS,
    CLAUDE_SPOOL_BYTES_MAX,
    DELIVER_SECONDS,
    DRAIN_SECONDS_DEFAULT,
    FAREWELL_SECONDS,
    FIRST_WELCOME_SECONDS,
    LEASE_POLL_SECONDS_MAX,
    SPOOL_BYTES_MAX,
)
from headrace_worker.outbox import Outbox
from headrace_worker.output_lane import OutputLane
from headrace_worker.slots import Run, Slots
from headrace_worker.spool import Spool

logger = logging.getLogger(__name__)


class EndCause(Enum):
    """Why an agent ended."""

    DRAINED = "drained"
    ABORTED = "ended at once"
    DISMISSED = "dismissed by the server"
    LEASE_ENDED = "its lease ended"


@dataclass(frozen=True, slots=True)
class Ending:
    """How an agent ended."""

    cause: EndCause
    message: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an agent behaves, beyond what it runs."""

    drain_seconds: float = DRAIN_SECONDS_DEFAULT
    """What runs when a drain begins may go on for this long; then it is returned."""
    exit_when_lease_ends: bool = False
    """For a worker that serves one control plane only: without it there is nothing to wait for."""
    spool_bytes_max: int = SPOOL_BYTES_MAX
    """Output of one attempt that waits on disk; that of a Claude task has its own, larger bound."""


class Agent:
    """One worker. Make it and run it on the same event loop, once."""

    def __init__(
        self,
        address: str,
        identity: Identity,
        runs: Mapping[str, Run],
        data_folder: Path,
        terms: Terms | None = None,
        *,
        sessions: HeldSessions | None = None,
        on_lease: Callable[[float], None] = lambda deadline: None,
        channel: Callable[[str], grpc.aio.Channel] = open_channel,
        resources: Callable[[], worker_pb2.HostResources] | None = None,
        answers: KeptAnswers | None = None,
        clock: Callable[[], float] = boot_seconds,
        random: Random | None = None,
    ) -> None:
        """`runs`: how each kind of task is run. `on_lease` gets every new deadline of the lease, a reading of `clock`.

        Raises ValueError for an address that is none.
        """
        target = read_address(address)
        self._terms = terms or Terms()
        self._clock = clock
        self._on_lease = on_lease
        self._spools = data_folder / "spool"
        self._lease = WorkerLease()
        self._lease_granted = asyncio.Event()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._connected = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._draining: asyncio.Task[None] | None = None
        """Its own drain, which nobody undoes."""
        self._exiting: asyncio.Task[None] | None = None
        """Waits to be empty, for as long as the server wants it gone."""
        self._server_drains = False
        control = ControlLane()
        output = OutputLane()
        links = AttemptLinks(output.ready, control.report, self._make_outbox, time_ns, control.acknowledge)
        self._sessions = sessions or NoSessions()
        self._sessions.on_own_turn = control.announce
        self._slots = Slots(identity.slots, runs, links, control, self._tasks.create_task)
        self._answers = answers
        self._connection = Connection(
            address,
            lambda: channel(target),
            identity,
            self._slots,
            self._sessions,
            control,
            output,
            self._lease,
            Words(self._note_lease, self._obey),
            resources or HostMeter().read,
            clock,
            random or Random(),
            answers,
        )

    async def run(self) -> Ending:
        """Works until the agent ends, and says why it did. Nothing that it started is left then."""
        async with self._tasks as tasks:
            connecting = tasks.create_task(self._connect())
            watching = tasks.create_task(self._watch_lease())
            tending = tasks.create_task(self._answers.tend()) if self._answers is not None else None
            ending = await self._ending
            await self._end_attempts(ending)
            for task in (connecting, watching, tending, self._draining, self._exiting):
                if task is not None:
                    task.cancel()
        return ending

    async def wait_connected(self) -> None:
        """Waits for the first welcome."""
        await self._connected.wait()

    def drain(self) -> None:
        """Takes no more work, gives what runs its grace, returns the rest, and ends. Asking again changes nothing."""
        self._slots.drain()
        self._sessions.drain()
        if self._draining is None:
            self._draining = self._tasks.create_task(self._drain(self._terms.drain_seconds))

    def abort(self) -> None:
        """Ends every attempt at once, and ends."""
        self._end(Ending(EndCause.ABORTED))

    async def _drain(self, grace_seconds: float) -> None:
        try:
            async with asyncio.timeout(grace_seconds):
                await self._slots.wait_empty()
        except TimeoutError:
            self._slots.return_all("the worker is draining")
        try:
            async with asyncio.timeout(DELIVER_SECONDS):
                await self._slots.wait_empty()
        except TimeoutError:
            logger.warning("the server did not acknowledge every end in time; the leases will end by themselves")
        self._end(Ending(EndCause.DRAINED))

    async def _exit_when_empty(self) -> None:
        await self._slots.wait_empty()
        self._end(Ending(EndCause.DRAINED, "the server wanted it to exit"))

    async def _connect(self) -> None:
        try:
            await self._connection.run()
        except Dismissed as dismissed:
            self._end(Ending(EndCause.DISMISSED, str(dismissed)))

    async def _watch_lease(self) -> None:
        """Ends every attempt when the lease is about to end by the worker's own clock (L4)."""
        if self._terms.exit_when_lease_ends:
            try:
                async with asyncio.timeout(FIRST_WELCOME_SECONDS):
                    await self._lease_granted.wait()
            except TimeoutError:
                self._end(Ending(EndCause.LEASE_ENDED, f"no server within {FIRST_WELCOME_SECONDS:g} s"))
        while True:
            deadline = self._lease.deadline
            if deadline is None:
                self._lease_granted.clear()
                await self._lease_granted.wait()
                continue
            left = deadline - self._clock()
            if left > 0:
                await asyncio.sleep(min(left, LEASE_POLL_SECONDS_MAX))
                continue
            self._lease.end()
            logger.warning("the lease has ended: every attempt is ended")
            self._slots.lose_all("the worker's lease ended")
            self._sessions.kill_idle()
            if self._terms.exit_when_lease_ends:
                self._end(Ending(EndCause.LEASE_ENDED, "no server answered for a whole lease"))

    async def _end_attempts(self, ending: Ending) -> None:
        """What runs is killed and waited for; whoever does not end in time goes with the process."""
        self._slots.drain()
        if ending.cause in (EndCause.ABORTED, EndCause.DRAINED):
            self._slots.return_all(ending.cause.value)
        else:
            self._slots.lose_all(f"the worker has ended: {ending.cause.value}")
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                await self._slots.wait_idle()
                await self._sessions.end_all()
        except TimeoutError:
            logger.warning("%d attempts did not end in time", self._slots.running)
            self._slots.cancel_all()
        if ending.cause is EndCause.ABORTED:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._slots.wait_empty()

    def _note_lease(self) -> None:
        self._connected.set()
        self._lease_granted.set()
        if self._lease.deadline is not None:
            self._on_lease(self._lease.deadline)

    def _obey(self, wanted: worker_service_pb2.WantedWorker) -> None:
        """What the server wants of the worker, said again and again; its own drain is not undone by it."""
        drained = wanted != worker_service_pb2.WANTED_WORKER_RUN
        if drained and not self._slots.draining:
            self._slots.drain()
            self._sessions.drain()
        elif not drained and self._server_drains and self._draining is None:
            self._slots.resume()
            self._sessions.resume()
        self._server_drains = drained
        if wanted == worker_service_pb2.WANTED_WORKER_EXIT:
            if self._exiting is None:
                logger.info("the server wants this worker to exit once it is empty")
                self._exiting = self._tasks.create_task(self._exit_when_empty())
        elif self._exiting is not None:
            self._exiting.cancel()
            self._exiting = None

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)

    def _make_outbox(self, kind: str, on_output: Callable[[], None]) -> Outbox:
        bytes_max = max(self._terms.spool_bytes_max, CLAUDE_SPOOL_BYTES_MAX if kind == "claude" else 0)
        return Outbox(Spool(self._spools, bytes_max), on_output)
