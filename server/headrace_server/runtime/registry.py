"""The workers that are connected to this node: what they offer, which leases they hold, and what waits to be sent to
them.

All of it can be lost: the store has the truth, and a worker that reconnects brings it back.
"""

import asyncio
from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field

from headrace.v1 import worker_pb2, worker_service_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.leases import LeaseWatch
from headrace_server.core.placement import Capabilities, Offer
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.leases import Holder, Lease

UNSENT = 1 << 62
"""In place of a message's number, for an assignment that waits to be sent."""


@dataclass(eq=False, slots=True)
class ControlLane:
    """One open Connect stream, and what waits to be sent on it."""

    holder: Holder
    connection_id: str
    slots: int
    capabilities: Capabilities
    draining: bool = False
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
    """Of these, those that were sent and not started, with the monotonic time of sending."""
    message_number: int = 0
    assignments: deque[tuple[Lease, worker_pb2.Assignment]] = field(default_factory=deque)
    waiting: worker_service_pb2.ConnectResponse = field(default_factory=worker_service_pb2.ConnectResponse)
    """What the next message will hold besides assignments."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def free_slots(self) -> int:
        """Slots that nothing holds."""
        return 0 if self.draining else max(0, self.slots - len(self.leases) + len(self.finishing))

    def assign(self, lease: Lease, assignment: worker_pb2.Assignment) -> None:
        """Has an assignment sent."""
        self.leases[lease] = UNSENT
        self.assignments.append((lease, assignment))
        self.wake.set()

    def want(self, wanted: worker_service_pb2.WantedAttempt) -> None:
        """Has it said what is wanted of an attempt."""
        self.waiting.wanted.append(wanted)
        self.wake.set()

    def next_message(self, bytes_max: int, now: float) -> worker_service_pb2.ConnectResponse:
        """Takes what waits, as many assignments as fit. `now` is monotonic."""
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
        if not self.assignments:
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

    def end(self, why: Refusal) -> None:
        """Ends the stream."""
        self.ended = why
        self.wake.set()


class Registry:
    """The control lanes of this node, and the watch over every lease."""

    def __init__(self, lease_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        self.watch = LeaseWatch(lease_seconds)
        self._lanes: dict[str, ControlLane] = {}

    def connect(self, lane: ControlLane) -> None:
        """Adds a lane; it takes the place of an older one of the same worker."""
        older = self._lanes.get(lane.holder.worker)
        if older is not None:
            same = older.holder == lane.holder
            reason = Reason.CONNECTION_REPLACED if same else Reason.STALE_INCARNATION
            what = "stream" if same else "incarnation"
            older.end(Refusal(reason, f"a newer {what} of worker {lane.holder.worker!r} has connected"))
        self._lanes[lane.holder.worker] = lane

    def disconnect(self, lane: ControlLane) -> None:
        """Removes a lane, unless a newer one has its place. Its leases live on."""
        if self._lanes.get(lane.holder.worker) is lane:
            del self._lanes[lane.holder.worker]

    def lane(self, worker: str) -> ControlLane | None:
        """The lane of a worker, when it is connected here."""
        return self._lanes.get(worker)

    def lanes(self) -> list[ControlLane]:
        """Every lane."""
        return list(self._lanes.values())

    def offers(self) -> list[Offer]:
        """Workers with room."""
        return [
            Offer(lane.holder.worker, lane.holder.incarnation, lane.capabilities, lane.free_slots)
            for lane in self._lanes.values()
            if lane.free_slots
        ]

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
        self.watch.forget(holder.worker)
        lane = self._lanes.get(holder.worker)
        if lane is not None and lane.holder == holder:
            message = f"the lease of worker {holder.worker!r} has ended; connect again"
            lane.end(Refusal(Reason.CONNECTION_REPLACED, message))
            del self._lanes[holder.worker]
