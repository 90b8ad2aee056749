"""The control lane's stream: hello and welcome, renewals, one writer, one reader; opened anew for as long as it takes.

It carries words between the server and `slots.py`, and tells the lease which renewals were sent and answered. What
runs, and what the end of a lease means, is decided elsewhere.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random

import grpc.aio

from headrace.v1 import worker_pb2, worker_service_pb2
from headrace_worker.channel import FINAL_REASONS, LOST, Stream, StreamEnded, describe, reason_of, run_parts
from headrace_worker.control_lane import ControlLane
from headrace_worker.held_sessions import HeldSessions
from headrace_worker.lease import WorkerLease
from headrace_worker.limits import (
    CONNECT_SECONDS,
    PROTOCOL_VERSION,
    RECONNECT_SECONDS_MAX,
    RECONNECT_SECONDS_MIN,
    RENEWAL_SECONDS_MIN,
    UNANSWERED_INTERVALS_MAX,
    UNANSWERED_SECONDS_MIN,
    UNREACHABLE_NOTICE_SECONDS,
)
from headrace_worker.output_lane import OutputLane
from headrace_worker.slots import Slots

METHOD = "/headrace.v1.WorkerService/Connect"
Lane = Stream[worker_service_pb2.ConnectResponse]
Clock = Callable[[], float]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the worker is, and what it can run."""

    worker_id: str
    incarnation: str
    slots: int
    capabilities: worker_pb2.WorkerCapabilities
    host: str
    version: str


@dataclass(frozen=True, slots=True)
class Words:
    """What a connection tells its owner."""

    lease_granted: Callable[[], None]
    """The lease has a new deadline."""
    worker_wanted: Callable[[worker_service_pb2.WantedWorker], None]
    """What the server wants of the worker as a whole."""


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """What a worker says of kept answers, and has done with them."""

    state: Callable[[], worker_pb2.ResponseCacheState]
    invalidate: Callable[[str, int], None]
    """Answers of a namespace count no more that were asked for by then, in microseconds."""
    tend: Callable[[], Coroutine[None, None, None]]
    """Removes them, for as long as the worker lives."""


class Dismissed(Exception):
    """The server will never take this worker: the text says why."""


class Connection:
    """Connects, again and again, and keeps the lease."""

    def __init__(
        self,
        address: str,
        open_channel: Callable[[], grpc.aio.Channel],
        identity: Identity,
        slots: Slots,
        sessions: HeldSessions,
        control: ControlLane,
        output: OutputLane,
        lease: WorkerLease,
        words: Words,
        host_resources: Callable[[], worker_pb2.HostResources],
        clock: Clock,
        random: Random,
        answers: KeptAnswers | None = None,
    ) -> None:
        """`answers`: None for a worker that keeps none."""
        self._address = address
        self._open_channel = open_channel
        self._identity = identity
        self._slots = slots
        self._sessions = sessions
        self._control = control
        self._output = output
        self._lease = lease
        self._words = words
        self._host_resources = host_resources
        self._answers = answers
        self._clock = clock
        self._random = random
        self._welcomed = False
        self._handled_message_number = 0
        self._failures = 0
        self._notice_time: float | None = None
        self._interval_seconds = 0.0

    async def run(self) -> None:
        """Stays connected until it is cancelled. Raises Dismissed when the server will never take this worker."""
        while True:
            try:
                await self._connect_once()
            except LOST as error:
                self._note_loss(error)
            await asyncio.sleep(self._backoff_seconds())

    async def _connect_once(self) -> None:
        channel = self._open_channel()
        try:
            await self._converse(channel)
        finally:
            self._lease.disconnect()
            self._control.clear()
            await channel.close(None)

    async def _converse(self, channel: grpc.aio.Channel) -> None:
        stream = Stream(channel, METHOD, worker_service_pb2.ConnectResponse.FromString)
        self._handled_message_number = 0
        hello = self._hello()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await stream.send(hello.SerializeToString())
                response = await stream.receive()
        except TimeoutError:
            raise StreamEnded(f"no welcome within {CONNECT_SECONDS:g} s") from None
        if not response.HasField("welcome"):
            raise StreamEnded("the server did not answer with a welcome")
        self._accept(hello.renewal.counter, response)
        opening = worker_service_pb2.StreamOutputOpen(
            worker_id=self._identity.worker_id,
            incarnation=self._identity.incarnation,
            connection_id=response.welcome.connection_id,
        )
        await run_parts(
            self._read(stream),
            self._write(stream),
            self._renew(),
            self._output.run(channel, opening, self._slots.output_settled),
        )

    def _hello(self) -> worker_service_pb2.ConnectRequest:
        identity = self._identity
        request = worker_service_pb2.ConnectRequest(
            hello=worker_service_pb2.WorkerHello(
                worker_id=identity.worker_id,
                incarnation=identity.incarnation,
                reattach=self._welcomed,
                protocol_version=PROTOCOL_VERSION,
                slots=identity.slots,
                capabilities=identity.capabilities,
                host=identity.host,
                version=identity.version,
            )
        )
        self._add_renewal(request)
        request.hello.host_resources.CopyFrom(request.renewal.host_resources)
        return request

    def _add_renewal(self, request: worker_service_pb2.ConnectRequest) -> None:
        renewal = request.renewal
        renewal.counter = self._lease.send(self._clock())
        renewal.held.extend(self._slots.held())
        renewal.handled_message_number = self._handled_message_number
        renewal.host_resources.CopyFrom(self._host_resources())
        renewal.draining = self._slots.draining
        renewal.sessions.extend(self._sessions.held())
        renewal.kept_session_ids.extend(self._sessions.kept())
        if self._answers is not None:
            renewal.response_cache.CopyFrom(self._answers.state())

    def _accept(self, counter: int, response: worker_service_pb2.ConnectResponse) -> None:
        welcome = response.welcome
        self._interval_seconds = max(RENEWAL_SECONDS_MIN, welcome.renewal_interval.ToTimedelta().total_seconds())
        self._lease.grant(counter, welcome.lease_duration.ToTimedelta().total_seconds(), self._clock())
        self._words.lease_granted()
        again = " again" if self._welcomed else ""
        logger.info("connected%s to %s, server version %s", again, self._address, welcome.server_version)
        self._welcomed = True
        self._failures = 0
        self._notice_time = None
        for wanted in response.wanted:
            self._slots.want(wanted)
        self._slots.reattach(welcome.held)
        for turn in self._sessions.unacknowledged():
            self._control.announce(turn)
        self._handle(response)

    async def _read(self, stream: Lane) -> None:
        while True:
            response = await stream.receive()
            if self._lease.deadline is None or self._clock() >= self._lease.deadline:
                # Of a host that slept or a process that was stopped: what waited here may be somebody else's by now
                # (L7).
                raise StreamEnded("the lease has ended")
            self._handle(response)

    def _handle(self, response: worker_service_pb2.ConnectResponse) -> None:
        for finish_ack in response.finish_acks:
            self._slots.acknowledge_finish(finish_ack)
        for report_ack in response.report_acks:
            self._slots.acknowledge_reports(report_ack)
        for assignment in response.assignments:
            self._slots.assign(assignment)
        for wanted in response.wanted:
            self._slots.want(wanted)
        for command in response.commands:
            self._slots.command(command)
        for ack in response.background_turn_acks:
            self._sessions.acknowledge(ack)
        if response.ended_session_ids:
            self._sessions.end_named(response.ended_session_ids)
        if self._answers is not None:
            for said in response.response_cache_invalidations:
                self._answers.invalidate(said.namespace, said.time.ToMicroseconds())
        self._handled_message_number = response.message_number
        if response.renewed_counter and self._lease.answer(response.renewed_counter, self._clock()):
            self._words.lease_granted()
        if response.wanted_worker:
            self._words.worker_wanted(response.wanted_worker)

    async def _write(self, stream: Lane) -> None:
        while True:
            await self._control.wait()
            renewal_due, self._control.renewal_due = self._control.renewal_due, False
            request = self._control.take()
            if renewal_due:
                self._add_renewal(request)
            await stream.send(request.SerializeToString())

    async def _renew(self) -> None:
        """Renews at every interval, and notices that nobody answers any more."""
        patience = max(UNANSWERED_SECONDS_MIN, UNANSWERED_INTERVALS_MAX * self._interval_seconds)
        while True:
            await asyncio.sleep(self._interval_seconds)
            answered = self._lease.last_answer
            if answered is not None and self._clock() - answered > patience:
                raise StreamEnded(f"no answer to a renewal for {patience:g} s")
            self._control.renew()

    def _note_loss(self, error: Exception) -> None:
        if isinstance(error, grpc.aio.AioRpcError) and reason_of(error) in FINAL_REASONS:
            raise Dismissed(f"{reason_of(error)}: {error.details()}") from error
        now = self._clock()
        if self._notice_time is None or now - self._notice_time >= UNREACHABLE_NOTICE_SECONDS:
            self._notice_time = now
            logger.warning("no connection to %s (%s); trying again", self._address, describe(error))

    def _backoff_seconds(self) -> float:
        cap = min(RECONNECT_SECONDS_MAX, RECONNECT_SECONDS_MIN * 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)
        return cap * self._random.uniform(0.5, 1.0)
