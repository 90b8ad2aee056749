"""The workers that are connected to this node: what they offer, which leases they hold, and what waits to be sent to
them.

All of it can be lost: the store has the truth, and a worker that reconnects brings it back.
"""

import asyncio
from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field

from headrace.v1 import session_pb2, worker_pb2, worker_service_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.leases import LeaseWatch
from headrace_server.core.placement import UNBOUNDED, Capabilities, Offer
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.resources import NOTHING, ONE_SLOT, Resources
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.effects import Command
from headrace_server.store.jobs.new_job import resources_of

LEFT_COUNT_MAX = 1000
INVALIDATIONS_COUNT_MAX = 1000
"""That wait to be sent to a worker; it hears of others with the next job that asks."""
UNSENT = 1 << 62
"""In place of a message's number, for an assignment that waits to be sent."""


@dataclass(frozen=True, slots=True)
class SlotBounds:
    """How many slots of a worker the server uses just now, and between which bounds it moves that."""

    slots: int
    slots_min: int
    slots_max: int


@dataclass(eq=False, slots=True)
class ControlLane:
    """One open Connect stream, and what waits to be sent on it."""

    holder: Holder
    connection_id: str
    slots: int
    """As the worker said."""
    capabilities: Capabilities
    draining: bool = False
    """It wants no more work."""
    wanted_worker: worker_service_pb2.WantedWorker = worker_service_pb2.WANTED_WORKER_RUN
    """What the server wants of it; said again with the answer to every renewal."""
    bounds: SlotBounds | None = None
    """Set for a worker whose slots are scaled."""
    host: worker_pb2.HostResources = field(default_factory=worker_pb2.HostResources)
    """As it was at the last renewal."""
    ended: Refusal | None = None
    """Why the stream has to end."""
    data_lane: int = 0
    """Number of the newest data lane; an older one has been replaced."""
    leases: dict[Lease, int] = field(default_factory=dict)
    """Leases that the worker holds or is sent, with the number of the message that took the assignment; zero when an
    earlier stream did."""
    finishing: set[Lease] = field(default_factory=set)
    """Of these, those whose finish is being committed: their slots are free again."""
    unstarted: dict[Lease, float] = field(default_factory=dict)
    """Of the leases, those that were sent and not started, with the monotonic time of sending."""
    resources: dict[Lease, Resources] = field(default_factory=dict)
    """What each lease takes, where that is more than a slot."""
    sessions: dict[str, session_pb2.SessionProcess] = field(default_factory=dict)
    """Processes of sessions, by the session's id, as they were at the last renewal."""
    response_cache: worker_pb2.ResponseCacheState | None = None
    """The answers that it keeps, as they were then."""
    inherited: Resources = NOTHING
    """What incarnations before it still hold, until their leases end."""
    recent: set[Lease] = field(default_factory=set)
    """Leases that the host's free memory can't show yet: taken since the last renewal, or not started."""
    message_number: int = 0
    assignments: deque[tuple[Lease, worker_pb2.Assignment]] = field(default_factory=deque)
    commands: deque[worker_service_pb2.AttemptCommand] = field(default_factory=deque)
    commanded: dict[tuple[JobId, int], set[int]] = field(default_factory=dict)
    """By job and epoch: numbers of the commands that went out on this stream, or wait to."""
    waiting: worker_service_pb2.ConnectResponse = field(default_factory=worker_service_pb2.ConnectResponse)
    """What the next message will hold besides assignments and commands."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def slots_offered(self) -> int:
        """Slots that it may have in use."""
        return self.slots if self.bounds is None else min(self.slots, self.bounds.slots)

    @property
    def used(self) -> Resources:
        """What its leases take; a lease whose finish is being committed takes nothing any more."""
        memory_bytes, cpu_millis = self.inherited.memory_bytes, self.inherited.cpu_millis
        slots = self.inherited.slots + len(self.leases) - len(self.finishing)
        for lease, taken in self.resources.items():
            if lease not in self.finishing:
                slots += taken.slots - 1
                memory_bytes += taken.memory_bytes
                cpu_millis += taken.cpu_millis
        return Resources(slots, memory_bytes, cpu_millis)

    @property
    def is_drained(self) -> bool:
        """Whether it gets no more work, by its own wish or by the server's."""
        return self.draining or self.wanted_worker != worker_service_pb2.WANTED_WORKER_RUN

    @property
    def free_slots(self) -> int:
        """Slots that nothing holds."""
        return 0 if self.is_drained else max(0, self.slots_offered - self.used.slots)

    @property
    def free_memory_bytes(self) -> int:
        """Memory that nothing has declared and that is there."""
        if not self.host.memory_bytes:
            return UNBOUNDED
        unseen = sum(self.resources[lease].memory_bytes for lease in self.recent if lease in self.resources)
        undeclared = self.host.memory_bytes - self.used.memory_bytes
        return max(0, min(undeclared, self.host.memory_available_bytes - unseen))

    @property
    def free_cpu_millis(self) -> int:
        """Processors that nothing has declared, in thousandths."""
        return max(0, self.host.cpu_millis - self.used.cpu_millis) if self.host.cpu_millis else UNBOUNDED

    def offer(self) -> Offer:
        """What jobs may be given to it."""
        return Offer(
            self.holder.worker,
            self.holder.incarnation,
            self.capabilities,
            self.free_slots,
            self.free_memory_bytes,
            self.free_cpu_millis,
            self.used,
        )

    def hold(self, lease: Lease, taken: Resources, message_number: int = 0) -> None:
        """Takes note that the worker holds a lease, or will."""
        self.leases[lease] = message_number
        if taken != ONE_SLOT:
            self.resources[lease] = taken

    def assign(self, lease: Lease, assignment: worker_pb2.Assignment) -> None:
        """Has an assignment sent."""
        self.hold(lease, resources_of(assignment.spec.placement.resources), UNSENT)
        if lease in self.resources:
            self.recent.add(lease)
        self.assignments.append((lease, assignment))
        self.wake.set()

    def renewed(self, renewal: worker_service_pb2.WorkerRenewal) -> None:
        """Takes note of what the worker says of itself and its host."""
        self.draining = renewal.draining
        self.sessions = {held.session_id: held.process for held in renewal.sessions}
        if renewal.HasField("response_cache"):
            self.response_cache = renewal.response_cache
        if renewal.HasField("host_resources"):
            self.host = renewal.host_resources
        self.recent = {lease for lease in self.recent if lease in self.unstarted or self.leases.get(lease) == UNSENT}

    def invalidate_answers(self, said: worker_pb2.ResponseCacheInvalidation) -> None:
        """Has it said that kept answers of a namespace count no more; of what waits, the latest of each namespace."""
        waiting = self.waiting.response_cache_invalidations
        later = [one for one in waiting if one.namespace != said.namespace]
        del waiting[:]
        waiting.extend([*later[1 - INVALIDATIONS_COUNT_MAX :], said])
        self.wake.set()

    def want(self, wanted: worker_service_pb2.WantedAttempt) -> None:
        """Has it said what is wanted of an attempt."""
        self.waiting.wanted.append(wanted)
        self.wake.set()

    def tell(self, command: Command, generation: int) -> None:
        """Has an attempt told something, once on this stream."""
        told = self.commanded.setdefault((command.job_id, command.epoch), set())
        if command.number in told:
            return
        told.add(command.number)
        message = worker_service_pb2.AttemptCommand.FromString(command.body)
        message.command_number = command.number
        message.lease.job_id = job_id_text(command.job_id)
        message.lease.attempt = command.attempt
        message.lease.epoch = command.epoch
        message.lease.generation = generation
        self.commands.append(message)
        self.wake.set()

    def want_worker(self, wanted: worker_service_pb2.WantedWorker) -> None:
        """Has it said what is wanted of the worker as a whole."""
        self.wanted_worker = wanted
        self.waiting.wanted_worker = wanted
        self.wake.set()

    def next_message(self, bytes_max: int, now: float) -> worker_service_pb2.ConnectResponse:
        """Takes what waits, as many assignments and commands as fit. `now` is monotonic."""
        message, self.waiting = self.waiting, worker_service_pb2.ConnectResponse()
        self.message_number += 1
        message.message_number = self.message_number
        size = message.ByteSize()
        while self.assignments:
            lease, assignment = self.assignments[0]
            size += assignment.ByteSize() + 8
            if message.assignments and size > bytes_max:
                break
            self.assignments.popleft()
            message.assignments.append(assignment)
            self.leases[lease] = self.message_number
            self.unstarted[lease] = now
        while self.commands and not self.assignments:
            size += self.commands[0].ByteSize() + 8
            if message.commands and size > bytes_max:
                break
            message.commands.append(self.commands.popleft())
        if not (self.assignments or self.commands):
            self.wake.clear()
        return message

    def absent(self, held: Set[Lease], handled_message_number: int) -> list[Lease]:
        """Leases of which the worker knows nothing, though it has acted on the message with their assignment."""
        return [
            lease for lease, number in self.leases.items() if number <= handled_message_number and lease not in held
        ]

    def overdue(self, before: float) -> list[Lease]:
        """Leases that were sent before a monotonic time and have not been started."""
        return [lease for lease, sent in self.unstarted.items() if sent < before]

    def settle(self, lease: Lease) -> None:
        """Forgets a lease that has ended."""
        self.leases.pop(lease, None)
        self.finishing.discard(lease)
        self.unstarted.pop(lease, None)
        self.resources.pop(lease, None)
        self.recent.discard(lease)
        self.commanded.pop((lease.job_id, lease.epoch), None)

    def end(self, why: Refusal) -> None:
        """Ends the stream."""
        self.ended = why
        self.wake.set()


class Registry:
    """The control lanes of this node, and the watch over every lease."""

    def __init__(self, lease_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        self.watch = LeaseWatch(lease_seconds)
        self.reserved: dict[str, JobId] = {}
        """Workers that keep room for a job that needs much of them, and that job, by the latest plan."""
        self._lanes: dict[str, ControlLane] = {}
        self._bounds: dict[str, SlotBounds] = {}
        self._outlived: dict[str, set[str]] = {}
        """By worker: incarnations that were connected when a newer one took their place. They are told to end, which
        takes a while: their leases end by silence, as those of any that is cut off."""
        self._left: dict[str, None] = {}
        """Workers that disconnected drained and empty, the latest last, and have not come back."""
        self.local_fault = ""
        """Why the local worker does not run; empty when nothing is known to be wrong with it."""

    def connect(self, lane: ControlLane) -> None:
        """Adds a lane; it takes the place of an older one of the same worker."""
        older = self._lanes.get(lane.holder.worker)
        if older is not None:
            same = older.holder == lane.holder
            reason = Reason.CONNECTION_REPLACED if same else Reason.STALE_INCARNATION
            what = "stream" if same else "incarnation"
            older.end(Refusal(reason, f"a newer {what} of worker {lane.holder.worker!r} has connected"))
        lane.bounds = self._bounds.get(lane.holder.worker)
        self._left.pop(lane.holder.worker, None)
        self._lanes[lane.holder.worker] = lane

    def note_local_fault(self, fault: str) -> None:
        """Takes note of why the local worker does not run."""
        self.local_fault = fault

    def scale(self, worker: str, bounds: SlotBounds) -> None:
        """Sets how many slots of a worker are used, from now on and on every later lane of it."""
        self._bounds[worker] = bounds
        lane = self._lanes.get(worker)
        if lane is not None:
            lane.bounds = bounds

    def want(self, worker: str, wanted: worker_service_pb2.WantedWorker) -> None:
        """Has a worker told what is wanted of it as a whole, when it is connected here."""
        lane = self._lanes.get(worker)
        if lane is not None:
            lane.want_worker(wanted)

    def tell(self, command: Command, generation: int) -> None:
        """Has an attempt told something at once, when its worker is connected here; else it learns it later."""
        found = self.lane_of_job(command.worker, command.job_id, command.epoch)
        if found is not None:
            found[0].tell(command, generation)

    def invalidate_answers(self, said: worker_pb2.ResponseCacheInvalidation) -> None:
        """Has every worker that is connected here told that kept answers of a namespace count no more."""
        for lane in self._lanes.values():
            lane.invalidate_answers(said)

    def response_caches(self) -> list[worker_pb2.ResponseCacheState]:
        """What each worker keeps of answers that is connected here and keeps any."""
        return [lane.response_cache for lane in self._lanes.values() if lane.response_cache is not None]

    def living(self, holder: Holder) -> frozenset[str]:
        """Other incarnations of a worker that may still run what they hold: they were connected when a newer one came,
        or are, and their lease has not ended since."""
        found = set(self._outlived.get(holder.worker, ()))
        lane = self._lanes.get(holder.worker)
        if lane is not None:
            found.add(lane.holder.incarnation)
        return frozenset(found - {holder.incarnation})

    def succeed(self, holder: Holder, living: frozenset[str]) -> None:
        """An incarnation took the place of all before it; those that are living are watched until their lease ends."""
        self.watch.forget_others(holder.worker, {holder.incarnation, *living})
        if living:
            self._outlived.setdefault(holder.worker, set()).update(living)

    def disconnect(self, lane: ControlLane) -> None:
        """Removes a lane, unless a newer one has its place. Its leases live on."""
        if self._lanes.get(lane.holder.worker) is lane:
            del self._lanes[lane.holder.worker]
            if lane.is_drained and not lane.leases:
                self._left[lane.holder.worker] = None
                if len(self._left) > LEFT_COUNT_MAX:
                    del self._left[next(iter(self._left))]

    def has_left(self, worker: str) -> bool:
        """Whether a worker went away in order: nobody has to miss it."""
        return worker in self._left

    def lane(self, worker: str) -> ControlLane | None:
        """The lane of a worker, when it is connected here."""
        return self._lanes.get(worker)

    def lanes(self) -> list[ControlLane]:
        """Every lane."""
        return list(self._lanes.values())

    def session_process(self, worker: str, session_id: str) -> session_pb2.SessionProcess | None:
        """The process of a session, when its worker is connected here and has said that there is one."""
        lane = self._lanes.get(worker)
        return None if lane is None else lane.sessions.get(session_id)

    def has_room(self) -> bool:
        """Whether a worker has a free slot."""
        return any(lane.free_slots > 0 for lane in self._lanes.values())

    def offers(self) -> list[Offer]:
        """Workers that take work, and what of them is free; some may be full."""
        return [lane.offer() for lane in self._lanes.values() if not lane.is_drained]

    def lane_of_job(self, worker: str, job_id: JobId, epoch: int) -> tuple[ControlLane, Lease] | None:
        """The lane and lease by which a worker holds an attempt, when it is connected here."""
        lane = self._lanes.get(worker)
        if lane is None:
            return None
        for lease in lane.leases:
            if lease.job_id == job_id and lease.epoch == epoch:
                return lane, lease
        return None

    def end(self, holder: Holder) -> None:
        """Ends the lane of an incarnation whose lease has ended, and stops watching it."""
        self.watch.forget(holder.worker, holder.incarnation)
        outlived = self._outlived.get(holder.worker, set())
        outlived.discard(holder.incarnation)
        if not outlived:
            self._outlived.pop(holder.worker, None)
            if holder.worker in self._lanes:
                self._lanes[holder.worker].inherited = NOTHING
        lane = self._lanes.get(holder.worker)
        if lane is not None and lane.holder == holder:
            message = f"the lease of worker {holder.worker!r} has ended; connect again"
            lane.end(Refusal(Reason.CONNECTION_REPLACED, message))
            del self._lanes[holder.worker]
