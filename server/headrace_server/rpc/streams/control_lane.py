"""The control lane of one worker: reads what it says, has it committed, and sends what waits for it (L1–L5, C2).

Words are committed in the order in which they were read, several at a time: the next one is read while the last is
written.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.ids import job_id_text
from headrace_server.core.limits import (
    ASSIGNMENT_CONFIRM_SECONDS,
    LANE_MESSAGE_BYTES_MAX,
    WORDS_IN_FLIGHT_COUNT_MAX,
)
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.rpc.admission import draining_refusal
from headrace_server.rpc.call import Call
from headrace_server.rpc.checks.validate_worker import check_connect
from headrace_server.rpc.messages.response_cache_message import invalidation_message
from headrace_server.rpc.messages.worker_message import (
    background_ack,
    capabilities_of,
    held_leases,
    job_lease_message,
    lease_message,
    lease_of,
    seconds_message,
    wanted,
    wanted_message,
    wanted_worker_of,
    word_of,
)
from headrace_server.rpc.streams.lane_end import end_lane
from headrace_server.rpc.streams.lane_limits import check_word
from headrace_server.runtime.clock import Clock
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.store.attempts.leases import Disposition, Holder, Lease
from headrace_server.store.attempts.workers import Greeting, Heard, Welcomed, Word, hear_each, welcome
from headrace_server.store.codec import number
from headrace_server.store.errors import RETRY_SECONDS, StoreUnavailable
from headrace_server.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lanes:
    """What the lanes of this node share."""

    store: Store
    registry: Registry
    scheduler: Scheduler
    clock: Clock
    draining: asyncio.Event
    renewal_seconds: float
    server_version: str
    new_id: Callable[[], str]


async def serve_control_lane(lanes: Lanes, requests: AsyncIterator[pb.ConnectRequest], call: Call) -> None:
    """Serves one Connect stream until the worker leaves, is replaced, or the server drains."""
    first = await anext(aiter(requests), None)
    if first is None:
        return
    refusal = check_connect(first)
    if refusal is not None:
        raise Refused(refusal)
    await _Served(lanes, requests, call, first).run()


class _Served:
    def __init__(
        self, lanes: Lanes, requests: AsyncIterator[pb.ConnectRequest], call: Call, first: pb.ConnectRequest
    ) -> None:
        self._all = lanes
        self._requests = requests
        self._call = call
        self._first = first
        hello = first.hello
        self._lane = ControlLane(
            holder=Holder(hello.worker_id, hello.incarnation),
            connection_id=lanes.new_id(),
            slots=hello.slots,
            capabilities=capabilities_of(hello.capabilities),
        )
        self._lane.renewed(first.renewal)
        self._words = asyncio.Semaphore(WORDS_IN_FLIGHT_COUNT_MAX)
        self._unheard: deque[tuple[pb.ConnectRequest, Word]] = deque()
        """Words that the store could not commit, in order."""
        self._retrying: asyncio.Future[None] | None = None
        self._failed: BaseException | None = None
        self._leaving = False

    async def run(self) -> None:
        lane, registry = self._lane, self._all.registry
        await self._welcome()
        registry.connect(lane)
        log.info("worker %s (%s) connected with %d slots", lane.holder.worker, lane.holder.incarnation, lane.slots)
        draining = asyncio.ensure_future(self._wake_on_drain())
        writing = asyncio.ensure_future(self._write())
        reading = asyncio.ensure_future(self._read())
        self._all.scheduler.wake()
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
            reading.result()
        finally:
            registry.disconnect(lane)
            self._leaving = True
            lane.wake.set()
            await end_lane(writing, draining, reading, *([self._retrying] if self._retrying is not None else []))
            log.info("worker %s (%s) disconnected", lane.holder.worker, lane.holder.incarnation)

    async def _wake_on_drain(self) -> None:
        await self._all.draining.wait()
        self._lane.end(draining_refusal())

    async def _welcome(self) -> None:
        hello, renewal = self._first.hello, self._first.renewal
        held = held_leases(renewal)
        living = self._all.registry.living(self._lane.holder)
        body = hello.SerializeToString()
        greeting = Greeting(self._lane.holder, hello.reattach, body, renewal.counter, tuple(held), living)
        welcomed = await self._all.store.write(lambda ledger: welcome(ledger, greeting), bounded=False)
        if not welcomed.current:
            message = f"a newer incarnation of worker {hello.worker_id!r} has connected"
            raise Refused(Refusal(Reason.STALE_INCARNATION, message))
        if not welcomed.newest:
            message = f"a newer stream of worker {hello.worker_id!r} has connected"
            raise Refused(Refusal(Reason.CONNECTION_REPLACED, message))
        self._observe(renewal.counter)
        if welcomed.first:
            self._all.registry.succeed(self._lane.holder, living)
        taken_by = zip(welcomed.jobs, welcomed.taken, strict=True)
        live = {(job.id, job.epoch): taken for job, taken in taken_by}
        self._lane.wanted_worker = wanted_worker_of(welcomed.drain)
        self._lane.inherited = welcomed.inherited
        for lease in held:
            taken = live.get((lease.job_id, lease.epoch))
            if taken is not None:
                self._lane.hold(lease, taken)
        waiting = self._lane.waiting
        waiting.renewed_counter = renewal.counter
        waiting.wanted_worker = self._lane.wanted_worker
        waiting.welcome.CopyFrom(self._welcome_message(welcomed))
        waiting.wanted.extend(wanted_message(ending, self._all.store.generation) for ending in welcomed.wanted)
        waiting.response_cache_invalidations.extend(map(invalidation_message, welcomed.invalidations))
        for command in welcomed.commands:
            self._lane.tell(command, self._all.store.generation)
        self._lane.wake.set()

    def _welcome_message(self, welcomed: Welcomed) -> pb.WorkerWelcome:
        message = pb.WorkerWelcome(
            lease_duration=seconds_message(self._all.registry.lease_seconds),
            renewal_interval=seconds_message(self._all.renewal_seconds),
            connection_id=self._lane.connection_id,
            server_version=self._all.server_version,
            generation=self._all.store.generation,
        )
        ends = {wanted.job.id: wanted.end for wanted in welcomed.wanted}
        for job in welcomed.jobs:
            message.held.add(
                lease=job_lease_message(job, self._all.store.generation),
                committed_producer_sequence=job.producer_sequence,
                committed_report_number=job.report_number,
                wanted=number(ends[job.id]) if job.id in ends else pb.WANTED_STATE_RUN,
            )
        for lease in welcomed.stale:
            message.held.add(lease=lease_message(lease), wanted=pb.WANTED_STATE_KILL)
        return message

    async def _read(self) -> None:
        await self._hear(self._first)
        async for request in self._requests:
            check_word(request)
            await self._hear(request)
            if self._failed is not None:
                raise self._failed

    async def _hear(self, request: pb.ConnectRequest) -> None:
        """Has one message of the worker committed; what it leads to is sent when it is."""
        lane = self._lane
        absent = []
        if request.HasField("renewal"):
            self._observe(request.renewal.counter)
            drained = lane.draining
            lane.renewed(request.renewal)
            if drained and not lane.draining:
                # A cycle begins at once, and has to see the worker.
                self._all.scheduler.wake()
            absent = lane.absent(set(held_leases(request.renewal)), request.renewal.handled_message_number)
        word = word_of(lane.holder, request, absent)
        for lease in word.starts:
            lane.unstarted.pop(lease, None)
        lane.finishing.update(one.lease for one in word.finishes if one.lease in lane.leases)
        await self._words.acquire()
        if self._unheard:
            self._put_off(request, word)
            return
        heard = self._all.store.write_each(hear_each, word)
        heard.add_done_callback(lambda future: self._heard(future, request, word))
        if word.finishes or word.releases or word.background or absent:
            self._all.scheduler.wake()

    def _heard(self, future: "asyncio.Future[Heard]", request: pb.ConnectRequest, word: Word) -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, StoreUnavailable) and self._all.store.exclusive and not self._leaving:
            self._put_off(request, word)
            return
        self._words.release()
        if error is not None:
            self._fail(error)
        elif not future.cancelled():
            self._settle(future.result(), request, word.absent)

    def _fail(self, error: BaseException) -> None:
        self._failed = error
        refusal = error.refusal if isinstance(error, Refused) else None
        self._lane.end(refusal or draining_refusal())

    def _put_off(self, request: pb.ConnectRequest, word: Word) -> None:
        """Keeps the worker's lease, and its words until the store can commit them.

        The lease can't be given to another meanwhile: that would have to be committed too, and nobody else writes here.
        """
        # What has not ended in the store still holds its slot.
        self._lane.finishing.difference_update(one.lease for one in word.finishes)
        if request.HasField("renewal"):
            self._answer_renewal(Heard((), ()), request.renewal)
            self._lane.wake.set()
            request.ClearField("renewal")
        if not word.says_something:
            self._words.release()
            return
        self._unheard.append((request, replace(word, counter=0, absent=(), sessions=())))
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.ensure_future(self._retry())

    async def _retry(self) -> None:
        while self._unheard:
            request, word = self._unheard[0]
            try:
                heard = await self._all.store.write_each(hear_each, word)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except Exception as error:
                self._fail(error)
                return
            self._unheard.popleft()
            self._words.release()
            self._settle(heard, request, ())
            self._all.scheduler.wake()

    def _settle(self, heard: Heard, request: pb.ConnectRequest, absent: Sequence[Lease]) -> None:
        lane = self._lane
        waiting = lane.waiting
        for lease, committed in heard.reported:
            waiting.report_acks.add(lease=lease_message(lease), committed_report_number=committed)
        for lease, disposition, committed in heard.finished:
            ack = waiting.finish_acks.add(lease=lease_message(lease), committed_producer_sequence=committed)
            ack.disposition = number(disposition)
            if disposition is Disposition.OUTPUT_MISSING:
                lane.finishing.discard(lease)
            else:
                lane.settle(lease)
        for turn, job_id in heard.background:
            waiting.background_turn_acks.append(background_ack(turn, job_id))
        for release in request.releases:
            lane.settle(lease_of(release.lease))
        for lease in absent:
            lane.settle(lease)
        if request.releases or absent:
            self._all.scheduler.wake()
        if request.HasField("renewal"):
            self._want_worker(wanted_worker_of(heard.drain))
            self._answer_renewal(heard, request.renewal)
        if waiting.ByteSize():
            lane.wake.set()

    def _answer_renewal(self, heard: Heard, renewal: pb.WorkerRenewal) -> None:
        lane = self._lane
        lane.waiting.renewed_counter = renewal.counter
        lane.waiting.wanted_worker = lane.wanted_worker
        del lane.waiting.wanted[:]
        generation = self._all.store.generation
        for ending in heard.wanted:
            lane.want(wanted_message(ending, generation))
        for one in lane.overdue(self._all.clock.monotonic() - ASSIGNMENT_CONFIRM_SECONDS):
            lane.want(wanted(lease_message(one), pb.WANTED_STATE_REVOKE, pb.STOP_CAUSE_UNSPECIFIED))
        for command in heard.commands:
            lane.tell(command, generation)
        del lane.waiting.ended_session_ids[:]
        lane.waiting.ended_session_ids.extend(map(job_id_text, heard.ended_sessions))
        for held in renewal.held:
            if lease_of(held.lease) not in lane.leases:
                lane.want(wanted(held.lease, pb.WANTED_STATE_KILL, pb.STOP_CAUSE_STALE_LEASE))

    def _want_worker(self, wanted: pb.WantedWorker) -> None:
        """The store's word, which may be newer than what this node was told."""
        if self._lane.wanted_worker != wanted:
            self._lane.wanted_worker = wanted
            self._all.scheduler.wake()

    def _observe(self, counter: int) -> None:
        holder = self._lane.holder
        self._all.registry.watch.observe(holder.worker, holder.incarnation, counter, self._all.clock.monotonic())

    async def _write(self) -> None:
        lane = self._lane
        while True:
            await lane.wake.wait()
            if lane.ended is not None:
                raise Refused(lane.ended)
            if self._leaving:
                return
            await self._call.write(lane.next_message(LANE_MESSAGE_BYTES_MAX, self._all.clock.monotonic()))
